//! Bytes of a file to 8-bit RGBX pixels, as `PIL.Image.open(file).convert("RGB")` gives them.
//!
//! JPEGs go to libjpeg-turbo, which PIL uses too, and only as far as their crop needs; all else, and JPEGs that it
//! refuses, to `image`.

use std::any::Any;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat};

use crate::pixels::crop::{View, Wanted};
use crate::pixels::fast_jpeg::FastJpeg;
use crate::pixels::truncation::is_cut;
use crate::{BadImage, Encoding, Reason};

/// The most pixels an image may have: where PIL refuses an image as a decompression bomb.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Memory that is kept from one image to the next; what a larger image needed is given back.
const KEPT_BYTES: usize = 64 << 20;

/// How much of a JPEG is looked at, and what damage makes it bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decode {
    /// The rows and columns that the crop needs, at full size: the pixels of the whole image decoded. Damage below them
    /// goes unseen (a file without an end does not), and damage in them that libjpeg-turbo can repair is repaired, as PIL
    /// does.
    #[default]
    Region,
    /// The same, and a random crop of at least twice the result's sides is reduced by a power of two in the DCT domain, as
    /// PIL's `draft` does. Faster for large photographs, but the DCT keeps other detail than an antialiased filter: the
    /// result is 1.3 levels off on average where the crop is 2 to 3 times larger than the result, less where it is more.
    Reduced,
    /// All of it: any damage makes the image bad. Slower.
    Strict,
}

/// Red, green, blue, and a byte that means nothing: what SIMD resizing likes best.
pub(crate) const PIXEL_BYTES: usize = 4;

/// An image, or the decoded part of one, of 8-bit red, green and blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rgbx {
    /// Columns.
    pub(crate) width: u32,
    /// Rows.
    pub(crate) height: u32,
    /// (H, W, 4) bytes, and perhaps more that are left from a larger image.
    pub(crate) bytes: Vec<u8>,
}

impl Rgbx {
    /// The pixels alone.
    pub(crate) fn pixels(&self) -> &[u8] {
        &self.bytes[..self.width as usize * self.height as usize * PIXEL_BYTES]
    }

    /// Gives back the memory that an unusually large image needed.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Rgbx::default();
        }
    }
}

/// Decodes with memory that is kept between images.
#[derive(Default)]
pub(crate) struct Decoder {
    decode: Decode,
    jpeg: FastJpeg,
    /// Pixels that are not RGBX yet.
    raw: Vec<u8>,
}

impl Decoder {
    /// A decoder without memory yet.
    pub(crate) fn new(decode: Decode) -> Decoder {
        Decoder { decode, ..Decoder::default() }
    }

    /// Decodes at least what `wanted` asks of an image of a given width and height into `image`; says where it is there.
    ///
    /// # Errors
    /// Says why the image is bad. A panic of a decoding library counts as damage of the image.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        encoding: Encoding,
        wanted: &dyn Fn(u32, u32) -> Wanted,
        image: &mut Rgbx,
    ) -> Result<View, BadImage> {
        match encoding {
            Encoding::Rgb { width, height } => {
                (image.width, image.height) = (width, height);
                to_rgbx(bytes, ColorType::Rgb8, &mut image.bytes)?;
                Ok(wanted(width, height).in_whole())
            }
            Encoding::File => self.decode_guarded(bytes, wanted, image),
            Encoding::Part { width, height, left, top } => {
                let whole = wanted(width, height);
                self.decode_guarded(bytes, &|width, height| whole.in_part(left, top, width, height), image)
            }
        }
    }

    fn decode_guarded(
        &mut self,
        bytes: &[u8],
        wanted: &dyn Fn(u32, u32) -> Wanted,
        image: &mut Rgbx,
    ) -> Result<View, BadImage> {
        catch_unwind(AssertUnwindSafe(|| self.decode_file(bytes, wanted, image)))
            .unwrap_or_else(|panic| Err(BadImage::new(Reason::Damaged, panic_message(panic.as_ref()))))
    }

    fn decode_file(
        &mut self,
        bytes: &[u8],
        wanted: &dyn Fn(u32, u32) -> Wanted,
        image: &mut Rgbx,
    ) -> Result<View, BadImage> {
        if bytes.is_empty() {
            return Err(BadImage::new(Reason::Empty, "the file has no bytes"));
        }
        let format = image::guess_format(bytes)
            .map_err(|_| BadImage::new(Reason::NotAnImage, "the first bytes are of no known image format"))?;
        if is_cut(bytes, format) {
            return Err(BadImage::new(Reason::Truncated, "the file ends before the image does"));
        }
        if format == ImageFormat::Jpeg
            && let Some(done) = self.jpeg.decode(bytes, self.decode, wanted, image)
        {
            return done;
        }
        let file = Cursor::new(bytes);
        match format {
            ImageFormat::Jpeg => self.read(JpegDecoder::new(file).map_err(bad)?, image),
            ImageFormat::Png => self.read(PngDecoder::new(file).map_err(bad)?, image),
            ImageFormat::WebP => self.read(WebPDecoder::new(file).map_err(bad)?, image),
            other => Err(BadImage::new(Reason::Unsupported, format!("{other:?} files are not decoded"))),
        }?;
        Ok(wanted(image.width, image.height).in_whole())
    }

    fn read(&mut self, decoder: impl ImageDecoder, image: &mut Rgbx) -> Result<(), BadImage> {
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > MAX_PIXELS {
            let reason = if pixels == 0 { Reason::Damaged } else { Reason::TooLarge };
            let detail = format!("{width} x {height} pixels; at least 1 and at most {MAX_PIXELS} are allowed");
            return Err(BadImage::new(reason, detail));
        }
        (image.width, image.height) = (width, height);
        let color = decoder.color_type();
        self.raw.resize(decoder.total_bytes() as usize, 0);
        decoder.read_image(&mut self.raw).map_err(bad)?;
        let converted = to_rgbx(&self.raw, color, &mut image.bytes);
        if self.raw.capacity() > KEPT_BYTES {
            self.raw = Vec::new();
        }
        converted
    }
}

