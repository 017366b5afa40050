//! Bytes of a file to 8-bit RGB pixels, as `PIL.Image.open(file).convert("RGB")` gives them.

use std::any::Any;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat};

use crate::truncation::is_cut;
use crate::{BadImage, Encoding, Reason};

/// The most pixels an image may have: where PIL refuses an image as a decompression bomb.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Memory that is kept from one image to the next; what a larger image needed is given back.
const KEPT_BYTES: usize = 64 << 20;

/// An image of 8-bit red, green and blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// (H, W, 3) bytes.
    pub bytes: Vec<u8>,
}

impl Rgb {
    /// Gives back the memory that an unusually large image needed.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Rgb::default();
        }
    }
}

/// Decodes with memory that is kept between images.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Pixels that are not RGB yet.
    raw: Vec<u8>,
}

impl Decoder {
    /// Decodes a sample's bytes into `image`.
    ///
    /// # Errors
    /// Says why the image is bad. A panic of a decoding library counts as damage of the image.
    pub(crate) fn decode(&mut self, bytes: &[u8], encoding: Encoding, image: &mut Rgb) -> Result<(), BadImage> {
        match encoding {
            Encoding::Rgb { width, height } => {
                image.bytes.clear();
                image.bytes.extend_from_slice(bytes);
                (image.width, image.height) = (width, height);
                Ok(())
            }
            Encoding::File => catch_unwind(AssertUnwindSafe(|| self.decode_file(bytes, image)))
                .unwrap_or_else(|panic| Err(BadImage::new(Reason::Damaged, panic_message(panic.as_ref())))),
        }
    }

    fn decode_file(&mut self, bytes: &[u8], image: &mut Rgb) -> Result<(), BadImage> {
        if bytes.is_empty() {
            return Err(BadImage::new(Reason::Empty, "the file has no bytes"));
        }
        let format = image::guess_format(bytes)
            .map_err(|_| BadImage::new(Reason::NotAnImage, "the first bytes are of no known image format"))?;
        if is_cut(bytes, format) {
            return Err(BadImage::new(Reason::Truncated, "the file ends before the image does"));
        }
        let file = Cursor::new(bytes);
        match format {
            ImageFormat::Jpeg => self.read(JpegDecoder::new(file).map_err(bad)?, image),
            ImageFormat::Png => self.read(PngDecoder::new(file).map_err(bad)?, image),
            ImageFormat::WebP => self.read(WebPDecoder::new(file).map_err(bad)?, image),
            other => Err(BadImage::new(Reason::Unsupported, format!("{other:?} files are not decoded"))),
        }
    }

    fn read(&mut self, decoder: impl ImageDecoder, image: &mut Rgb) -> Result<(), BadImage> {
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > MAX_PIXELS {
            let reason = if pixels == 0 { Reason::Damaged } else { Reason::TooLarge };
            let detail = format!("{width} x {height} pixels; at least 1 and at most {MAX_PIXELS} are allowed");
            return Err(BadImage::new(reason, detail));
        }
        (image.width, image.height) = (width, height);
        let (color, len) = (decoder.color_type(), decoder.total_bytes() as usize);
        if color == ColorType::Rgb8 {
            image.bytes.resize(len, 0);
            return decoder.read_image(&mut image.bytes).map_err(bad);
        }
        self.raw.resize(len, 0);
        decoder.read_image(&mut self.raw).map_err(bad)?;
        let converted = to_rgb(&self.raw, color, pixels as usize, &mut image.bytes);
        if self.raw.capacity() > KEPT_BYTES {
            self.raw = Vec::new();
        }
        converted
    }
}

/// Keeps red, green and blue, and the high byte of 16-bit samples; repeats gray; drops alpha, as PIL does.
fn to_rgb(raw: &[u8], color: ColorType, pixels: usize, into: &mut Vec<u8>) -> Result<(), BadImage> {
    let sample_bytes = usize::from(color.bytes_per_pixel() / color.channel_count());
    let places: [usize; 3] = match color {
        ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16 => [0; 3],
        ColorType::Rgb8 | ColorType::Rgba8 | ColorType::Rgb16 | ColorType::Rgba16 => [0, 1, 2],
        other => return Err(BadImage::new(Reason::Unsupported, format!("{other:?} pixels are not converted"))),
    };
    let high = if cfg!(target_endian = "little") { sample_bytes - 1 } else { 0 };
    let offsets = places.map(|place| place * sample_bytes + high);
    into.clear();
    into.reserve(pixels * 3);
    for pixel in raw.chunks_exact(usize::from(color.bytes_per_pixel())) {
        into.extend_from_slice(&offsets.map(|offset| pixel[offset]));
    }
    Ok(())
}

