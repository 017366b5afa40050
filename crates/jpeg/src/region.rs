//! Regions of an image, scales, and how much more than a crop must be decoded.

use crate::{Header, JpegError, Subsampling};

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rect {
    /// Left edge, in pixels from the left.
    pub x: u32,
    /// Top edge, in pixels from the top.
    pub y: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// A reduction in the DCT domain: each side divided by a power of two, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scale {
    /// Full size.
    #[default]
    Full,
    /// Half the width and height.
    Half,
    /// A quarter.
    Quarter,
    /// An eighth: one pixel a block.
    Eighth,
}

/// How pixels are laid out in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// Three bytes: red, green, blue.
    Rgb,
    /// Four bytes: red, green, blue, and one that means nothing. What SIMD resizing likes best.
    Rgbx,
}

/// What a decoding left in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// The region in the buffer, in pixels of the scaled image; it holds the crop and the margin that was decoded.
    pub decoded: Rect,
    /// The scale of the pixels.
    pub scale: Scale,
    /// Width and height of the whole image at this scale.
    pub scaled_size: (u32, u32),
    /// The layout of the pixels.
    pub format: PixelFormat,
    /// Damage that was repaired on the way; always 0 in strict decoding.
    pub warnings: u32,
}

impl Rect {
    /// A rectangle from its left top corner and its size.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    /// The column behind the last one.
    pub fn right(&self) -> u32 {
        self.x.saturating_add(self.width)
    }

    /// The row behind the last one.
    pub fn bottom(&self) -> u32 {
        self.y.saturating_add(self.height)
    }

    /// This rectangle with `columns` more on the left and right and `rows` more above and below, cut at the image.
    pub fn grown(&self, columns: u32, rows: u32, image_width: u32, image_height: u32) -> Rect {
        let (x, y) = (self.x.saturating_sub(columns), self.y.saturating_sub(rows));
        let right = self.right().saturating_add(columns).min(image_width);
        let bottom = self.bottom().saturating_add(rows).min(image_height);
        Rect::new(x, y, right - x, bottom - y)
    }

    /// Fails unless the rectangle is not empty and lies in an image of this size.
    pub(crate) fn check(&self, width: u32, height: u32) -> Result<(), JpegError> {
        let inside = |start: u32, length: u32, whole: u32| length > 0 && start < whole && length <= whole - start;
        if inside(self.x, self.width, width) && inside(self.y, self.height, height) {
            return Ok(());
        }
        Err(JpegError::Region { region: *self, width, height })
    }
}

impl Scale {
    /// The number by which each side is divided: 1, 2, 4 or 8.
    pub fn divisor(self) -> u32 {
        match self {
            Scale::Full => 1,
            Scale::Half => 2,
            Scale::Quarter => 4,
            Scale::Eighth => 8,
        }
    }

    /// The greatest reduction that leaves a crop at least as large as the target on both sides.
    ///
    /// Only about 4 % of the crops of RandomResizedCrop at 224 pixels on ImageNet can be reduced at all.
    pub fn for_target(crop: Rect, target_width: u32, target_height: u32) -> Scale {
        let fits = |scale: &Scale| {
            crop.width / scale.divisor() >= target_width && crop.height / scale.divisor() >= target_height
        };
        [Scale::Eighth, Scale::Quarter, Scale::Half].into_iter().find(fits).unwrap_or(Scale::Full)
    }
}

impl PixelFormat {
    /// Bytes a pixel.
    pub fn bytes(self) -> usize {
        match self {
            PixelFormat::Rgb => 3,
            PixelFormat::Rgbx => 4,
        }
    }
}

impl RegionInfo {
    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.decoded.width as usize * self.format.bytes()
    }

    /// Bytes that the region takes at the beginning of the buffer.
    pub fn bytes(&self) -> usize {
        self.stride() * self.decoded.height as usize
    }

    /// Where a crop of the unscaled image lies in the buffer: left, top, width, height, in pixels of the buffer.
    ///
    /// Whole numbers unless the image is scaled: a resize that takes a box of fractions needs no rounding.
    pub fn crop_box(&self, crop: Rect) -> [f64; 4] {
        let divisor = f64::from(self.scale.divisor());
        let (x, y) = (f64::from(crop.x) / divisor, f64::from(crop.y) / divisor);
        let (left, top) = (x - f64::from(self.decoded.x), y - f64::from(self.decoded.y));
        let width = (f64::from(crop.width) / divisor).min(f64::from(self.decoded.width) - left);
        let height = (f64::from(crop.height) / divisor).min(f64::from(self.decoded.height) - top);
        [left, top, width, height]
    }
}

/// The pixels of the scaled image to read for a crop of the unscaled one.
///
/// Chroma is interpolated between neighbours, and at the edge of what is read a neighbour is missing. libjpeg-turbo
/// keeps the rows above and below itself; columns we add.
pub(crate) fn region_to_read(header: &Header, crop: Rect, scale: Scale) -> Rect {
    let divisor = scale.divisor();
    let (width, height) = (header.width.div_ceil(divisor), header.height.div_ceil(divisor));
    let (x, y) = (crop.x / divisor, crop.y / divisor);
    let right = crop.right().div_ceil(divisor).min(width);
    let bottom = crop.bottom().div_ceil(divisor).min(height);
    let columns = if has_narrow_chroma(header) { COLUMN_MARGIN } else { 0 };
    Rect::new(x, y, right - x, bottom - y).grown(columns, 0, width, height)
}

/// Columns read beyond a crop where chroma is interpolated across columns.
const COLUMN_MARGIN: u32 = 4;

fn has_narrow_chroma(header: &Header) -> bool {
    !matches!(header.subsampling, Subsampling::Grey | Subsampling::S444 | Subsampling::S440)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_stays_in_the_image() {
        let crop = Rect::new(2, 0, 7, 5);
        assert_eq!(crop.grown(4, 1, 10, 5), Rect::new(0, 0, 10, 5));
        assert!(crop.check(9, 5).is_ok());
        assert!(crop.check(8, 5).is_err());
        assert!(Rect::new(0, 0, 0, 1).check(8, 5).is_err());
        assert!(Rect::new(u32::MAX, 0, 1, 1).check(8, 5).is_err());
        assert!(Rect::new(1, 0, u32::MAX, 1).check(8, 5).is_err());
    }

    #[test]
    fn scales_leave_enough_pixels() {
        assert_eq!(Scale::for_target(Rect::new(0, 0, 447, 900), 224, 224), Scale::Full);
        assert_eq!(Scale::for_target(Rect::new(0, 0, 448, 900), 224, 224), Scale::Half);
        assert_eq!(Scale::for_target(Rect::new(0, 0, 1800, 4000), 224, 224), Scale::Eighth);
    }
}
