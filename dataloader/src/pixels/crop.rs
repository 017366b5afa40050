//! Which rectangle of an image is kept: the boxes of torchvision's random and centred crops.

use random::Rng;

use crate::Orientation;

/// A rectangle of pixels, inside its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl CropBox {
    /// A box for `RandomResizedCrop`: `get_params` of torchvision 0.26, with our own random numbers.
    ///
    /// Ten tries of an area and a log-uniform aspect ratio; then the largest centred box whose ratio is allowed.
    pub fn random_resized(width: u32, height: u32, scale: [f64; 2], ratio: [f64; 2], rng: &mut Rng) -> CropBox {
        const TRIES: usize = 10;
        let area = f64::from(width) * f64::from(height);
        for _ in 0..TRIES {
            let target = area * rng.uniform_in(scale[0], scale[1]);
            let aspect = rng.uniform_in(ratio[0].ln(), ratio[1].ln()).exp();
            let box_width = (target * aspect).sqrt().round_ties_even() as u32;
            let box_height = (target / aspect).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&box_width) && (1..=height).contains(&box_height) {
                let top = rng.below(u64::from(height - box_height) + 1) as u32;
                let left = rng.below(u64::from(width - box_width) + 1) as u32;
                return CropBox { top, left, height: box_height, width: box_width };
            }
        }
        CropBox::central(width, height, ratio)
    }

    /// The fallback of `RandomResizedCrop`: the largest centred box whose aspect ratio lies within `ratio`.
    fn central(width: u32, height: u32, ratio: [f64; 2]) -> CropBox {
        let (low, high) = (ratio[0].min(ratio[1]), ratio[0].max(ratio[1]));
        let aspect = f64::from(width) / f64::from(height);
        let (box_width, box_height) = if aspect < low {
            (width, (f64::from(width) / low).round_ties_even() as u32)
        } else if aspect > high {
            ((f64::from(height) * high).round_ties_even() as u32, height)
        } else {
            (width, height)
        };
        let (box_width, box_height) = (box_width.clamp(1, width), box_height.clamp(1, height));
        CropBox { top: (height - box_height) / 2, left: (width - box_width) / 2, height: box_height, width: box_width }
    }
}

/// The sides after torchvision's `Resize(shorter)`: the shorter becomes `shorter`, the other is rounded down.
pub(crate) fn resized_sides(width: u32, height: u32, shorter: u32) -> (u64, u64) {
    let longer = |long: u32, short: u32| u64::from(shorter) * u64::from(long) / u64::from(short);
    let shorter_side = u64::from(shorter);
    if width <= height { (shorter_side, longer(height, width)) } else { (longer(width, height), shorter_side) }
}

/// Where torchvision's `CenterCrop` begins on a side: Python's `round`, half to even.
pub(crate) fn center_start(side: u64, crop: u32) -> f64 {
    ((side - u64::from(crop)) as f64 / 2.0).round_ties_even()
}

/// A rectangle between pixels, in the coordinates of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Window {
    /// What `Resize(⌊size / pct⌋)` and then `CenterCrop(size)` keep of an image.
    ///
    /// The crop is taken back to the coordinates before the resize, so that nothing outside it is computed; that also
    /// keeps a very long and thin image from becoming a huge one.
    pub(crate) fn center(width: u32, height: u32, size: u32, pct: f64) -> Window {
        let shorter = (f64::from(size) / pct).floor() as u32;
        let (resized_width, resized_height) = resized_sides(width, height, shorter);
        let (across, down) = (f64::from(width) / resized_width as f64, f64::from(height) / resized_height as f64);
        Window {
            left: center_start(resized_width, size) * across,
            top: center_start(resized_height, size) * down,
            width: f64::from(size) * across,
            height: f64::from(size) * down,
        }
    }
}

/// What becomes of an image: the window that is resized, and the pixels that may have influence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Inside `pixels`, in the coordinates of the image.
    pub(crate) window: Window,
    /// What must be decoded.
    pub(crate) pixels: CropBox,
    /// The side of the result, where a decoder may reduce the image as long as `pixels` stay larger than that.
    pub(crate) reduce_to: Option<u32>,
}

