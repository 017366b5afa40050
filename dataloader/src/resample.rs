//! Resizing with PIL's filters: antialiased, on bytes, never sampling outside the box.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};

use crate::transform::Window;
use crate::{CropBox, Rgb};

/// How pixels are interpolated, with PIL's kernels: support grows with the reduction, so that nothing aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The triangle of width 2, torchvision's default.
    #[default]
    Bilinear,
    /// Keys' cubic with a = −0.5.
    Bicubic,
}

impl Filter {
    fn options(self) -> ResizeOptions {
        let kernel = match self {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
        };
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).use_alpha(false)
    }
}

/// Resizes with memory that is kept between images.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    resizer: Resizer,
}

impl Resampler {
    /// Cuts `from` out of `image` and resizes it into `into`, which becomes (size, size, 3).
    ///
    /// As `image.crop(from).resize((size, size), filter)` in PIL: pixels outside `from` have no influence.
    ///
    /// # Panics
    /// When the box is empty or not inside the image.
    pub(crate) fn resize_box(&mut self, image: &Rgb, from: CropBox, filter: Filter, size: u32, into: &mut Vec<u8>) {
        let cropped = TypedCroppedImage::new(view(image), from.left, from.top, from.width, from.height)
            .expect("the box lies inside the image");
        self.resize(&cropped, &filter.options(), size, into);
    }

    /// Resizes a window of `image` into `into`, which becomes (size, size, 3).
    ///
    /// As `image.resize((size, size), filter, window)` in PIL: near the edge of the window, pixels outside it count.
    ///
    /// # Panics
    /// When the window is empty or not inside the image.
    pub(crate) fn resize_window(&mut self, image: &Rgb, window: Window, filter: Filter, size: u32, into: &mut Vec<u8>) {
        // Rounding must not push the window over the edge.
        let width = window.width.min(f64::from(image.width) - window.left);
        let height = window.height.min(f64::from(image.height) - window.top);
        let options = filter.options().crop(window.left, window.top, width, height);
        self.resize(&view(image), &options, size, into);
    }

    fn resize(&mut self, from: &impl ImageView<Pixel = U8x3>, options: &ResizeOptions, size: u32, into: &mut Vec<u8>) {
        into.resize(size as usize * size as usize * 3, 0);
        let mut target = TypedImage::<U8x3>::from_buffer(size, size, into).expect("sized above");
        self.resizer.resize_typed(from, &mut target, options).expect("both sides are U8x3, the crop lies inside");
    }
}

fn view(image: &Rgb) -> TypedImageRef<'_, U8x3> {
    TypedImageRef::from_buffer(image.width, image.height, &image.bytes).expect("an image holds W x H x 3 bytes")
}
