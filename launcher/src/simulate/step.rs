//! Where the time of a step goes on one GPU, and how it changes with the images.

use serde::Serialize;

/// The backward pass of a network costs twice its forward pass: two matrix products for each one.
pub const BACKWARD_SHARE: f64 = 2.0 / 3.0;

/// Where the time of a step goes on one GPU, communication left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepTime {
    /// Images of a step on this GPU.
    pub images: f64,
    /// Waiting for the loader.
    pub waiting_s: f64,
    /// Forward passes.
    pub forward_s: f64,
    /// Backward passes, over all micro-batches.
    pub backward_s: f64,
    /// The update of the parameters.
    pub optimizer_s: f64,
}

impl StepTime {
    /// A step of `seconds`, of which `backward_share` is the backward pass; the rest counts as forward pass.
    pub fn split(images: f64, seconds: f64, backward_share: f64) -> StepTime {
        let backward_s = seconds * backward_share;
        StepTime { images, forward_s: seconds - backward_s, backward_s, ..StepTime::default() }
    }

    /// The whole step.
    pub fn total_s(&self) -> f64 {
        self.waiting_s + self.forward_s + self.backward_s + self.optimizer_s
    }

    /// The step with another number of images: all of it grows with them but the update.
    pub fn with_images(&self, images: f64) -> StepTime {
        let factor = images / self.images;
        StepTime {
            images,
            waiting_s: self.waiting_s * factor,
            forward_s: self.forward_s * factor,
            backward_s: self.backward_s * factor,
            optimizer_s: self.optimizer_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_images_take_longer_but_for_the_update() {
        let step = StepTime { images: 10.0, waiting_s: 1.0, forward_s: 2.0, backward_s: 4.0, optimizer_s: 0.5 };
        let twice = step.with_images(20.0);
        assert_eq!((step.total_s(), twice.total_s()), (7.5, 14.5));
        let split = StepTime::split(8.0, 0.3, BACKWARD_SHARE);
        assert!((split.backward_s - 0.2).abs() < 1e-12 && (split.total_s() - 0.3).abs() < 1e-12);
    }
}
