//! Changes of an image's colours and geometry, on (H, W, 4) bytes of which the fourth means nothing, with the semantics of PIL as timm and torchvision call it.

mod auto;
mod blur;
#[cfg(test)]
mod chains;
mod colour;
#[cfg(test)]
mod draws;
mod erase;
#[cfg(test)]
mod figures;
mod grammar;
mod jitter;
mod mix;
mod policy;
mod rand;
mod tone;
mod warp;

use crate::pixels::decode::PIXEL_BYTES;

pub use auto::{AutoAugment, AutoTable};
pub use erase::{EraseMode, Erasure, ErasureWords, RandomErasing, half_normal};
pub use grammar::PolicyError;
pub use jitter::ColorJitter;
pub use mix::AugMix;
pub use policy::{Augment, Policy};
pub use rand::{RandAugment, Set, Spread};
pub use warp::{Sampling, Warp};

/// One change of an image, with its parameters: nothing about it is random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Stretches each channel to 0..=255 (`ImageOps.autocontrast`).
    AutoContrast,
    /// Makes each channel's histogram even (`ImageOps.equalize`).
    Equalise,
    /// `255 − value` (`ImageOps.invert`).
    Invert,
    /// PIL's mode `L`, in three channels (torchvision's `Grayscale(3)`).
    Grayscale,
    /// Keeps the highest `bits` bits of each value, 0..=8 (`ImageOps.posterize`).
    Posterise {
        /// How many bits are kept.
        bits: u8,
    },
    /// Inverts values of at least `threshold` (`ImageOps.solarize`).
    Solarise {
        /// From which value on, 0 to 256.
        threshold: f64,
    },
    /// Adds `add` to values under 128 (timm's `SolarizeAdd`).
    SolariseAdd {
        /// How many levels.
        add: u8,
    },
    /// Blends with black (`ImageEnhance.Brightness`): 0 is black, 1 the image, and more goes beyond it.
    Brightness(f64),
    /// Blends with the mean grey (`ImageEnhance.Contrast`).
    Contrast(f64),
    /// Blends with the grey image (`ImageEnhance.Color`).
    Saturation(f64),
    /// Blends with a smoothed image (`ImageEnhance.Sharpness`).
    Sharpness(f64),
    /// Turns the hue by a share of the circle, −0.5 to 0.5 (torchvision's `adjust_hue` on PIL images).
    Hue(f64),
    /// `ImageFilter.GaussianBlur(radius)`: three box blurs each way.
    Blur {
        /// Standard deviation in pixels, at least 0.
        radius: f64,
    },
    /// Moves pixels (`Image.transform` with `AFFINE`, `Image.rotate`).
    Warp(Warp),
}

/// Memory that operations keep between images.
#[derive(Debug, Default)]
pub struct Scratch {
    /// An image of the same size: the source, after an operation that cannot work in place.
    other: Vec<u8>,
    /// One line of sums.
    sums: Vec<u32>,
    /// A chain of AugMix.
    chain: Vec<u8>,
    /// The weighted sum of its chains.
    mixed: Vec<f32>,
}

impl Op {
    /// Changes `pixels`, (H, W, 4) bytes of which the fourth means nothing, where H follows from the length and `width`.
    ///
    /// # Panics
    /// When `pixels` is no whole number of rows.
    pub fn apply(&self, pixels: &mut Vec<u8>, width: usize, scratch: &mut Scratch) {
        assert!(
            width > 0 && pixels.len().is_multiple_of(width * PIXEL_BYTES),
            "{} bytes in rows of {width} pixels",
            pixels.len()
        );
        match *self {
            Op::AutoContrast => tone::auto_contrast(pixels),
            Op::Equalise => tone::equalise(pixels),
            Op::Invert => tone::map(pixels, |value| 255 - value),
            Op::Posterise { bits } => {
                let mask = !(0xff_u32 >> u32::from(bits.min(8))) as u8;
                tone::map(pixels, |value| value & mask);
            }
            Op::Solarise { threshold } => {
                tone::map(pixels, |value| if f64::from(value) < threshold { value } else { 255 - value });
            }
            Op::SolariseAdd { add } => {
                tone::map(pixels, |value| if value < 128 { value.saturating_add(add) } else { value });
            }
            Op::Grayscale => colour::grayscale(pixels),
            Op::Brightness(factor) => tone::blend_with(pixels, 0, factor),
            Op::Contrast(factor) => {
                let grey = colour::mean_grey(pixels);
                tone::blend_with(pixels, grey, factor);
            }
            Op::Saturation(factor) => colour::saturate(pixels, factor),
            Op::Hue(share) => colour::turn_hue(pixels, share),
            Op::Sharpness(factor) => blur::sharpen(pixels, width, factor, scratch),
            Op::Blur { radius } => blur::gaussian(pixels, width, radius, scratch),
            Op::Warp(warp) => warp.apply(pixels, width, scratch),
        }
    }
}

/// PIL's `Image.blend` of one value: in 32-bit floats, cut off, not rounded.
#[inline]
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // `as` clips to 0..=255, as PIL does where the factor leaves [0, 1].
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}
