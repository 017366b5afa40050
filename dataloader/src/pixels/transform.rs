//! From a decoded image to the pixels that a model sees, with torchvision's semantics on PIL images.

use std::cell::Cell;

use random::Key;

use crate::augment::{Augment, RandomErasing, Scratch};
use crate::pixels::crop::{View, Wanted};
use crate::pixels::decode::{Decoder, PIXEL_BYTES, Rgbx};
use crate::pixels::framing::Placement;
use crate::pixels::resample::Resampler;
use crate::{BadImage, Crop, DataError, Decode, Draw, Encoding, Exif, Filter, Orientation};

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
    /// What changes its colours and shapes, in timm's order: after the flip, erasing after normalisation.
    pub augment: Augment,
    /// Whether the crop is drawn in the image as it is stored or turned upright.
    pub exif: Exif,
    /// What a batch holds.
    pub pixels: Pixels,
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
        Transform {
            size,
            crop: Crop::Center { pct },
            flip: 0.0,
            filter: Filter::default(),
            augment: Augment::default(),
            exif: Exif::Ignore,
            pixels: Pixels::U8,
        }
    }

    /// Bytes of one image in a batch.
    pub fn image_bytes(&self) -> usize {
        let values = self.size as usize * self.size as usize * 3;
        match self.pixels {
            Pixels::F32 { .. } => values * size_of::<f32>(),
            Pixels::U8 => values,
        }
    }

    /// Writes an image of `size` × `size` pixels, (H, W, 4) bytes of which the fourth means nothing, as a batch holds it.
    ///
    /// # Panics
    /// When `into` is not [`image_bytes`](Self::image_bytes) long, or not aligned for 32-bit floats where it holds them.
    pub fn write(&self, pixels: &[u8], into: &mut [u8]) {
        let pixels = pixels.as_chunks::<PIXEL_BYTES>().0;
        assert_eq!(pixels.len(), self.size as usize * self.size as usize, "one image");
        assert_eq!(into.len(), self.image_bytes(), "room for one image");
        match &self.pixels {
            Pixels::U8 => {
                for (to, from) in into.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *to = [from[0], from[1], from[2]];
                }
            }
            Pixels::F32 { mean, std } => normalise(pixels, mean, std, bytemuck::cast_slice_mut(into)),
        }
    }

    /// Erases what the sample's key says from an image as [`write`](Self::write) left it; nothing
    /// from bytes.
    pub fn erase(&self, image: &mut [u8], key: Key) {
        if let Pixels::F32 { .. } = self.pixels {
            self.augment.erase(bytemuck::cast_slice_mut(image), self.size as usize, key);
        }
    }

    /// What is noted for later instead of erased: rectangles are erased from normalized values, and
    /// bytes are not normalized yet.
    pub(crate) fn noted(&self) -> Option<&RandomErasing> {
        if self.pixels == Pixels::U8 { self.augment.erasing.as_ref() } else { None }
    }

    /// What this needs of an image of the given size, upright; `key` is the sample's.
    pub(crate) fn wanted(&self, width: u32, height: u32, key: Key) -> Wanted {
        self.crop.frame(width, height, self.size, key).wanted
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let invalid = |field, problem: String| Err(DataError::InvalidSpec { field, problem });
        if self.size == 0 {
            return invalid("transform.size", "0; at least 1 pixel is needed".to_owned());
        }
        if !(0.0..=1.0).contains(&self.flip) {
            return invalid("transform.flip", format!("{} is no probability", self.flip));
        }
        for (name, probability) in self.augment.probabilities() {
            if !(0.0..=1.0).contains(&probability) {
                return invalid("transform.augment", format!("{name}: {probability} is no probability"));
            }
        }
        self.crop.check(self.size)
    }
}

/// Bytes (H, W, 4) to floats (3, H, W). Shifts of whole words, which every compiler turns into SIMD.
fn normalise(pixels: &[[u8; PIXEL_BYTES]], mean: &[f32; 3], std: &[f32; 3], into: &mut [f32]) {
    for (channel, plane) in into.chunks_exact_mut(pixels.len()).enumerate() {
        let (scale, shift) = (1.0 / (255.0 * std[channel]), -mean[channel] / std[channel]);
        let bits = 8 * channel as u32;
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            let level = (u32::from_le_bytes(*pixel) >> bits & 0xFF) as i32;
            *value = level as f32 * scale + shift;
        }
    }
}

/// Decodes and transforms one image after the other, in memory that it keeps.
#[derive(Default)]
pub struct Preparer {
    decoder: Decoder,
    resampler: Resampler,
    image: Rgbx,
    cropped: Vec<u8>,
    /// The part of a result that is resized, where that is not all.
    part: Vec<u8>,
    scratch: Scratch,
}

impl Preparer {
    /// A preparer without memory yet.
    pub fn new(decode: Decode) -> Preparer {
        Preparer { decoder: Decoder::new(decode), ..Preparer::default() }
    }

