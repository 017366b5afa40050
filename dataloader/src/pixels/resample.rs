//! Resizing with PIL's filters: antialiased, on bytes, never sampling outside the box.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x4;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use random::Key;

use crate::pixels::crop::{View, Window};
use crate::pixels::decode::{PIXEL_BYTES, Rgbx};
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
    pub(crate) fn kernel(self, key: Key) -> FilterType {
        match self {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Either if key.child(Draw::Filter as u64).rng().chance(0.5) => FilterType::Bilinear,
            Filter::Either => FilterType::CatmullRom,
        }
    }
}

/// How many source pixels on each side of a result's centre count in the cubic, where nothing is reduced.
const CUBIC_SUPPORT: f64 = 2.0;

/// Resizes with memory that is kept between images.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    resizer: Resizer,
    /// (rows, columns, 4): resized across, not down yet.
    across: Vec<u8>,
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
        view: View,
        kernel: FilterType,
        target: [u32; 2],
        into: &mut Vec<u8>,
    ) {
        self.resize(&part(image.pixels(), image.width, image.height, view.part), view.window, kernel, target, into);
    }

    /// PIL resizes across, rounds and clips to bytes, then resizes down. The order shows only where a kernel overshoots.
    fn resize(
        &mut self,
        from: &Part<'_>,
        window: Window,
        kernel: FilterType,
        [columns, lines]: [u32; 2],
        into: &mut Vec<u8>,
    ) {
        let Window { left, top, width, height } = window;
        let mut target = pixels(into, columns, lines);
        if kernel == FilterType::Bilinear {
            return pass(&mut self.resizer, from, &mut target, kernel, [left, top, width, height]);
        }
        // The rows that count, a whole number of them: with no more and no less, nothing is resized down here.
        let reach = (CUBIC_SUPPORT * (height / f64::from(lines)).max(1.0)).ceil() + 1.0;
        let first = (top - reach).floor().max(0.0);
        let rows = (top + height + reach).ceil().min(f64::from(from.height())) - first;
        let mut across = pixels(&mut self.across, columns, rows as u32);
        pass(&mut self.resizer, from, &mut across, kernel, [left, first, width, rows]);
        let across = whole(&self.across, columns, rows as u32);
        pass(&mut self.resizer, &across, &mut target, kernel, [0.0, top - first, f64::from(columns), height]);
    }
}

/// Resizes the window `[left, top, width, height]` of one image into another.
fn pass(
    resizer: &mut Resizer,
    from: &Part<'_>,
    into: &mut TypedImage<'_, U8x4>,
    kernel: FilterType,
    [left, top, width, height]: [f64; 4],
) {
    let width = fitting(left, width, from.width());
    let height = fitting(top, height, from.height());
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).use_alpha(false).crop(left, top, width, height);
    resizer.resize_typed(from, into, &options).expect("the window lies inside the image");
}

/// The length of an interval from `start`, or a hair less where rounding has pushed its end over `limit`.
fn fitting(start: f64, length: f64, limit: u32) -> f64 {
    let mut length = length.min(f64::from(limit) - start);
    while start + length > f64::from(limit) {
        length = length.next_down();
    }
    length
}

/// A vector as an image of the given size.
fn pixels(bytes: &mut Vec<u8>, width: u32, height: u32) -> TypedImage<'_, U8x4> {
    bytes.resize(width as usize * height as usize * PIXEL_BYTES, 0);
    TypedImage::from_buffer(width, height, bytes).expect("sized above")
}

/// A part of an image. The only type that is resized: each further one would compile all kernels once more.
type Part<'a> = TypedCroppedImage<'a, TypedImageRef<'a, U8x4>>;

fn part(
    bytes: &[u8],
    width: u32,
    height: u32,
    CropBox { top, left, height: rows, width: columns }: CropBox,
) -> Part<'_> {
    let whole = TypedImageRef::from_buffer(width, height, bytes).expect("an image holds W x H x 4 bytes");
    Part::new(whole, left, top, columns, rows).expect("the box lies inside the image")
}

fn whole(bytes: &[u8], width: u32, height: u32) -> Part<'_> {
    part(bytes, width, height, CropBox { top: 0, left: 0, height, width })
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
