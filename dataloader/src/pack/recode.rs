//! What becomes of one image when it is packed: transcoded, kept as it is, or encoded anew at a lower size or quality.

use std::any::Any;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use jpeg::{ColourSpace, Damage, EncodeOptions, Restart, SegmentIndex, TranscodeOptions, segment_interval};
use resample::Kernel;

use crate::pixels::crop::Wanted;
use crate::pixels::decode::{Decoder, PIXEL_BYTES, Rgbx, panic_message};
use crate::pixels::orientation::{exif_segment, stored_tag};
use crate::pixels::resample::Resampler;
use crate::source::shards::Format;
use crate::{BadImage, CropBox, Decode, Encoding, Reason};

/// The quality of resized images where none was asked for.
pub(crate) const QUALITY: u32 = 90;
/// Pixels of a side of an MCU of the images that are encoded here (4:2:0).
const MCU: u32 = 16;

/// What may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lossy {
    /// The longer side is reduced to this, where it is longer.
    pub(crate) max_side: Option<u32>,
    /// Every image is encoded anew at this quality.
    pub(crate) quality: Option<u32>,
}

/// An image as it goes into a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: Format,
    /// Pixels; 0 where there is no segment index.
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// The segment index; empty where the image is kept as it is.
    pub(crate) segments: Vec<u8>,
}

/// Recodes one image after the other.
pub(crate) struct Recoder {
    lossy: Lossy,
    transcoder: jpeg::Transcoder,
    encoder: jpeg::Encoder,
    headers: jpeg::Decoder,
    decoder: Decoder,
    image: Rgbx,
    resampler: Resampler,
    resized: Vec<u8>,
}

/// How JPEGs are transcoded: damaged ones are refused, since a repair would be for ever.
pub(crate) const LOSSLESS: TranscodeOptions = TranscodeOptions {
    restart: Restart::Segments,
    markers: jpeg::Markers::Drop,
    limits: jpeg::Limits { max_pixels: crate::MAX_PIXELS, max_scans: 200 },
    damage: Damage::Refuse,
};

impl Recoder {
    /// # Errors
    /// Only without memory.
    pub(crate) fn new(lossy: Lossy) -> Result<Recoder, jpeg::JpegError> {
        Ok(Recoder {
            lossy,
            transcoder: jpeg::Transcoder::new()?,
            encoder: jpeg::Encoder::new()?,
            headers: jpeg::Decoder::new(jpeg::DecodeOptions::default())?,
            decoder: Decoder::new(Decode::Region),
            image: Rgbx::default(),
            resampler: Resampler::default(),
            resized: Vec::new(),
        })
    }