    /// The transformed pixels of an image, before normalisation: (size, size, 4) bytes of which the fourth means nothing.
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
    ) -> Result<&mut [u8], BadImage> {
        self.decode(bytes, encoding, transform, key).map(|decoded| self.resize(decoded, transform, key))
    }

    /// The first half of [`pixels`](Self::pixels): as much of the image as its crop needs.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        encoding: Encoding,
        transform: &Transform,
        key: Key,
    ) -> Result<Decoded, BadImage> {
        let orientation = match encoding {
            Encoding::File | Encoding::Part { .. } => transform.exif.orientation(bytes),
            Encoding::Rgb { .. } => Orientation::UPRIGHT,
        };
        let placement = Cell::new(None);
        let wanted = |width, height| {
            let (width, height) = orientation.upright_sides(width, height);
            let framing = transform.crop.frame(width, height, transform.size, key);
            placement.set(Some(framing.placement));
            framing.wanted.stored(orientation, width, height)
        };
        let view = self.decoder.decode(bytes, encoding, &wanted, &mut self.image)?;
        let placement = placement.take().expect("nothing is decoded before what is wanted is known");
        Ok(Decoded { view, placement, orientation })
    }

    /// The second half: the crop, resized, turned upright, perhaps mirrored, and augmented.
    pub(crate) fn resize(&mut self, decoded: Decoded, transform: &Transform, key: Key) -> &mut [u8] {
        let Decoded { view, placement, orientation } = decoded;
        let (size, kernel) = (transform.size, transform.filter.kernel(key));
        let [columns, rows] = placement.sides();
        let stored = orientation.upright_sides(columns, rows).into();
        if placement.is_whole(size) {
            self.resampler.resize_view(&self.image, view, kernel, stored, &mut self.cropped);
            orientation.turn_upright(&mut self.cropped, [columns, rows]);
        } else {
            self.resampler.resize_view(&self.image, view, kernel, stored, &mut self.part);
            orientation.turn_upright(&mut self.part, [columns, rows]);
            placement.place(&self.part, size, &mut self.cropped);
        }
        if key.child(Draw::Flip as u64).rng().chance(transform.flip) {
            mirror(&mut self.cropped, size);
        }
        transform.augment.change(&mut self.cropped, size as usize, key, &mut self.scratch);
        self.image.shrink();
        &mut self.cropped
    }
}

/// An image that a [`Preparer`] holds decoded, what of it is wanted, and how it is stored.
pub(crate) struct Decoded {
    view: View,
    placement: Placement,
    orientation: Orientation,
}

/// Mirrors (H, W, 4) pixels left and right.
pub(crate) fn mirror(pixels: &mut [u8], width: u32) {
    for row in pixels.as_chunks_mut::<PIXEL_BYTES>().0.chunks_exact_mut(width as usize) {
        row.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::EraseMode;
    use crate::pixels::crop::Window;

    #[test]
    fn mirroring_reverses_rows_and_keeps_colours() {
        let mut pixels: Vec<u8> = (0..16).collect(); // (2, 2, 4)
        mirror(&mut pixels, 2);
        assert_eq!(pixels, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]);
    }

    /// A strip of one pixel's width would become 16 million rows if it were resized before it is cropped.
    #[test]
    fn very_long_images_cost_no_more_than_others() {
        for (width, height) in [(1, 65_535), (65_535, 1), (2, 70_000)] {
            let image = Rgbx { width, height, bytes: vec![77; width as usize * height as usize * 4] };
            let mut pixels = Vec::new();
            let window = Window::center(width, height, 224, 0.875);
            let view = Wanted::around(window, [width, height], [224; 2]).in_whole();
            Resampler::default().resize_view(&image, view, Filter::Bicubic.kernel(Key::root(0)), [224; 2], &mut pixels);
            assert_eq!(pixels, vec![77; 224 * 224 * 4], "{width} x {height}");
        }
    }

    #[test]
    fn a_certain_flip_is_the_mirror_image_of_none() {
        let bytes: Vec<u8> = (0..4 * 6 * 3).map(|place| place * 3).collect();
        let prepare = |flip| {
            let transform = Transform { flip, ..Transform::center(4, 1.0) };
            let encoding = Encoding::Rgb { width: 6, height: 4 };
            Preparer::default().pixels(&bytes, encoding, &transform, Key::root(1)).expect("plain pixels").to_vec()
        };
        let mut mirrored = prepare(0.0);
        mirror(&mut mirrored, 4);
        assert_eq!(prepare(1.0), mirrored);
        assert_ne!(prepare(1.0), prepare(0.0));
    }

    /// The colour of what is kept stays, and at most a third of the image (rounded to whole pixels) becomes 0.
    #[test]
    fn erasing_comes_after_normalisation_and_not_into_bytes() {
        let erasing = Some(RandomErasing::new(1.0, EraseMode::Const));
        let augment = Augment { erasing, ..Augment::default() };
        let bytes = Transform { augment, ..Transform::center(32, 1.0) };
        let mut image = [7; 3 * 32 * 32];
        bytes.erase(&mut image, Key::root(0));
        assert_eq!((image, bytes.noted()), ([7; 3 * 32 * 32], erasing.as_ref()));
        let floats = Transform { pixels: Pixels::F32 { mean: [0.0; 3], std: [1.0; 3] }, ..bytes };
        assert!(floats.noted().is_none());
        for draw in 0..20 {
            let mut image = vec![0.0_f32; 3 * 32 * 32];
            floats.write(&[255; 32 * 32 * 4], bytemuck::cast_slice_mut(&mut image));
            floats.erase(bytemuck::cast_slice_mut(&mut image), Key::root(draw));
            let erased = image.iter().filter(|&&value| value == 0.0).count();
            let kept = image.iter().filter(|&&value| (value - 1.0).abs() < 1e-6).count();
            assert!(erased > 0 && erased < 3 * 32 * 32 * 2 / 5 && erased + kept == 3 * 32 * 32, "{erased} erased");
        }
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
            (Transform { augment: Augment { blur: 1.5, ..Augment::default() }, ..good.clone() }, "blur: 1.5"),
            (crop([0.0, 1.0], [1.0, 1.0]), "transform.crop.scale"),
            (crop([0.5, 1.0], [2.0, 1.0]), "transform.crop.ratio"),
        ] {
            let error = bad.check().expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
