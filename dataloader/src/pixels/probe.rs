//! What a file says of itself before its pixels: its format and size, and the faults that show without decoding.

use std::fmt;
use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ImageDecoder, ImageFormat};
use jpeg::{ColourSpace, DecodeOptions, JpegError, Subsampling};

use crate::pixels::decode::{MAX_PIXELS, bad};
use crate::pixels::truncation::is_cut;
use crate::{BadImage, Encoding, Reason};

/// How the pixels of an image are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A JPEG, and what its header says where libjpeg-turbo reads it.
    Jpeg(Option<JpegKind>),
    /// A PNG: its type of colour, and bits of a sample.
    Png {
        /// 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha (PNG specification, section 11.2.1).
        colour: u8,
        /// 1, 2, 4, 8 or 16.
        bits: u8,
    },
    /// A WebP.
    WebP,
    /// Plain red, green and blue of 8 bits.
    Rgb,
}

/// The kind of a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegKind {
    /// Several scans of rising detail.
    pub progressive: bool,
    /// Arithmetic coding in place of Huffman's.
    pub arithmetic: bool,
    /// Bits of a sample: 8, rarely 12.
    pub bits: u32,
    /// What the components mean.
    pub colour_space: ColourSpace,
    /// How coarse the colours are.
    pub subsampling: Subsampling,
}

/// What is known of an image before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// How it is stored.
    pub format: Format,
}

impl Format {
    /// The format's own name.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Jpeg(_) => "JPEG",
            Format::Png { .. } => "PNG",
            Format::WebP => "WebP",
            Format::Rgb => "RGB",
        }
    }

    /// Whether a file of this format may be called so; a name without an ending may be any.
    pub fn fits(self, name: &str) -> bool {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("jpg" | "jpeg") => matches!(self, Format::Jpeg(_)),
            Some("png") => matches!(self, Format::Png { .. }),
            Some("webp") => self == Format::WebP,
            _ => true,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match *self {
            Format::Jpeg(Some(kind)) => write!(f, " {kind}"),
            Format::Png { colour, bits } => {
                let colour = match colour {
                    0 => "grey",
                    2 => "colour",
                    3 => "palette",
                    4 => "grey + alpha",
                    _ => "colour + alpha",
                };
                write!(f, " {colour}, {bits}-bit")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for JpegKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.progressive { "progressive" } else { "baseline" })?;
        if self.arithmetic {
            f.write_str(" arithmetic")?;
        }
        if self.bits != 8 {
            write!(f, " {}-bit", self.bits)?;
        }
        f.write_str(match self.colour_space {
            ColourSpace::YCbCr => "",
            ColourSpace::Grey => " grey",
            ColourSpace::Rgb => " RGB",
            ColourSpace::Cmyk => " CMYK",
            ColourSpace::Ycck => " YCCK",
            ColourSpace::Unknown => " of unknown colours",
        })?;
        f.write_str(match self.subsampling {
            Subsampling::Grey => "",
            Subsampling::S444 => " 4:4:4",
            Subsampling::S422 => " 4:2:2",
            Subsampling::S420 => " 4:2:0",
            Subsampling::S440 => " 4:4:0",
            Subsampling::S411 => " 4:1:1",
            Subsampling::Other => " of odd subsampling",
        })
    }
}

/// Reads headers with memory that is kept between images.
#[derive(Default)]
pub(crate) struct Prober {
    jpeg: Option<jpeg::Decoder>,
}

