//! Single images outside the pipeline, prepared as an evaluation prepares them.

use std::path::Path;

use random::Key;

use crate::pixels::probe::Prober;
use crate::source::read_image_file;
use crate::{BadImage, Crop, Decode, Encoding, Preparer, ReadError, Transform};

/// Prepares one image file after the other, in memory that it keeps.
pub struct SingleImages {
    transform: Transform,
    /// For images that already have the size of the result.
    as_they_are: Transform,
    prober: Prober,
    preparer: Preparer,
    bytes: Vec<u8>,
}

impl SingleImages {
    /// Prepares images by `transform`, in which nothing is random; those that already have its size are only normalised.
    pub fn new(transform: Transform, decode: Decode) -> SingleImages {
        SingleImages {
            as_they_are: Transform { crop: Crop::Center { pct: 1.0 }, ..transform.clone() },
            transform,
            prober: Prober::default(),
            preparer: Preparer::new(decode),
            bytes: Vec::new(),
        }
    }

    /// Writes the image in the file `path` as a batch holds it.
    ///
    /// # Errors
    /// When the file cannot be read or decoded.
    ///
    /// # Panics
    /// When `into` is not [`Transform::image_bytes`] long.
    pub fn prepare(&mut self, path: &Path, into: &mut [u8]) -> Result<(), BadImage> {
        read_image_file(path, &mut self.bytes)
            .map_err(|source| BadImage::unread(&ReadError { name: path.display().to_string(), source }))?;
        let found = self.prober.probe(&self.bytes, Encoding::File)?;
        let fits = [found.width, found.height] == [self.transform.size; 2];
        let transform = if fits { &self.as_they_are } else { &self.transform };
        let pixels = self.preparer.pixels(&self.bytes, Encoding::File, transform, Key::root(0))?;
        transform.write(pixels, into);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::{Filter, Reason};

    /// Noise of `side` × `side` pixels as a PNG, and its bytes.
    fn noise(path: &Path, side: u32) -> Vec<u8> {
        let mut rng = Key::root(u64::from(side)).rng();
        let image = RgbImage::from_fn(side, side, |_, _| image::Rgb([0; 3].map(|_: u8| rng.below(256) as u8)));
        image.save_with_format(path, image::ImageFormat::Png).expect("a PNG");
        image.into_raw()
    }

    #[test]
    fn an_image_of_the_right_size_keeps_every_pixel_and_others_are_cropped() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("noise.png");
        let transform = Transform { filter: Filter::Bicubic, ..Transform::center(24, 0.875) };
        let mut images = SingleImages::new(transform.clone(), Decode::Region);
        let mut prepared = vec![0; transform.image_bytes()];
        let pixels = noise(&path, 24);
        images.prepare(&path, &mut prepared).expect("an image");
        assert!(prepared == pixels, "pixels of an image of the right size were changed");

        noise(&path, 40);
        images.prepare(&path, &mut prepared).expect("an image");
        let bytes = std::fs::read(&path).expect("the file");
        let mut expected = vec![0; transform.image_bytes()];
        let mut preparer = Preparer::new(Decode::Region);
        let pixels = preparer.pixels(&bytes, Encoding::File, &transform, Key::root(9)).expect("an image");
        transform.write(pixels, &mut expected);
        assert!(prepared == expected, "another image is not what the loader makes of it");
    }

    #[test]
    fn bad_files_say_why() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("text.jpg");
        std::fs::write(&path, "this is no image").expect("a file");
        let mut images = SingleImages::new(Transform::center(8, 1.0), Decode::Region);
        let mut reason = |path: &Path| images.prepare(path, &mut [0; 8 * 8 * 3]).expect_err("bad").reason;
        assert_eq!(reason(&path), Reason::NotAnImage);
        assert_eq!(reason(&scratch.path().join("gone.jpg")), Reason::Unreadable);
        assert_eq!(reason(scratch.path()), Reason::Unreadable);
    }
}
