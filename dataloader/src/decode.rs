//! Bytes of a file to 8-bit RGB pixels, as `PIL.Image.open(file).convert("RGB")` gives them.

use std::any::Any;
use std::error::Error;
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat};

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
        let file = Cursor::new(bytes);
        match format {
            ImageFormat::Jpeg => {
                if jpeg_is_cut(bytes) {
                    return Err(BadImage::new(Reason::Truncated, "the file ends before the JPEG does"));
                }
                self.read(JpegDecoder::new(file).map_err(bad)?, image)
            }
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

/// True where no end-of-image marker follows the last scan: the file was cut, whatever a lenient decoder makes of it.
fn jpeg_is_cut(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    if bytes.ends_with(&[0xFF, END]) {
        return false;
    }
    let mut place = 2; // after the start-of-image marker
    loop {
        // In a segment's place a marker stands; between the markers of a scan, entropy-coded bytes do.
        let Some(distance) = bytes[place.min(bytes.len())..].iter().position(|&byte| byte == 0xFF) else {
            return true;
        };
        place += distance + 1;
        match bytes.get(place) {
            None => return true,
            Some(&END) => return false,
            // A fill byte: the marker's code comes later.
            Some(0xFF) => {}
            // Stuffing, a restart marker, a marker without a segment.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => place += 1,
            Some(_) => {
                let Some(length) = bytes.get(place + 1..place + 3) else { return true };
                place += 1 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
}

/// The kind of fault that a decoder's error tells of.
fn bad(error: ImageError) -> BadImage {
    let reason = match &error {
        _ if ended_early(&error) => Reason::Truncated,
        ImageError::Unsupported(_) => Reason::Unsupported,
        ImageError::Limits(_) => Reason::TooLarge,
        _ => Reason::Damaged,
    };
    BadImage::new(reason, error)
}

/// True where the error, or one that it came from, says that the bytes ended.
fn ended_early(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        // An `io::Error` that wraps another error hides it from `source`.
        cause = io.and_then(|io| io.get_ref()).map(|inner| inner as _).or_else(|| error.source());
    }
    false
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
