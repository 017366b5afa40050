//! Changes in which each byte alone decides what becomes of it: tables of 256 entries.

use super::{PIXEL_BYTES, blend};

/// Replaces every value by what `rule` makes of it.
pub(super) fn map(pixels: &mut [u8], rule: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|value| rule(value as u8));
    for value in pixels {
        *value = table[usize::from(*value)];
    }
}

/// Blends every value with one and the same.
pub(super) fn blend_with(pixels: &mut [u8], level: u8, factor: f64) {
    map(pixels, |value| blend(level, value, factor as f32));
}

/// Replaces every value by its entry in its channel's table.
fn map_channels(pixels: &mut [u8], tables: &[[u8; 256]; 3]) {
    for pixel in pixels.as_chunks_mut::<PIXEL_BYTES>().0 {
        for (value, table) in pixel.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// How often each value occurs in each channel.
fn histograms(pixels: &[u8]) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in pixels.as_chunks::<PIXEL_BYTES>().0 {
        for (value, counts) in pixel.iter().zip(&mut counts) {
            counts[usize::from(*value)] += 1;
        }
    }
    counts
}

fn unchanged() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// PIL's `ImageOps.autocontrast` without a cut-off.
pub(super) fn auto_contrast(pixels: &mut [u8]) {
    let tables = histograms(pixels).map(|counts| {
        let low = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let high = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if high <= low {
            return unchanged();
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
    });
    map_channels(pixels, &tables);
}

/// PIL's `ImageOps.equalize`.
pub(super) fn equalise(pixels: &mut [u8]) {
    let tables = histograms(pixels).map(|counts| {
        let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
        let step = (counts.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return unchanged();
        }
        let mut seen = step / 2;
        counts.map(|count| {
            let level = (seen / step).min(255) as u8;
            seen += count;
            level
        })
    });
    map_channels(pixels, &tables);
}