impl Prober {
    /// What the bytes of an image say of it.
    ///
    /// # Errors
    /// Says why the image is bad, where that shows without decoding it.
    pub(crate) fn probe(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Probe, BadImage> {
        match encoding {
            Encoding::Rgb { width, height } => Ok(Probe { width, height, format: Format::Rgb }),
            Encoding::File => self.probe_file(bytes),
            Encoding::Part { width, height, .. } => self.probe_file(bytes).map(|part| Probe { width, height, ..part }),
        }
    }

    fn probe_file(&mut self, bytes: &[u8]) -> Result<Probe, BadImage> {
        if bytes.is_empty() {
            return Err(BadImage::new(Reason::Empty, "the file has no bytes"));
        }
        let format = image::guess_format(bytes)
            .map_err(|_| BadImage::new(Reason::NotAnImage, "the first bytes are of no known image format"))?;
        if is_cut(bytes, format) {
            return Err(BadImage::new(Reason::Truncated, "the file ends before the image does"));
        }
        let file = Cursor::new(bytes);
        let probe = match format {
            ImageFormat::Jpeg => self.probe_jpeg(bytes)?,
            ImageFormat::Png => {
                // A header that the decoder accepts has both bytes: depth and type of colour follow the size.
                let of = |decoder| sized(&decoder, Format::Png { colour: bytes[25], bits: bytes[24] });
                PngDecoder::new(file).map(of).map_err(bad)?
            }
            ImageFormat::WebP => WebPDecoder::new(file).map(|decoder| sized(&decoder, Format::WebP)).map_err(bad)?,
            other => return Err(BadImage::new(Reason::Unsupported, format!("{other:?} files are not decoded"))),
        };
        let pixels = u64::from(probe.width) * u64::from(probe.height);
        if pixels > MAX_PIXELS {
            let detail = format!("{} x {} pixels; at most {MAX_PIXELS} are allowed", probe.width, probe.height);
            return Err(BadImage::new(Reason::TooLarge, detail));
        }
        Ok(probe)
    }

    /// As decoding does, asks libjpeg-turbo first, and `image` about what that refuses.
    fn probe_jpeg(&mut self, bytes: &[u8]) -> Result<Probe, BadImage> {
        match self.read_jpeg(bytes) {
            Ok(header) => {
                let kind = JpegKind {
                    progressive: header.progressive,
                    arithmetic: header.arithmetic,
                    bits: header.precision,
                    colour_space: header.colour_space,
                    subsampling: header.subsampling,
                };
                Ok(Probe { width: header.width, height: header.height, format: Format::Jpeg(Some(kind)) })
            }
            Err(JpegError::Data { reason: jpeg::Reason::TooLarge, detail }) => {
                Err(BadImage::new(Reason::TooLarge, detail))
            }
            Err(_) => {
                let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(bad)?;
                Ok(sized(&decoder, Format::Jpeg(None)))
            }
        }
    }

    fn read_jpeg(&mut self, bytes: &[u8]) -> Result<jpeg::Header, JpegError> {
        let decoder = match &mut self.jpeg {
            Some(decoder) => decoder,
            none => none.insert(jpeg::Decoder::new(DecodeOptions::default())?),
        };
        decoder.read_header(bytes)
    }
}

fn sized(decoder: &impl ImageDecoder, format: Format) -> Probe {
    let (width, height) = decoder.dimensions();
    Probe { width, height, format }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, Rgb};

    use super::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image = ImageBuffer::<Rgb<u8>, _>::from_pixel(40, 30, Rgb([9, 90, 200]));
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut file, format).expect("in memory");
        file.into_inner()
    }

    #[test]
    fn headers_tell_format_and_size() {
        for (format, words, name) in [
            (ImageFormat::Jpeg, "JPEG baseline 4:2:0", "a.JPEG"),
            (ImageFormat::Png, "PNG colour, 8-bit", "a.png"),
            (ImageFormat::WebP, "WebP", "a.webp"),
        ] {
            let probe = Prober::default().probe(&encoded(format), Encoding::File).expect("a good file");
            assert_eq!((probe.width, probe.height), (40, 30));
            // The encoder of the tests may choose another subsampling one day; the kind is what matters.
            assert_eq!(probe.format.to_string().split(" 4:").next(), words.split(" 4:").next());
            assert!(probe.format.fits(name) && !probe.format.fits("a.b/a.jpg.png") || format == ImageFormat::Png);
            assert!(probe.format.fits("shard-000#7"));
        }
    }

    #[test]
    fn faults_show_without_decoding() {
        let reason = |bytes: &[u8]| Prober::default().probe(bytes, Encoding::File).expect_err("bad").reason;
        assert_eq!(reason(b""), Reason::Empty);
        assert_eq!(reason(b"<html>404</html>"), Reason::NotAnImage);
        let jpeg = encoded(ImageFormat::Jpeg);
        assert_eq!(reason(&jpeg[..jpeg.len() / 2]), Reason::Truncated);
    }
}
