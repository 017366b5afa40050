//! Which part of an image is kept, how large it becomes, and where it stands in the result.

use random::Key;

use crate::pixels::crop::{Wanted, Window, center_start, resized_sides};
use crate::pixels::decode::PIXEL_BYTES;
use crate::{CropBox, DataError, Draw};

/// Which part of the image is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Crop {
    /// torchvision's `RandomResizedCrop`: a random box, resized to the square.
    RandomResized {
        /// Area of the box as a share of the image's, `0 < low ≤ high ≤ 1`.
        scale: [f64; 2],
        /// Width over height of the box, `0 < low ≤ high`, drawn log-uniformly.
        ratio: [f64; 2],
    },
    /// torchvision's `Resize(size)` of the shorter side, then `RandomCrop(size, padding)`: DeiT III's simple random crop
    /// where the border is mirrored, and the usual one of CIFAR where it is black.
    Shifted {
        /// Pixels added on each side after resizing.
        padding: u32,
        /// What they are.
        border: Border,
    },
    /// timm's evaluation: `Resize(⌊size / pct⌋)` of the shorter side, then `CenterCrop(size)`.
    Center {
        /// The share that the crop is of the resized shorter side, in `(0, 1]`.
        pct: f64,
    },
    /// timm's evaluation with `crop_mode="squash"`: both sides become `⌊size / pct⌋`, then `CenterCrop(size)`.
    Squash {
        /// The share that the crop is of the resized sides, in `(0, 1]`.
        pct: f64,
    },
    /// timm's evaluation with `crop_mode="border"`: `ResizeKeepRatio(⌊size / pct⌋, longest=1)`, so that the longer side
    /// becomes that, then `CenterCropOrPad(size)`.
    Border {
        /// The share that the crop is of the resized longer side, in `(0, 1]`.
        pct: f64,
        /// The colour around the image: timm takes the data set's mean.
        fill: [u8; 3],
    },
}

/// What lies around an image that is smaller than the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// One colour.
    Colour([u8; 3]),
    /// The image mirrored at its outermost pixels, which do not repeat (torchvision's `reflect`).
    Reflect,
}

/// What becomes of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Framing {
    /// What is resized.
    pub(crate) wanted: Wanted,
    /// Where it stands then.
    pub(crate) placement: Placement,
}

/// Where the resized part stands in the square result, and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placement {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    border: Border,
}

/// One side of a result: which resized pixels are seen, and where the first of them stands.
struct Seen {
    start: f64,
    length: u32,
    place: u32,
}

impl Crop {
    /// What becomes of an image of the given sides; `key` is the sample's.
    pub(crate) fn frame(&self, width: u32, height: u32, size: u32, key: Key) -> Framing {
        let whole = Placement { left: 0, top: 0, width: size, height: size, border: Border::Reflect };
        let window = match *self {
            Crop::RandomResized { scale, ratio } => {
                let mut rng = key.child(Draw::Crop as u64).rng();
                let from = CropBox::random_resized(width, height, scale, ratio, &mut rng);
                return Framing { wanted: Wanted::only(from, size), placement: whole };
            }
            Crop::Shifted { padding, border } => {
                let (columns, rows) = resized_sides(width, height, size);
                let mut rng = key.child(Draw::Crop as u64).rng();
                let padding = u64::from(padding);
                let mut start = |side| rng.below(side + 2 * padding - u64::from(size) + 1) as i64 - padding as i64;
                let [top, left] = [rows, columns].map(&mut start);
                return shifted([width, height], size, [left, top], border);
            }
            Crop::Border { pct, fill } => {
                let longest = (f64::from(size) / pct).floor();
                let ratio = f64::from(width.max(height)) / longest;
                let sides = [width, height].map(|side| (f64::from(side) / ratio).round_ties_even().max(1.0) as u64);
                return placed(
                    [width, height],
                    sides,
                    sides.map(|side| Seen::centred(side, size)),
                    Border::Colour(fill),
                );
            }
            Crop::Center { pct } => Window::center(width, height, size, pct),
            Crop::Squash { pct } => {
                let side = (f64::from(size) / pct).floor();
                let start = center_start(side as u64, size);
                let [across, down] = [width, height].map(|length| f64::from(length) / side);
                let (width, height) = (f64::from(size) * across, f64::from(size) * down);
                Window { left: start * across, top: start * down, width, height }
            }
        };
        Framing { wanted: Wanted::around(window, [width, height], [size, size]), placement: whole }
    }

