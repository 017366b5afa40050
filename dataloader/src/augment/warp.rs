//! Moving pixels: shear, translate and rotate, as PIL's affine transform of an image onto one of the same size.

use super::{PIXEL_BYTES, Scratch};

/// How a value between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The pixel in which the point lies (torchvision's default in `TrivialAugmentWide`).
    Nearest,
    /// Straight lines between 2 × 2 pixels.
    Bilinear,
    /// PIL's cubic (a = −1) through 4 × 4 pixels.
    Bicubic,
}

/// Which way pixels move.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Motion {
    Turn { degrees: f64 },
    ShearX { factor: f64 },
    ShearY { factor: f64 },
    ShiftX { pixels: f64 },
    ShiftY { pixels: f64 },
    ShiftXBy { share: f64 },
    ShiftYBy { share: f64 },
}

/// A motion of the whole image; what comes from outside has the colour `fill`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    motion: Motion,
    sampling: Sampling,
    fill: [u8; 3],
}

impl Warp {
    /// Turns counter-clockwise around the centre (`Image.rotate`).
    pub fn rotate(degrees: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::Turn { degrees }, sampling, fill }
    }

    /// Row `y` shows what stood `factor · y` pixels further right.
    pub fn shear_x(factor: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShearX { factor }, sampling, fill }
    }

    /// Column `x` shows what stood `factor · x` pixels further down.
    pub fn shear_y(factor: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShearY { factor }, sampling, fill }
    }

    /// Shows what stood `pixels` further right.
    pub fn shift_x(pixels: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShiftX { pixels }, sampling, fill }
    }

    /// Shows what stood `pixels` further down.
    pub fn shift_y(pixels: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShiftY { pixels }, sampling, fill }
    }

    /// Shows what stood `share` of the width further right (timm's `TranslateXRel`).
    pub fn shift_x_by(share: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShiftXBy { share }, sampling, fill }
    }

    /// Shows what stood `share` of the height further down (timm's `TranslateYRel`).
    pub fn shift_y_by(share: f64, sampling: Sampling, fill: [u8; 3]) -> Warp {
        Warp { motion: Motion::ShiftYBy { share }, sampling, fill }
    }

    /// Where a pixel's value comes from: `(m₀x + m₁y + m₂, m₃x + m₄y + m₅)`.
    fn matrix(&self, width: usize, height: usize) -> [f64; 6] {
        let (width, height) = (width as f64, height as f64);
        match self.motion {
            Motion::Turn { degrees } => rotation(degrees, width, height),
            Motion::ShearX { factor } => [1.0, factor, 0.0, 0.0, 1.0, 0.0],
            Motion::ShearY { factor } => [1.0, 0.0, 0.0, factor, 1.0, 0.0],
            Motion::ShiftX { pixels } => [1.0, 0.0, pixels, 0.0, 1.0, 0.0],
            Motion::ShiftY { pixels } => [1.0, 0.0, 0.0, 0.0, 1.0, pixels],
            Motion::ShiftXBy { share } => [1.0, 0.0, share * width, 0.0, 1.0, 0.0],
            Motion::ShiftYBy { share } => [1.0, 0.0, 0.0, 0.0, 1.0, share * height],
        }
    }

    pub(super) fn apply(&self, pixels: &mut Vec<u8>, width: usize, scratch: &mut Scratch) {
        let other = &mut scratch.other;
        other.resize(pixels.len(), 0);
        std::mem::swap(pixels, other);
        let from =
            Plane { pixels: other.as_chunks::<PIXEL_BYTES>().0, width, height: other.len() / (width * PIXEL_BYTES) };
        let matrix = self.matrix(from.width, from.height);
        let into = pixels.as_chunks_mut::<PIXEL_BYTES>().0;
        match self.sampling {
            Sampling::Nearest => from.sample(into, matrix, self.fill, Plane::nearest),
            Sampling::Bilinear => from.sample(into, matrix, self.fill, Plane::bilinear),
            Sampling::Bicubic => from.sample(into, matrix, self.fill, Plane::bicubic),
        }
    }
}

/// PIL's matrix, cosine and sine rounded to 15 places.
fn rotation(degrees: f64, width: f64, height: f64) -> [f64; 6] {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let [cos, sin] = [angle.cos(), angle.sin()].map(|value| (value * 1e15).round() / 1e15);
    let (x, y) = (width / 2.0, height / 2.0);
    [cos, sin, -cos * x - sin * y + x, -sin, cos, sin * x - cos * y + y]
}

type Pixel = [u8; PIXEL_BYTES];

/// An image to take values from.
#[derive(Clone, Copy)]
struct Plane<'a> {
    pixels: &'a [Pixel],
    width: usize,
    height: usize,
}