/// The kind of fault that a decoder's error tells of.
fn bad(error: ImageError) -> BadImage {
    let reason = match &error {
        ImageError::Unsupported(_) => Reason::Unsupported,
        ImageError::Limits(_) => Reason::TooLarge,
        _ => Reason::Damaged,
    };
    BadImage::new(reason, error)
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{DynamicImage, ExtendedColorType, ImageBuffer, Rgb as Pixel};

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Rgb, Reason> {
        let mut image = Rgb::default();
        Decoder::default().decode(bytes, Encoding::File, &mut image).map_err(|bad| bad.reason)?;
        Ok(image)
    }

    fn noise(width: u32, height: u32) -> Vec<u8> {
        (0..width * height * 3).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image = ImageBuffer::<Pixel<u8>, _>::from_raw(40, 30, noise(40, 30)).expect("40 x 30 pixels");
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut file, format).expect("in memory");
        file.into_inner()
    }

    #[test]
    fn cut_files_are_truncated_wherever_they_are_cut() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let whole = encoded(format);
            assert!(decode(&whole).is_ok(), "{format:?}");
            for percent in [20, 60, 95] {
                let cut = &whole[..whole.len() * percent / 100];
                assert_eq!(decode(cut), Err(Reason::Truncated), "{format:?} cut at {percent} %");
            }
        }
    }

    #[test]
    fn bytes_after_the_end_of_a_jpeg_are_ignored() {
        let mut file = encoded(ImageFormat::Jpeg);
        let whole = decode(&file);
        file.extend_from_slice(b"\0\0trailer");
        assert_eq!(decode(&file), whole);
    }

    /// A thumbnail in a metadata segment has an end marker of its own, which is not the image's.
    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        let thumbnail = encoded(ImageFormat::Jpeg);
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE1];
        file.extend_from_slice(&(thumbnail.len() as u16 + 2).to_be_bytes());
        file.extend_from_slice(&thumbnail);
        file.extend_from_slice(&thumbnail[2..]);
        assert!(decode(&file).is_ok());
        assert_eq!(decode(&file[..file.len() - 200]), Err(Reason::Truncated));
    }

    #[test]
    fn what_is_no_image_is_told_apart() {
        assert_eq!(decode(b""), Err(Reason::Empty));
        assert_eq!(decode(b"<html>404 not found</html>"), Err(Reason::NotAnImage));
        assert_eq!(decode(b"BM and a bitmap's header, perhaps"), Err(Reason::Unsupported));
        let mut damaged = encoded(ImageFormat::Png);
        damaged[20] ^= 0xFF; // the header's width, which its checksum covers
        assert_eq!(decode(&damaged), Err(Reason::Damaged));
    }

    /// The header alone is enough to refuse a bomb: nothing of that size is allocated.
    #[test]
    fn bombs_are_too_large() {
        let mut jpeg = Vec::new();
        JpegEncoder::new(&mut jpeg).encode(&noise(16, 16), 16, 16, ExtendedColorType::Rgb8).expect("in memory");
        let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("a baseline frame");
        let side = 30_000u16.to_be_bytes();
        jpeg[frame + 5..frame + 7].copy_from_slice(&side);
        jpeg[frame + 7..frame + 9].copy_from_slice(&side);
        assert_eq!(decode(&jpeg), Err(Reason::TooLarge));
    }

    #[test]
    fn sixteen_bits_keep_the_high_byte() {
        let image = ImageBuffer::<Pixel<u16>, _>::from_pixel(3, 2, Pixel([0x12FF, 0x3400, 0xFF80]));
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut file, ImageFormat::Png).expect("in memory");
        assert_eq!(decode(&file.into_inner()).map(|image| image.bytes), Ok([0x12, 0x34, 0xFF].repeat(6)));
    }

    #[test]
    fn memory_from_the_image_before_does_not_show() {
        let (mut decoder, mut image) = (Decoder::default(), Rgb::default());
        decoder.decode(&encoded(ImageFormat::Png), Encoding::File, &mut image).expect("valid");
        decoder.decode(&noise(4, 4), Encoding::Rgb { width: 4, height: 4 }, &mut image).expect("valid");
        assert_eq!(image, Rgb { width: 4, height: 4, bytes: noise(4, 4) });
    }
}