    /// Refuses what makes no sense for results of `size` × `size` pixels.
    pub(crate) fn check(&self, size: u32) -> Result<(), DataError> {
        let invalid = |field, problem: String| Err(DataError::InvalidSpec { field, problem });
        match *self {
            Crop::RandomResized { scale: [low, high], .. } if !(0.0 < low && low <= high && high <= 1.0) => {
                invalid("transform.crop.scale", format!("[{low}, {high}] is not 0 < low <= high <= 1"))
            }
            Crop::RandomResized { ratio: [low, high], .. } if !(0.0 < low && low <= high && high.is_finite()) => {
                invalid("transform.crop.ratio", format!("[{low}, {high}] is not 0 < low <= high"))
            }
            Crop::Shifted { padding, .. } if u64::from(padding) * 2 >= u64::from(size) => invalid(
                "transform.crop.padding",
                format!("{padding} pixels around a crop of {size} leave nothing of it"),
            ),
            Crop::Center { pct } | Crop::Squash { pct } | Crop::Border { pct, .. } if !(0.0 < pct && pct <= 1.0) => {
                invalid("transform.crop.pct", format!("{pct} is not in (0, 1]"))
            }
            _ => Ok(()),
        }
    }
}

impl Seen {
    /// What a crop of `size` from `start` on shows of a side.
    fn from(start: i64, side: u64, size: u32) -> Seen {
        let (first, end) = (start.max(0), (start + i64::from(size)).min(side as i64));
        Seen { start: first as f64, length: (end - first) as u32, place: (first - start) as u32 }
    }

    /// What timm's `center_crop_or_pad` shows of a side.
    fn centred(side: u64, size: u32) -> Seen {
        if side < u64::from(size) {
            return Seen { start: 0.0, length: side as u32, place: (size - side as u32) / 2 };
        }
        Seen { start: center_start(side, size), length: size, place: 0 }
    }
}

/// The square from `[left, top]` on of an image whose shorter side was resized to `size`.
pub(crate) fn shifted(image: [u32; 2], size: u32, [left, top]: [i64; 2], border: Border) -> Framing {
    let (columns, rows) = resized_sides(image[0], image[1], size);
    placed(image, [columns, rows], [Seen::from(left, columns, size), Seen::from(top, rows, size)], border)
}

/// The framing of an image resized to `resized` sides (columns, rows), of which `[across, down]` are seen.
fn placed(image: [u32; 2], resized: [u64; 2], [across, down]: [Seen; 2], border: Border) -> Framing {
    let [horizontal, vertical] = [0, 1].map(|side| f64::from(image[side]) / resized[side] as f64);
    let window = Window {
        left: across.start * horizontal,
        top: down.start * vertical,
        width: f64::from(across.length) * horizontal,
        height: f64::from(down.length) * vertical,
    };
    let wanted = Wanted::around(window, image, [across.length, down.length]);
    let placement =
        Placement { left: across.place, top: down.place, width: across.length, height: down.length, border };
    Framing { wanted, placement }
}

impl Placement {
    /// Columns and rows of the resized part.
    pub(crate) fn sides(&self) -> [u32; 2] {
        [self.width, self.height]
    }

    /// True where the resized part is the whole result.
    pub(crate) fn is_whole(&self, size: u32) -> bool {
        self.sides() == [size, size]
    }

    /// Puts the resized part, (height, width, 4), into a result of (size, size, 4).
    pub(crate) fn place(&self, part: &[u8], size: u32, into: &mut Vec<u8>) {
        let part = part.as_chunks::<PIXEL_BYTES>().0;
        let outside = match self.border {
            Border::Colour([red, green, blue]) => [red, green, blue, 0],
            Border::Reflect => [0; PIXEL_BYTES],
        };
        into.clear();
        for y in 0..size {
            let row = self.origin(y, self.top, self.height);
            for x in 0..size {
                let column = self.origin(x, self.left, self.width);
                let pixel = row.zip(column).map_or(outside, |(row, column)| part[row * self.width as usize + column]);
                into.extend_from_slice(&pixel);
            }
        }
    }

    /// Which of the `length` pixels from `start` on is seen at a place; none where the border has a colour.
    fn origin(&self, at: u32, start: u32, length: u32) -> Option<usize> {
        let (place, last) = (i64::from(at) - i64::from(start), i64::from(length) - 1);
        if (0..=last).contains(&place) {
            return Some(place as usize);
        }
        let mirrored = if place < 0 { -place } else { 2 * last - place };
        (self.border == Border::Reflect).then(|| mirrored.clamp(0, last) as usize)
    }
}