impl Plane<'_> {
    /// Fills `into`, an image of the same size, with the values found at each pixel's origin.
    fn sample(&self, into: &mut [Pixel], m: [f64; 6], fill: [u8; 3], at: impl Fn(&Self, f64, f64) -> Pixel) {
        let (width, height) = (self.width as f64, self.height as f64);
        let fill = [fill[0], fill[1], fill[2], 0];
        for (y, row) in into.chunks_exact_mut(self.width).enumerate() {
            let y = y as f64 + 0.5;
            for (x, pixel) in row.iter_mut().enumerate() {
                let x = x as f64 + 0.5;
                let (from_x, from_y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
                let inside = from_x >= 0.0 && from_x < width && from_y >= 0.0 && from_y < height;
                *pixel = if inside { at(self, from_x, from_y) } else { fill };
            }
        }
    }

    fn nearest(&self, x: f64, y: f64) -> Pixel {
        self.pixels[y as usize * self.width + x as usize]
    }

    /// `N` pixels of row `y` from column `x` on; beyond an edge, its pixels repeat.
    #[inline(always)]
    fn taps<const N: usize>(&self, x: i32, y: i32) -> [Pixel; N] {
        let y = y.clamp(0, self.height as i32 - 1) as usize;
        let row = &self.pixels[y * self.width..(y + 1) * self.width];
        if let Some(taps) = usize::try_from(x).ok().and_then(|x| row.get(x..)).and_then(|rest| rest.first_chunk()) {
            return *taps;
        }
        let mut taps = [[0; PIXEL_BYTES]; N];
        for (tap, x) in taps.iter_mut().zip(x..) {
            *tap = row[x.clamp(0, self.width as i32 - 1) as usize];
        }
        taps
    }

    #[inline(always)]
    fn bilinear(&self, x: f64, y: f64) -> Pixel {
        let ((x, dx), (y, dy)) = (split(x - 0.5), split(y - 0.5));
        let across = |y: i32| {
            let [left, right] = self.taps::<2>(x, y).map(lanes);
            line([left, right], dx)
        };
        bytes(line([across(y), across(y + 1)], dy))
    }

    #[inline(always)]
    fn bicubic(&self, x: f64, y: f64) -> Pixel {
        let ((x, dx), (y, dy)) = (split(x - 0.5), split(y - 0.5));
        let across = |y: i32| {
            let [v0, v1, v2, v3] = self.taps::<4>(x - 1, y);
            // Most motions go one way: nothing is between pixels of the other.
            if dx == 0.0 { lanes(v1) } else { cubic([lanes(v0), lanes(v1), lanes(v2), lanes(v3)], dx) }
        };
        if dy == 0.0 {
            return bytes(across(y));
        }
        bytes(cubic([across(y - 1), across(y), across(y + 1), across(y + 2)], dy))
    }
}

/// The four values of a pixel, in the 64 bits that PIL computes with; loops over them become SIMD.
type Lanes = [f64; PIXEL_BYTES];

#[inline(always)]
fn lanes(pixel: Pixel) -> Lanes {
    let mut values = [0.0; PIXEL_BYTES];
    for (value, byte) in values.iter_mut().zip(pixel) {
        *value = f64::from(byte);
    }
    values
}

/// Cut off at 0 and 255, not rounded.
#[inline(always)]
fn bytes(values: Lanes) -> Pixel {
    let mut pixel = [0; PIXEL_BYTES];
    for (byte, value) in pixel.iter_mut().zip(values) {
        *byte = value as u8;
    }
    pixel
}

/// The pixel before a place, and how far behind it the place is.
#[inline]
fn split(place: f64) -> (i32, f64) {
    // Without `floor`, which is a call where SSE 4.1 is not assumed.
    let whole = place as i32;
    let whole = whole - i32::from(place < f64::from(whole));
    (whole, place - f64::from(whole))
}

#[inline(always)]
fn line([from, to]: [Lanes; 2], part: f64) -> Lanes {
    let mut values = from;
    for (lane, value) in values.iter_mut().enumerate() {
        *value += (to[lane] - from[lane]) * part;
    }
    values
}

/// The cubic with a = −1 through four values, `part` of the way from the second to the third.
#[inline(always)]
fn cubic([v0, v1, v2, v3]: [Lanes; 4], part: f64) -> Lanes {
    let mut values = v1;
    for (lane, value) in values.iter_mut().enumerate() {
        let [v0, v1, v2, v3] = [v0[lane], v1[lane], v2[lane], v3[lane]];
        let third = -v0 + v1 - v2 + v3;
        *value = v1 + part * (v2 - v0 + part * (2.0 * (v0 - v1) + v2 - v3 + part * third));
    }
    values
}
