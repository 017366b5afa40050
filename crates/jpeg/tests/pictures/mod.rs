//! Pictures and JPEGs for the tests, made here.
#![allow(dead_code)]

use jpeg::{
    ColourSpace, DecodeOptions, Decoder, EncodeOptions, Encoder, EntropyDecoder, PixelFormat, Rect, RegionInfo, Scale,
};
use random::Rng;

/// A picture with gradients, hard edges and noise: (height, width, channels), tightly packed.
pub fn picture(width: u32, height: u32, channels: u32, rng: &mut Rng) -> Vec<u8> {
    let slopes: Vec<f64> = (0..3 * channels).map(|_| rng.uniform_in(-2.0, 2.0)).collect();
    let mut pixels = Vec::with_capacity((width * height * channels) as usize);
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels as usize {
                let [a, b, d] = [slopes[3 * c], slopes[3 * c + 1], slopes[3 * c + 2]];
                let ramp = 128.0 + a * f64::from(x) + b * f64::from(y);
                let edge = if (f64::from(x) * d + f64::from(y)).rem_euclid(37.0) < 9.0 { 70.0 } else { 0.0 };
                pixels.push((ramp.rem_euclid(256.0) + edge + rng.uniform_in(-12.0, 12.0)).clamp(0.0, 255.0) as u8);
            }
        }
    }
    pixels
}

/// A JPEG of such a picture.
pub fn jpeg(width: u32, height: u32, options: &EncodeOptions, rng: &mut Rng) -> Vec<u8> {
    let channels = match options.colour_space {
        ColourSpace::Grey => 1,
        ColourSpace::Cmyk | ColourSpace::Ycck => 4,
        _ => 3,
    };
    let pixels = picture(width, height, channels, rng);
    Encoder::new().unwrap().encode(&pixels, width, height, options).unwrap().to_vec()
}

pub const SIZES: [(u32, u32); 12] = [
    (1, 1),
    (2, 3),
    (7, 9),
    (8, 8),
    (16, 16),
    (17, 33),
    (31, 15),
    (64, 48),
    (100, 75),
    (157, 113),
    (333, 60),
    (48, 190),
];

/// Every kind of file that has to be decoded alike.
pub fn kinds() -> Vec<EncodeOptions> {
    let plain = EncodeOptions::default();
    let mut kinds = Vec::new();
    for sampling in [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)] {
        kinds.push(EncodeOptions { sampling, ..plain });
        kinds.push(EncodeOptions { sampling, restart_interval: 3, optimise: false, ..plain });
    }
    for colour_space in [ColourSpace::Grey, ColourSpace::Rgb, ColourSpace::Cmyk, ColourSpace::Ycck] {
        let sampling = if colour_space == ColourSpace::Ycck { (2, 2) } else { (1, 1) };
        kinds.push(EncodeOptions { colour_space, sampling, ..plain });
    }
    kinds.push(EncodeOptions { colour_space: ColourSpace::Grey, sampling: (2, 2), restart_interval: 5, ..plain });
    kinds.push(EncodeOptions { quality: 100, sampling: (1, 1), ..plain });
    kinds.push(EncodeOptions { quality: 20, ..plain });
    kinds.push(EncodeOptions { progressive: true, ..plain });
    kinds.push(EncodeOptions { progressive: true, sampling: (1, 2), restart_interval: 4, ..plain });
    kinds.push(EncodeOptions { arithmetic: true, sampling: (2, 1), ..plain });
    kinds
}

/// A crop of an image of this size, often at its edges.
pub fn crop(width: u32, height: u32, rng: &mut Rng) -> Rect {
    let mut side = |whole: u32| {
        let length = 1 + rng.below(u64::from(whole)) as u32;
        let start = match rng.below(4) {
            0 => 0,
            1 => whole - length,
            _ => rng.below(u64::from(whole - length + 1)) as u32,
        };
        (start, length)
    };
    let ((x, w), (y, h)) = (side(width), side(height));
    Rect::new(x, y, w, h)
}

pub fn decoder(entropy: EntropyDecoder) -> Decoder {
    Decoder::new(DecodeOptions { entropy, ..DecodeOptions::default() }).unwrap()
}

/// Decoded pixels with what is known of them.
pub struct Decoded {
    pub info: RegionInfo,
    pub pixels: Vec<u8>,
}

pub fn region(decoder: &mut Decoder, file: &[u8], crop: Rect, scale: Scale) -> Decoded {
    let mut pixels = Vec::new();
    let info = decoder.decode_region(file, crop, scale, PixelFormat::Rgb, &mut pixels).unwrap();
    pixels.truncate(info.bytes());
    Decoded { info, pixels }
}

pub fn full(decoder: &mut Decoder, file: &[u8]) -> Decoded {
    let header = decoder.read_header(file).unwrap();
    region(decoder, file, Rect::new(0, 0, header.width, header.height), Scale::Full)
}

impl Decoded {
    /// The RGB pixel at a place of the (scaled) image, which must be in what was decoded.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let d = self.info.decoded;
        let offset = (y - d.y) as usize * self.info.stride() + (x - d.x) as usize * 3;
        [self.pixels[offset], self.pixels[offset + 1], self.pixels[offset + 2]]
    }

    /// The greatest and the mean difference of levels in a rectangle, where `other` lies `shift` further left and up.
    pub fn difference(&self, other: &Decoded, within: Rect, shift: (u32, u32)) -> (u8, f64) {
        let (mut worst, mut sum) = (0, 0u64);
        for y in within.y..within.bottom() {
            for x in within.x..within.right() {
                for (a, b) in self.at(x, y).into_iter().zip(other.at(x - shift.0, y - shift.1)) {
                    worst = worst.max(a.abs_diff(b));
                    sum += u64::from(a.abs_diff(b));
                }
            }
        }
        (worst, sum as f64 / (3.0 * f64::from(within.width) * f64::from(within.height)))
    }
}
