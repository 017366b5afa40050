//! Changes in which the three channels of a pixel decide together: grey, saturation, hue.

use super::{PIXEL_BYTES, blend};

/// PIL's mode `L` of a pixel: ITU-R 601-2 luma in 16-bit fixed point.
#[inline]
fn luma([red, green, blue, _]: [u8; PIXEL_BYTES]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

/// The mean of the grey image, rounded half up: what `ImageEnhance.Contrast` blends with.
pub(super) fn mean_grey(pixels: &[u8]) -> u8 {
    let pixels = pixels.as_chunks::<PIXEL_BYTES>().0;
    let sum: u64 = pixels.iter().map(|&pixel| u64::from(luma(pixel))).sum();
    (sum as f64 / pixels.len().max(1) as f64 + 0.5) as u8
}

pub(super) fn grayscale(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut::<PIXEL_BYTES>().0 {
        *pixel = [luma(*pixel); PIXEL_BYTES];
    }
}

pub(super) fn saturate(pixels: &mut [u8], factor: f64) {
    let factor = factor as f32;
    for pixel in pixels.as_chunks_mut::<PIXEL_BYTES>().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|value| blend(grey, value, factor));
    }
}

/// Through PIL's HSV of three bytes; the hue's 8 bits wrap around.
pub(super) fn turn_hue(pixels: &mut [u8], share: f64) {
    let shift = (share * 255.0) as i32 as u8;
    for pixel in pixels.as_chunks_mut::<PIXEL_BYTES>().0 {
        let [red, green, blue, unused] = *pixel;
        let [hue, saturation, value] = to_hsv([red, green, blue]);
        let [red, green, blue] = to_rgb([hue.wrapping_add(shift), saturation, value]);
        *pixel = [red, green, blue, unused];
    }
}

fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let high = red.max(green).max(blue);
    let low = red.min(green).min(blue);
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let saturation = range / f32::from(high);
    let [red_below, green_below, blue_below] = [red, green, blue].map(|value| f32::from(high - value) / range);
    // Sums in 64 bits, each rounded to 32: as PIL's C code mixes them.
    let sixths = if red == high {
        blue_below - green_below
    } else if green == high {
        (2.0 + f64::from(red_below) - f64::from(blue_below)) as f32
    } else {
        (4.0 + f64::from(green_below) - f64::from(red_below)) as f32
    };
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, high]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let sector = sixths.floor();
    let part = f64::from((sixths - sector) as f32);
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let scaled = |share: f64| (f64::from(value) * share).round() as u8;
    let low = scaled(1.0 - saturation);
    let falling = scaled(1.0 - f64::from((saturation * part) as f32));
    let rising = scaled(1.0 - saturation * (1.0 - part));
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}
