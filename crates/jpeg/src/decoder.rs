//! Decoding: whole images and regions, scaled or not, strictly or not.

use std::ptr::NonNull;

use crate::entropy::{self, Entropy};
use crate::region::region_to_read;
use crate::{Header, JpegError, PixelFormat, Reason, Rect, RegionInfo, Scale, ffi};

/// What a file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of an image. The default is where PIL refuses a "decompression bomb": 178,956,970.
    pub max_pixels: u64,
    /// Scans of a progressive image (usual ones have about 10). The default is 200.
    pub max_scans: u32,
}

/// What to do about damage that libjpeg-turbo can repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Damage {
    /// Repair and count it, as PIL and torchvision do: grey where data is missing.
    #[default]
    Repair,
    /// Refuse the image: `decode = "strict"`.
    ///
    /// Judged is what is decoded, and that the file has an end: damage below a region goes unseen.
    Refuse,
}

/// Whose entropy decoder reads baseline scans. The pixels are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EntropyDecoder {
    /// This crate's, where it can; the fast one.
    #[default]
    Ours,
    /// libjpeg-turbo's, always; the reference.
    LibjpegTurbo,
}

/// How a [`Decoder`] decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DecodeOptions {
    /// What a file may cost.
    pub limits: Limits,
    /// What to do about damage.
    pub damage: Damage,
    /// Whose entropy decoder is used.
    pub entropy: EntropyDecoder,
}

/// A reusable decoder: one libjpeg-turbo object and our tables.
///
/// It allocates nothing for an image once it is warm; libjpeg-turbo takes and gives back a few pools for each.
pub struct Decoder {
    raw: NonNull<ffi::Decoder>,
    entropy: Box<Entropy>,
    options: DecodeOptions,
}

/// An image whose header was read. Dropping it ends it.
pub struct Image<'a> {
    decoder: &'a mut Decoder,
    /// libjpeg-turbo holds a pointer into it until this is dropped.
    data: &'a [u8],
    header: Header,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_pixels: 178_956_970, max_scans: 200 }
    }
}

// SAFETY: the object behind `raw` belongs to this decoder alone and has no ties to a thread.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder; fails only without memory.
    pub fn new(options: DecodeOptions) -> Result<Decoder, JpegError> {
        // SAFETY: no arguments; null means failure.
        let raw = NonNull::new(unsafe { ffi::rj_decoder_new() });
        let raw = raw.ok_or_else(|| JpegError::data(Reason::OutOfMemory, "cannot create a decoder"))?;
        Ok(Decoder { raw, entropy: Box::new(Entropy::new()), options })
    }

    /// Reads the header of a JPEG, and leaves the rest for one of the methods of [`Image`].
    pub fn open<'a>(&'a mut self, data: &'a [u8]) -> Result<Image<'a>, JpegError> {
        if !data.starts_with(&[0xFF, 0xD8]) {
            return Err(JpegError::data(Reason::NotJpeg, "does not start with FF D8"));
        }
        let raw = self.open_raw(data)?;
        let image = Image { data, header: Header::from_raw(&raw), decoder: self };
        if image.decoder.options.damage == Damage::Refuse {
            // Coded data holds no such pair but as the end marker; headers may, in thumbnails.
            let coded = data.get(raw.scan_offset as usize..).unwrap_or_default();
            if memchr::memmem::rfind(coded, &[0xFF, 0xD9]).is_none() {
                return Err(JpegError::data(Reason::Truncated, "no end marker (FF D9)"));
            }
        }
        Ok(image)
    }

    /// The header of a JPEG alone.
    pub fn read_header(&mut self, data: &[u8]) -> Result<Header, JpegError> {
        self.open(data).map(|image| image.header)
    }

    /// Decodes a whole image; see [`Image::decode_region`].
    pub fn decode_full(
        &mut self,
        data: &[u8],
        format: PixelFormat,
        out: &mut Vec<u8>,
    ) -> Result<RegionInfo, JpegError> {
        let image = self.open(data)?;
        let whole = Rect::new(0, 0, image.header.width, image.header.height);
        image.decode_region(whole, Scale::Full, format, out)
    }

    /// Decodes what a crop needs; see [`Image::decode_region`].
    pub fn decode_region(
        &mut self,
        data: &[u8],
        crop: Rect,
        scale: Scale,
        format: PixelFormat,
        out: &mut Vec<u8>,
    ) -> Result<RegionInfo, JpegError> {
        self.open(data)?.decode_region(crop, scale, format, out)
    }

    fn open_raw(&mut self, data: &[u8]) -> Result<ffi::Header, JpegError> {
        let Limits { max_pixels, max_scans } = self.options.limits;
        let strict = i32::from(self.options.damage == Damage::Refuse);
        let mut header = ffi::Header::default();
        // SAFETY: the decoder is alive; data and length belong together; `Image` keeps the data borrowed until the abort.
        let status = unsafe {
            ffi::rj_open(self.raw.as_ptr(), data.as_ptr(), data.len(), strict, max_pixels, max_scans, &mut header)
        };
        self.check(status)?;
        Ok(header)
    }

    fn check(&self, status: i32) -> Result<(), JpegError> {
        if status == ffi::OK {
            return Ok(());
        }
        // SAFETY: the message lives in the decoder and ends in a zero byte.
        let detail = unsafe { ffi::text(ffi::rj_decoder_message(self.raw.as_ptr())) };
        Err(JpegError::from_status(status, detail))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `rj_decoder_new` and is freed once.
        unsafe { ffi::rj_decoder_free(self.raw.as_ptr()) }
    }
}