impl Wanted {
    /// A box whose surroundings have no influence, as `image.crop(from).resize((size, size))` in PIL.
    pub(crate) fn only(from: CropBox, size: u32) -> Wanted {
        let window = Window {
            left: f64::from(from.left),
            top: f64::from(from.top),
            width: f64::from(from.width),
            height: f64::from(from.height),
        };
        Wanted { window, pixels: from, reduce_to: Some(size) }
    }

    /// A window whose surroundings count near its edge, as `image.resize(target, box=window)` in PIL; the sides of image
    /// and target are columns and rows.
    ///
    /// Never reduced: evaluation sees PIL's pixels.
    pub(crate) fn around(window: Window, image: [u32; 2], target: [u32; 2]) -> Wanted {
        let span = |start: f64, length: f64, limit: u32, size: u32| {
            // The cubic's support is the widest, and one more pixel for rounding.
            let reach = (2.0 * (length / f64::from(size)).max(1.0)).ceil() + 2.0;
            let first = (start - reach).floor().max(0.0) as u32;
            let end = ((start + length + reach).ceil() as u32).min(limit);
            (first, end - first)
        };
        let (left, columns) = span(window.left, window.width, image[0], target[0]);
        let (top, rows) = span(window.top, window.height, image[1], target[1]);
        Wanted { window, pixels: CropBox { top, left, height: rows, width: columns }, reduce_to: None }
    }

    /// Every pixel of an image.
    pub(crate) fn whole(width: u32, height: u32) -> Wanted {
        Wanted { reduce_to: None, ..Wanted::only(CropBox { top: 0, left: 0, height, width }, 1) }
    }

    /// The same in the coordinates of a part of the image that begins at (`left`, `top`) and has `width` × `height`
    /// pixels.
    ///
    /// # Panics
    /// Where the part lacks wanted pixels.
    pub(crate) fn in_part(&self, left: u32, top: u32, width: u32, height: u32) -> Wanted {
        let CropBox { left: x, top: y, width: columns, height: rows } = self.pixels;
        let holds = |start: u32, length: u32, first: u32, held: u32| {
            start >= first && u64::from(start - first) + u64::from(length) <= u64::from(held)
        };
        assert!(
            holds(x, columns, left, width) && holds(y, rows, top, height),
            "a part of {width} x {height} pixels at ({left}, {top}) does not hold {:?}",
            self.pixels
        );
        let window =
            Window { left: self.window.left - f64::from(left), top: self.window.top - f64::from(top), ..self.window };
        let pixels = CropBox { left: x - left, top: y - top, ..self.pixels };
        Wanted { window, pixels, reduce_to: self.reduce_to }
    }

    /// What is wanted of an upright image of `width` × `height` pixels, in the coordinates in which it is stored.
    pub(crate) fn stored(&self, orientation: Orientation, width: u32, height: u32) -> Wanted {
        let Window { left, top, width: across, height: down } = self.window;
        let sides = (f64::from(width), f64::from(height));
        let [left, top, across, down] = orientation.stored([left, top, across, down], sides);
        Wanted {
            window: Window { left, top, width: across, height: down },
            pixels: orientation.stored_box(self.pixels, width, height),
            reduce_to: self.reduce_to,
        }
    }

    /// The window in the coordinates of `pixels`.
    pub(crate) fn window_in_pixels(&self) -> Window {
        let (left, top) = (f64::from(self.pixels.left), f64::from(self.pixels.top));
        Window { left: self.window.left - left, top: self.window.top - top, ..self.window }
    }

    /// Where this lies in the whole image, unscaled.
    pub(crate) fn in_whole(&self) -> View {
        View { part: self.pixels, window: self.window_in_pixels() }
    }
}

/// Where the wanted pixels lie in what was decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    /// The pixels that may have influence.
    pub(crate) part: CropBox,
    /// What is resized, in the coordinates of `part`.
    pub(crate) window: Window,
}
