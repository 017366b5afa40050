//! Changes in which neighbours count: Gaussian blur as PIL's box blurs, and sharpness.

use super::{PIXEL_BYTES, Scratch, blend};

/// How many box blurs stand in for a Gaussian.
const PASSES: f32 = 3.0;

/// PIL's `ImageFilter.GaussianBlur`: extended box blurs (Gwosdek et al., 2011), three across and three down.
pub(super) fn gaussian(pixels: &mut Vec<u8>, width: usize, radius: f64, scratch: &mut Scratch) {
    if radius <= 0.0 || pixels.is_empty() {
        return;
    }
    let height = pixels.len() / (width * PIXEL_BYTES);
    let window = BoxWindow::new(box_radius(radius as f32));
    let Scratch { other, sums, .. } = scratch;
    other.resize(pixels.len(), 0);
    for _ in 0..PASSES as usize {
        for (from, into) in pixels.chunks_exact(width * PIXEL_BYTES).zip(other.chunks_exact_mut(width * PIXEL_BYTES)) {
            window.across(from, into, width);
        }
        std::mem::swap(pixels, other);
    }
    for _ in 0..PASSES as usize {
        window.down(pixels, other, height, width * PIXEL_BYTES, sums);
        std::mem::swap(pixels, other);
    }
}

/// The radius of the box whose three-fold use has the variance of a Gaussian.
fn box_radius(sigma: f32) -> f32 {
    let variance = f64::from(sigma * sigma / PASSES);
    let length = (12.0 * variance + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let rest = f64::from((2.0 * whole + 1.0) * (whole * (whole + 1.0))) - f64::from(2.0 * whole + 1.0) * 3.0 * variance;
    let rest = rest / (6.0 * (variance - f64::from((whole + 1.0) * (whole + 1.0))));
    whole + rest as f32
}

/// A mean over `2·radius + 1` pixels and a share of the next on each side, in 24-bit fixed point.
struct BoxWindow {
    radius: usize,
    inner: u32,
    outer: u32,
}

impl BoxWindow {
    const ONE: u32 = 1 << 24;

    fn new(radius: f32) -> BoxWindow {
        let whole = radius as usize;
        let inner = (Self::ONE as f32 / (radius * 2.0 + 1.0)) as u32;
        let outer = (Self::ONE - (whole as u32 * 2 + 1) * inner) / 2;
        BoxWindow { radius: whole, inner, outer }
    }

    #[inline]
    fn mean(&self, sum: u32, far: u32) -> u8 {
        let total = sum.wrapping_mul(self.inner).wrapping_add(far.wrapping_mul(self.outer));
        (total.wrapping_add(Self::ONE / 2) >> 24) as u8
    }

    /// Blurs one row of `width` pixels; beyond its ends, the last pixels repeat.
    fn across(&self, from: &[u8], into: &mut [u8], width: usize) {
        let (from, into) = (from.as_chunks::<PIXEL_BYTES>().0, into.as_chunks_mut::<PIXEL_BYTES>().0);
        let (radius, last) = (self.radius, width - 1);
        let mut sums = [0u32; PIXEL_BYTES];
        for place in 0..=2 * radius {
            add(&mut sums, from[place.saturating_sub(radius).min(last)]);
        }
        for x in 0..width {
            let before = from[x.saturating_sub(radius + 1)];
            let after = from[(x + radius + 1).min(last)];
            into[x] = std::array::from_fn(|c| self.mean(sums[c], u32::from(before[c]) + u32::from(after[c])));
            let leaving = from[x.saturating_sub(radius)];
            for c in 0..PIXEL_BYTES {
                sums[c] = sums[c].wrapping_add(u32::from(after[c])).wrapping_sub(u32::from(leaving[c]));
            }
        }
    }

    /// Blurs all columns, row by row, so that a whole row is one SIMD loop.
    fn down(&self, from: &[u8], into: &mut [u8], height: usize, row: usize, sums: &mut Vec<u32>) {
        let (radius, last) = (self.radius, height - 1);
        let line = |y: usize| &from[y * row..(y + 1) * row];
        sums.clear();
        sums.resize(row, 0);
        for place in 0..=2 * radius {
            for (sum, value) in sums.iter_mut().zip(line(place.saturating_sub(radius).min(last))) {
                *sum += u32::from(*value);
            }
        }
        for (y, into) in into.chunks_exact_mut(row).enumerate() {
            let before = line(y.saturating_sub(radius + 1));
            let after = line((y + radius + 1).min(last));
            let leaving = line(y.saturating_sub(radius));
            for ((((into, sum), before), after), leaving) in
                into.iter_mut().zip(&mut *sums).zip(before).zip(after).zip(leaving)
            {
                *into = self.mean(*sum, u32::from(*before) + u32::from(*after));
                *sum = sum.wrapping_add(u32::from(*after)).wrapping_sub(u32::from(*leaving));
            }
        }
    }
}

fn add(sums: &mut [u32; PIXEL_BYTES], pixel: [u8; PIXEL_BYTES]) {
    for (sum, value) in sums.iter_mut().zip(pixel) {
        *sum += u32::from(value);
    }
}

/// PIL's `ImageEnhance.Sharpness`: blends with `ImageFilter.SMOOTH`, whose kernel is 1 around 5, and which leaves the
/// border as it is.
pub(super) fn sharpen(pixels: &mut [u8], width: usize, factor: f64, scratch: &mut Scratch) {
    let (row, factor) = (width * PIXEL_BYTES, factor as f32);
    let height = pixels.len() / row;
    if width < 3 || height < 3 {
        return;
    }
    let other = &mut scratch.other;
    other.clear();
    other.extend_from_slice(pixels);
    for y in 1..height - 1 {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &other[y * row..(y + 1) * row]);
        let into = &mut pixels[y * row + PIXEL_BYTES..(y + 1) * row - PIXEL_BYTES];
        // Slices of one length, and sums in 16 bits (at most 13 · 255), which become SIMD.
        let [above, here, below] = [above, here, below].map(|line| taps(line, into.len()));
        for (x, into) in into.iter_mut().enumerate() {
            let across = |[a, b, c]: [&[u8]; 3]| u16::from(a[x]) + u16::from(b[x]) + u16::from(c[x]);
            let sum = across(above) + across(here) + across(below) + 4 * u16::from(here[1][x]);
            *into = blend(((sum + 6) / 13) as u8, here[1][x], factor);
        }
    }
}

/// A line from its first, second and third pixel on.
fn taps(line: &[u8], len: usize) -> [&[u8]; 3] {
    [0, 1, 2].map(|tap| &line[tap * PIXEL_BYTES..][..len])
}