impl Image<'_> {
    /// What the file says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Decodes the MCU rows and columns that `crop` (in pixels of the unscaled image) needs, at `scale`, into the
    /// beginning of `out`, which grows where it is too short and never shrinks.
    ///
    /// Unscaled, every pixel in the crop is within one level of the same pixel of the whole image decoded; pixels of
    /// the margin need not be. Nothing below the crop is read, so damage there goes unseen.
    pub fn decode_region(
        mut self,
        crop: Rect,
        scale: Scale,
        format: PixelFormat,
        out: &mut Vec<u8>,
    ) -> Result<RegionInfo, JpegError> {
        crop.check(self.header.width, self.header.height)?;
        let ours = self.decoder.options.entropy == EntropyDecoder::Ours;
        match self.read(crop, scale, format, ours, out) {
            Err(ffi::FALLBACK) => {
                self.decoder.open_raw(self.data)?;
                self.read(crop, scale, format, false, out)
            }
            other => other,
        }
        .map_err(|status| match self.decoder.check(status) {
            Err(error) => error,
            Ok(()) => JpegError::Bug { detail: "a failure without a status".to_owned() },
        })
    }

    /// One attempt; a failure is the status of the shim.
    fn read(
        &mut self,
        crop: Rect,
        scale: Scale,
        format: PixelFormat,
        ours: bool,
        out: &mut Vec<u8>,
    ) -> Result<RegionInfo, i32> {
        let wanted = region_to_read(&self.header, crop, scale);
        let mut request = ffi::Request {
            x: wanted.x,
            y: wanted.y,
            width: wanted.width,
            height: wanted.height,
            divisor: scale.divisor(),
            format: match format {
                PixelFormat::Rgb => 0,
                PixelFormat::Rgbx => 1,
            },
            ..ffi::Request::default()
        };
        let mut scan = ffi::Scan::empty();
        let raw = self.decoder.raw.as_ptr();
        // SAFETY: the decoder is alive and has read a header whose data `self` keeps borrowed.
        status(unsafe { ffi::rj_start(raw, &mut request, &mut scan) })?;
        let mut info = RegionInfo {
            decoded: Rect::new(request.x, request.y, request.width, request.height),
            scale,
            scaled_size: (request.image_width, request.image_height),
            format,
            warnings: 0,
        };
        if out.len() < info.bytes() {
            out.resize(info.bytes(), 0);
        }
        // SAFETY: `scan` is as `rj_start` filled it, and `self` keeps the data borrowed until the end of `rj_read`.
        let ours = ours && unsafe { self.decoder.entropy.begin(&scan) };
        let decode: Option<ffi::DecodeMcu> = if ours { Some(entropy::decode_mcu) } else { None };
        let state: *mut Entropy = &mut *self.decoder.entropy;
        // SAFETY: `out` has room for `height` rows of `stride` bytes; nothing else uses the entropy decoder meanwhile.
        status(unsafe { ffi::rj_read(raw, &request, out.as_mut_ptr(), info.stride(), decode, state.cast()) })?;
        // SAFETY: the decoder is alive.
        info.warnings = unsafe { ffi::rj_decoder_warnings(raw) };
        Ok(info)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        // SAFETY: the decoder is alive; after this it holds no pointer into the data.
        unsafe { ffi::rj_abort(self.decoder.raw.as_ptr()) }
    }
}

fn status(status: i32) -> Result<(), i32> {
    if status == ffi::OK { Ok(()) } else { Err(status) }
}
