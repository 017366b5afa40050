//! From a decoded image to the pixels that a model sees, with torchvision's semantics on PIL images.

use random::Key;

use crate::crop::Window;
use crate::decode::Decoder;
use crate::resample::Resampler;
use crate::{BadImage, CropBox, DataError, Draw, Encoding, Filter, Rgb};

/// What happens to every image.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Rows and columns of the result, at least 1.
    pub size: u32,
    /// Which part of the image is kept.
    pub crop: Crop,
    /// The probability of mirroring left and right, in `[0, 1]` (torchvision's `RandomHorizontalFlip`).
    pub flip: f64,
    /// How the image is resized.
    pub filter: Filter,
    /// What a batch holds.
    pub pixels: Pixels,
}

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
    /// timm's evaluation: `Resize(⌊size / pct⌋)` of the shorter side, then `CenterCrop(size)`.
    Center {
        /// The share that the crop is of the resized shorter side, in `(0, 1]`.
        pct: f64,
    },
}

/// What a batch holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// (N, 3, H, W) 32-bit floats in native byte order: `(value / 255 − mean) / std`.
    F32 {
        /// Means of red, green and blue, of values in `[0, 1]`.
        mean: [f32; 3],
        /// Standard deviations of red, green and blue; greater than 0.
        std: [f32; 3],
    },
    /// (N, H, W, 3) bytes.
    U8,
}

impl Transform {
    /// Resize and centre crop to bytes, nothing random: the shortest start of a spec.
    pub fn center(size: u32, pct: f64) -> Transform {
        Transform { size, crop: Crop::Center { pct }, flip: 0.0, filter: Filter::default(), pixels: Pixels::U8 }
    }

    /// Bytes of one image in a batch.
    pub fn image_bytes(&self) -> usize {
        let values = self.size as usize * self.size as usize * 3;
        match self.pixels {
            Pixels::F32 { .. } => values * size_of::<f32>(),
            Pixels::U8 => values,
        }
    }

    /// Writes an image of `size` × `size` pixels, (H, W, 3) bytes, as a batch holds it.
    ///
    /// # Panics
    /// When `into` is not [`image_bytes`](Self::image_bytes) long, or not aligned for 32-bit floats where it holds them.
    pub fn write(&self, pixels: &[u8], into: &mut [u8]) {
        match &self.pixels {
            Pixels::U8 => into.copy_from_slice(pixels),
            Pixels::F32 { mean, std } => normalise(pixels, mean, std, bytemuck::cast_slice_mut(into)),
        }
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let invalid = |field, problem: String| Err(DataError::InvalidSpec { field, problem });
        if self.size == 0 {
            return invalid("transform.size", "0; at least 1 pixel is needed".to_owned());
        }
        if !(0.0..=1.0).contains(&self.flip) {
            return invalid("transform.flip", format!("{} is no probability", self.flip));
        }
        match self.crop {
            Crop::RandomResized { scale: [low, high], .. } if !(0.0 < low && low <= high && high <= 1.0) => {
                invalid("transform.crop.scale", format!("[{low}, {high}] is not 0 < low <= high <= 1"))
            }
            Crop::RandomResized { ratio: [low, high], .. } if !(0.0 < low && low <= high && high.is_finite()) => {
                invalid("transform.crop.ratio", format!("[{low}, {high}] is not 0 < low <= high"))
            }
            Crop::Center { pct } if !(0.0 < pct && pct <= 1.0) => {
                invalid("transform.crop.pct", format!("{pct} is not in (0, 1]"))
            }
            _ => Ok(()),
        }
    }
}

/// Bytes (H, W, 3) to floats (3, H, W).
fn normalise(pixels: &[u8], mean: &[f32; 3], std: &[f32; 3], into: &mut [f32]) {
    assert_eq!(pixels.len(), into.len(), "one float a byte");
    let scale = std.map(|std| 1.0 / (255.0 * std));
    let shift: [f32; 3] = std::array::from_fn(|c| -mean[c] / std[c]);
    let (red, rest) = into.split_at_mut(pixels.len() / 3);
    let (green, blue) = rest.split_at_mut(pixels.len() / 3);
    for (((rgb, red), green), blue) in pixels.chunks_exact(3).zip(red).zip(green).zip(blue) {
        *red = f32::from(rgb[0]) * scale[0] + shift[0];
        *green = f32::from(rgb[1]) * scale[1] + shift[1];
        *blue = f32::from(rgb[2]) * scale[2] + shift[2];
    }
}