    /// The image as it goes into a shard.
    ///
    /// # Errors
    /// When the loader cannot decode it.
    pub(crate) fn recode(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Recoded, BadImage> {
        let guarded = AssertUnwindSafe(|| self.recode_unguarded(bytes, encoding));
        catch_unwind(guarded).unwrap_or_else(|panic: Box<dyn Any + Send>| {
            Err(BadImage::new(Reason::Damaged, panic_message(panic.as_ref())))
        })
    }

    fn recode_unguarded(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Recoded, BadImage> {
        if self.lossy.quality.is_none()
            && let Some(recoded) = self.transcode(bytes, encoding)
        {
            return Ok(recoded);
        }
        let everything = |width, height| Wanted::only(CropBox { top: 0, left: 0, height, width }, u32::MAX);
        self.decoder.decode(bytes, encoding, &everything, &mut self.image)?;
        let turned = turn_of(bytes, encoding);
        let longer = self.image.width.max(self.image.height);
        let reduced = self.lossy.max_side.filter(|&side| side < longer);
        if self.lossy.quality.is_some() || reduced.is_some() {
            return self.encode(reduced.unwrap_or(longer), longer, turned);
        }
        match encoding {
            Encoding::Rgb { width, height } => as_png(bytes, width, height),
            Encoding::File | Encoding::Part { .. } => as_it_is(bytes),
        }
    }

    /// The JPEG coded anew without loss; `None` for all else, for what is too long a side, and for JPEGs of rare kinds.
    fn transcode(&mut self, bytes: &[u8], encoding: Encoding) -> Option<Recoded> {
        if matches!(encoding, Encoding::Rgb { .. }) {
            return None;
        }
        let header = self.headers.read_header(bytes).ok()?;
        let usual = matches!(header.colour_space, ColourSpace::Grey | ColourSpace::YCbCr);
        let fits = self.lossy.max_side.is_none_or(|side| header.width.max(header.height) <= side);
        if !usual || !fits {
            return None;
        }
        let file = self.transcoder.transcode(bytes, &LOSSLESS).ok()?;
        segmented(file, turn_of(bytes, encoding), header.width, header.height)
    }

    /// Encodes the decoded image with its longer side at `side` in place of `longer`.
    fn encode(&mut self, side: u32, longer: u32, turned: Option<u8>) -> Result<Recoded, BadImage> {
        let (from_width, from_height) = (self.image.width, self.image.height);
        let scaled = |length: u32| (u64::from(length) * u64::from(side)).div_ceil(u64::from(longer)).max(1) as u32;
        let (width, height) = (scaled(from_width), scaled(from_height));
        let pixels = if (width, height) == (from_width, from_height) {
            self.image.pixels()
        } else {
            let whole = CropBox { top: 0, left: 0, height: from_height, width: from_width };
            let view = Wanted::only(whole, longer).in_whole();
            self.resampler.resize_view(&self.image, view, Kernel::Cubic, [width, height], &mut self.resized);
            &self.resized
        };
        let rgb: Vec<u8> =
            pixels.as_chunks::<PIXEL_BYTES>().0.iter().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let options = EncodeOptions {
            quality: self.lossy.quality.unwrap_or(QUALITY),
            restart_interval: segment_interval(width.div_ceil(MCU), MCU),
            ..EncodeOptions::default()
        };
        let unfit = |problem: String| BadImage::new(Reason::Unsupported, problem);
        let file = self.encoder.encode(&rgb, width, height, &options).map_err(|error| unfit(error.to_string()))?;
        segmented(file, turned, width, height)
            .ok_or_else(|| unfit(format!("{width} x {height} pixels have too many segments")))
    }
}

/// How a photograph is turned, where its EXIF data say that it is: all of them that is kept.
fn turn_of(bytes: &[u8], encoding: Encoding) -> Option<u8> {
    let tag = match encoding {
        Encoding::Rgb { .. } => None,
        Encoding::File | Encoding::Part { .. } => stored_tag(bytes),
    }?;
    (2..=8).contains(&tag).then_some(tag as u8)
}

/// A JPEG with restart markers and its segment index; `None` where it cannot be cut into segments.
fn segmented(file: &[u8], turned: Option<u8>, width: u32, height: u32) -> Option<Recoded> {
    let (start, rest) = file.split_at_checked(2)?;
    let exif = turned.map(exif_segment);
    let bytes = [start, exif.as_ref().map_or(&[], |segment| segment.as_slice()), rest].concat();
    let segments = SegmentIndex::of(&bytes).ok()?.to_bytes();
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    Some(Recoded { bytes, format: Format::Jpeg, width, height, segments })
}

fn as_it_is(bytes: &[u8]) -> Result<Recoded, BadImage> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(BadImage::new(Reason::TooLarge, format!("a file of {} bytes; a shard takes 4 GiB", bytes.len())));
    }
    let format = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Format::Jpeg,
        Ok(ImageFormat::Png) => Format::Png,
        Ok(ImageFormat::WebP) => Format::WebP,
        _ => return Err(BadImage::new(Reason::NotAnImage, "neither JPEG nor PNG nor WebP")),
    };
    Ok(Recoded { bytes: bytes.to_vec(), format, width: 0, height: 0, segments: Vec::new() })
}

/// Plain pixels (H, W, 3) as a PNG: nothing is lost.
fn as_png(bytes: &[u8], width: u32, height: u32) -> Result<Recoded, BadImage> {
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file)
        .write_image(bytes, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| BadImage::new(Reason::Unsupported, error))?;
    as_it_is(&file.into_inner())
}
