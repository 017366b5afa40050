//! Which kernel an image is resized with, and resizing of what was decoded.

use random::Key;
use resample::{Image, Kernel, Part};

use crate::pixels::crop::{View, Window};
use crate::pixels::decode::Rgbx;
use crate::{CropBox, Draw};

/// How pixels are interpolated, with PIL's kernels: support grows with the reduction, so that nothing aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The triangle of width 2, torchvision's default.
    #[default]
    Bilinear,
    /// Keys' cubic with a = −0.5.
    Bicubic,
    /// One of the two, each as often, drawn for each image (timm's `random`).
    Either,
}

impl Filter {
    /// What to resize an image with; `key` is the sample's.
    pub(crate) fn kernel(self, key: Key) -> Kernel {
        match self {
            Filter::Bilinear => Kernel::Triangle,
            Filter::Bicubic => Kernel::Cubic,
            Filter::Either if key.child(Draw::Filter as u64).rng().chance(0.5) => Kernel::Triangle,
            Filter::Either => Kernel::Cubic,
        }
    }
}

/// Resizes with memory that is kept between images.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    resampler: resample::Resampler,
}

impl Resampler {
    /// Resizes the window of a view of `image` into `into`, which becomes (rows, columns, 4) for `target` columns and rows.
    ///
    /// As `image.crop(part).resize(target, filter, window)` in PIL: near the edge of the window, pixels outside
    /// it but in the part count; pixels outside the part have no influence.
    ///
    /// # Panics
    /// When the window is empty or not inside the part, or the part not inside the image.
    pub(crate) fn resize_view(
        &mut self,
        image: &Rgbx,
        View { part, window }: View,
        kernel: Kernel,
        target: [u32; 2],
        into: &mut Vec<u8>,
    ) {
        let image = Image { pixels: image.pixels(), width: image.width, height: image.height };
        let CropBox { top, left, height, width } = part;
        let part = Part { left, top, width, height };
        let Window { left, top, width, height } = window;
        let window = resample::Window { left, top, width, height };
        let resized = self.resampler.resize(image, part, window, kernel, target, into);
        resized.expect("the window lies inside the image");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pixels::crop::Wanted;

    proptest! {
        /// Whatever the sides and the window, nothing panics, and a plain colour stays what it is.
        #[test]
        fn plain_images_stay_plain(width in 1u32..200, height in 1u32..200, size in 1u32..50, pct in 0.05f64..=1.0) {
            let image = Rgbx { width, height, bytes: [9, 99, 199, 0].repeat((width * height) as usize) };
            let mut resampler = Resampler::default();
            let mut pixels = Vec::new();
            let wanted = Wanted::around(Window::center(width, height, size, pct), [width, height], [size, size]);
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let kernel = filter.kernel(Key::root(0));
                resampler.resize_view(&image, wanted.in_whole(), kernel, [size, size], &mut pixels);
                prop_assert!(pixels == [9, 99, 199, 0].repeat((size * size) as usize));
            }
        }
    }
}