/// Keeps red, green and blue, and the high byte of 16-bit samples; repeats gray; drops alpha, as PIL does.
fn to_rgbx(raw: &[u8], color: ColorType, into: &mut Vec<u8>) -> Result<(), BadImage> {
    let pixel_bytes = usize::from(color.bytes_per_pixel());
    let sample_bytes = pixel_bytes / usize::from(color.channel_count());
    let places: [usize; 3] = match color {
        ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16 => [0; 3],
        ColorType::Rgb8 | ColorType::Rgba8 | ColorType::Rgb16 | ColorType::Rgba16 => [0, 1, 2],
        other => return Err(BadImage::new(Reason::Unsupported, format!("{other:?} pixels are not converted"))),
    };
    let high = if cfg!(target_endian = "little") { sample_bytes - 1 } else { 0 };
    let [red, green, blue] = places.map(|place| place * sample_bytes + high);
    into.resize(raw.len() / pixel_bytes * PIXEL_BYTES, 0);
    for (to, from) in into.as_chunks_mut::<PIXEL_BYTES>().0.iter_mut().zip(raw.chunks_exact(pixel_bytes)) {
        *to = [from[red], from[green], from[blue], 0];
    }
    Ok(())
}

/// The kind of fault that a decoder's error tells of.
pub(crate) fn bad(error: ImageError) -> BadImage {
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
    use image::{DynamicImage, ExtendedColorType, ImageBuffer, Rgb};

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Rgbx, Reason> {
        let mut image = Rgbx::default();
        Decoder::default().decode(bytes, Encoding::File, &Wanted::whole, &mut image).map_err(|bad| bad.reason)?;
        Ok(image)
    }

    fn noise(width: u32, height: u32) -> Vec<u8> {
        (0..width * height * 3).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image = ImageBuffer::<Rgb<u8>, _>::from_raw(40, 30, noise(40, 30)).expect("40 x 30 pixels");
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
        let image = ImageBuffer::<Rgb<u16>, _>::from_pixel(3, 2, Rgb([0x12FF, 0x3400, 0xFF80]));
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut file, ImageFormat::Png).expect("in memory");
        assert_eq!(decode(&file.into_inner()).map(|image| image.bytes), Ok([0x12, 0x34, 0xFF, 0].repeat(6)));
    }

    #[test]
    fn memory_from_the_image_before_does_not_show() {
        let (mut decoder, mut image) = (Decoder::default(), Rgbx::default());
        decoder.decode(&encoded(ImageFormat::Png), Encoding::File, &Wanted::whole, &mut image).expect("valid");
        let plain = Encoding::Rgb { width: 4, height: 4 };
        decoder.decode(&noise(4, 4), plain, &Wanted::whole, &mut image).expect("valid");
        let rgb: Vec<u8> = image.pixels().chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        assert_eq!((image.width, image.height, rgb), (4, 4, noise(4, 4)));
    }
}