/// Decodes and transforms one image after the other, in memory that it keeps.
#[derive(Debug, Default)]
pub struct Preparer {
    decoder: Decoder,
    resampler: Resampler,
    image: Rgb,
    cropped: Vec<u8>,
}

impl Preparer {
    /// A preparer without memory yet.
    pub fn new() -> Preparer {
        Preparer::default()
    }

    /// The transformed pixels of an image, (size, size, 3) bytes, before normalisation.
    ///
    /// `key` is the sample's, for [`Purpose::Augment`](random::Purpose::Augment).
    ///
    /// # Errors
    /// When the image cannot be decoded.
    pub fn pixels(
        &mut self,
        bytes: &[u8],
        encoding: Encoding,
        transform: &Transform,
        key: Key,
    ) -> Result<&[u8], BadImage> {
        self.decoder.decode(bytes, encoding, &mut self.image)?;
        let size = transform.size;
        match transform.crop {
            Crop::RandomResized { scale, ratio } => {
                let mut rng = key.child(Draw::Crop as u64).rng();
                let from = CropBox::random_resized(self.image.width, self.image.height, scale, ratio, &mut rng);
                self.resampler.resize_box(&self.image, from, transform.filter, size, &mut self.cropped);
            }
            Crop::Center { pct } => {
                let window = Window::center(self.image.width, self.image.height, size, pct);
                self.resampler.resize_window(&self.image, window, transform.filter, size, &mut self.cropped);
            }
        }
        if key.child(Draw::Flip as u64).rng().chance(transform.flip) {
            mirror(&mut self.cropped, size);
        }
        self.image.shrink();
        Ok(&self.cropped)
    }
}

/// Mirrors (H, W, 3) pixels left and right.
fn mirror(pixels: &mut [u8], width: u32) {
    for row in pixels.chunks_exact_mut(width as usize * 3) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_reverses_rows_and_keeps_colours() {
        let mut pixels: Vec<u8> = (0..18).collect(); // (2, 3, 3)
        mirror(&mut pixels, 3);
        assert_eq!(pixels, [6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11]);
    }

    /// A strip of one pixel's width would become 16 million rows if it were resized before it is cropped.
    #[test]
    fn very_long_images_cost_no_more_than_others() {
        for (width, height) in [(1, 65_535), (65_535, 1), (2, 70_000)] {
            let image = Rgb { width, height, bytes: vec![77; width as usize * height as usize * 3] };
            let mut pixels = Vec::new();
            let window = Window::center(width, height, 224, 0.875);
            Resampler::default().resize_window(&image, window, Filter::Bicubic, 224, &mut pixels);
            assert_eq!(pixels, vec![77; 224 * 224 * 3], "{width} x {height}");
        }
    }

    #[test]
    fn a_certain_flip_is_the_mirror_image_of_none() {
        let bytes: Vec<u8> = (0..4 * 6 * 3).map(|place| place * 3).collect();
        let prepare = |flip| {
            let transform = Transform { flip, ..Transform::center(4, 1.0) };
            let encoding = Encoding::Rgb { width: 6, height: 4 };
            Preparer::new().pixels(&bytes, encoding, &transform, Key::root(1)).expect("plain pixels").to_vec()
        };
        let mut mirrored = prepare(0.0);
        mirror(&mut mirrored, 4);
        assert_eq!(prepare(1.0), mirrored);
        assert_ne!(prepare(1.0), prepare(0.0));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Transform::center(32, 0.875);
        assert!(good.check().is_ok());
        let crop = |scale, ratio| Transform { crop: Crop::RandomResized { scale, ratio }, ..good.clone() };
        for (bad, field) in [
            (Transform::center(0, 1.0), "transform.size"),
            (Transform::center(32, 0.0), "transform.crop.pct"),
            (Transform { flip: f64::NAN, ..good.clone() }, "transform.flip"),
            (crop([0.0, 1.0], [1.0, 1.0]), "transform.crop.scale"),
            (crop([0.5, 1.0], [2.0, 1.0]), "transform.crop.ratio"),
        ] {
            let error = bad.check().expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
