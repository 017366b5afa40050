//! Notices gradients that are not finite, without waiting for the device inside a step.

use plan::Plan;
use tch::{Device, Kind, Tensor};
use world::Exit;

use crate::failure::Failure;
use crate::numbers::Numbers;

/// A flag on the device: the first step whose gradient norm was not finite.
///
/// The norm is taken after averaging, so it is the same on every rank, and all ranks stop at the same step.
pub struct Divergence {
    first: Tensor,
    norm: Option<Tensor>,
}

impl Divergence {
    /// Nothing has gone wrong yet.
    pub fn new(device: Device) -> Divergence {
        let first = Tensor::full([], -1, (Kind::Int64, device));
        Divergence { first, norm: None }
    }

    /// Looks at the gradient norm of the step that has `numbers`, a scalar on the device: the device alone reads it.
    pub fn watch(&mut self, norm: &Tensor, numbers: &Numbers) {
        let fine = norm.isfinite().logical_or(&self.first.ge(0));
        let this = (numbers.step() - 1.0).to_kind(Kind::Int64);
        self.first.copy_(&self.first.where_self(&fine, &this));
    }

    /// The flag itself.
    #[cfg(test)]
    pub fn flag(&self) -> Tensor {
        self.first.shallow_clone()
    }

    /// Keeps the gradient norm of the last step to be told.
    pub fn note(&mut self, norm: Tensor) {
        self.norm = Some(norm);
    }

    /// There is nothing to look at in a step that was left out.
    pub fn pass_over(&mut self) {
        self.norm = None;
    }

    /// The gradient norm of the last step, before clipping; none of a step that was left out.
    pub fn norm(&self) -> Option<f64> {
        self.norm.as_ref().map(|norm| norm.double_value(&[]))
    }

    /// Waits for the flag and ends the run if it is set.
    ///
    /// # Errors
    /// [`Exit::Diverged`], naming the step and its learning rate.
    pub fn check(&self, plan: &Plan) -> Result<(), Failure> {
        let first = self.first.int64_value(&[]);
        if first < 0 {
            return Ok(());
        }
        let step = first as u64;
        let rate = plan.learning_rate(step);
        Err(Failure::because(
            Exit::Diverged,
            format!(
                "training diverged: the gradients of step {step} are not finite, at learning rate {rate:.3e}; lower \
                 optimizer.learning_rate, warm up for longer, or set optimizer.clip_norm; checkpoints before it are good"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::plan;

    #[test]
    fn the_first_bad_step_is_told() {
        let plan = plan();
        let mut divergence = Divergence::new(Device::Cpu);
        let watch = |divergence: &mut Divergence, step: u64, norm: f32| {
            divergence.watch(&Tensor::from(norm), &Numbers::new(0.1, step, Device::Cpu));
            divergence.note(Tensor::from(norm));
        };
        watch(&mut divergence, 0, 1.5);
        assert!(divergence.check(&plan).is_ok());
        assert_eq!(divergence.norm(), Some(1.5));
        divergence.pass_over();
        assert!(divergence.norm().is_none() && divergence.check(&plan).is_ok());
        for (step, value) in [(1, f32::INFINITY), (2, f32::NAN), (3, 1.0)] {
            watch(&mut divergence, step, value);
        }
        let failure = divergence.check(&plan).expect_err("step 1 was not finite");
        assert_eq!(failure.exit, Exit::Diverged);
        let rate = format!("{:.3e}", plan.learning_rate(1));
        let message = failure.error.to_string();
        assert!(message.contains("step 1 ") && message.contains(&rate), "{message}");
    }
}
