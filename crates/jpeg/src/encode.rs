//! Pixels to JPEG, for lossy packing and for tests.

use std::ptr::NonNull;

use crate::{ColourSpace, JpegError, Reason, ffi};

/// How to encode an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// 1 (worst) to 100.
    pub quality: u32,
    /// The colour space in the file; it decides what pixels are expected: 1 byte for grey, 3 (RGB) for RGB and YCbCr,
    /// 4 (CMYK as it is to be stored) for CMYK and YCCK.
    pub colour_space: ColourSpace,
    /// Horizontal and vertical sampling of luminance against chroma: (2, 2) is 4:2:0.
    pub sampling: (u32, u32),
    /// Progressive scans.
    pub progressive: bool,
    /// Arithmetic coding.
    pub arithmetic: bool,
    /// Huffman tables made for this image.
    pub optimise: bool,
    /// MCUs between restart markers; 0 for none.
    pub restart_interval: u32,
    /// Bits a sample: 8, or 12 (the 8-bit samples are then shifted up).
    pub precision: u32,
}

/// A reusable encoder.
pub struct Encoder {
    raw: NonNull<ffi::Encoder>,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            quality: 90,
            colour_space: ColourSpace::YCbCr,
            sampling: (2, 2),
            progressive: false,
            arithmetic: false,
            optimise: true,
            restart_interval: 0,
            precision: 8,
        }
    }
}

// SAFETY: the object behind `raw` belongs to this encoder alone and has no ties to a thread.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder; fails only without memory.
    pub fn new() -> Result<Encoder, JpegError> {
        // SAFETY: no arguments; null means failure.
        let raw = NonNull::new(unsafe { ffi::rj_encoder_new() });
        raw.map(|raw| Encoder { raw }).ok_or_else(|| JpegError::data(Reason::OutOfMemory, "cannot create an encoder"))
    }

    /// Encodes tightly packed rows of pixels; the file lies in the encoder until its next use.
    pub fn encode(
        &mut self,
        pixels: &[u8],
        width: u32,
        height: u32,
        options: &EncodeOptions,
    ) -> Result<&[u8], JpegError> {
        let (components, color_space) = match options.colour_space {
            ColourSpace::Grey => (1, ffi::SPACE_GREY),
            ColourSpace::Rgb => (3, ffi::SPACE_RGB),
            ColourSpace::YCbCr => (3, ffi::SPACE_YCBCR),
            ColourSpace::Cmyk => (4, ffi::SPACE_CMYK),
            ColourSpace::Ycck => (4, ffi::SPACE_YCCK),
            ColourSpace::Unknown => return Err(JpegError::Encode { detail: "unknown colour space".to_owned() }),
        };
        let stride = width as usize * components as usize;
        if u64::from(width) * u64::from(components) * u64::from(height) != pixels.len() as u64 {
            let detail = format!("{} bytes are not {width}×{height} pixels of {components} bytes", pixels.len());
            return Err(JpegError::Encode { detail });
        }
        let raw_options = ffi::EncodeOptions {
            width,
            height,
            components,
            color_space,
            quality: options.quality.clamp(1, 100),
            h_samp: options.sampling.0.clamp(1, 4),
            v_samp: options.sampling.1.clamp(1, 4),
            progressive: options.progressive.into(),
            arithmetic: options.arithmetic.into(),
            optimise: options.optimise.into(),
            restart_interval: options.restart_interval,
            precision: options.precision,
        };
        let (mut data, mut length) = (std::ptr::null(), 0);
        // SAFETY: the encoder is alive; `pixels` holds `height` rows of `stride` bytes, as tested above.
        let status =
            unsafe { ffi::rj_encode(self.raw.as_ptr(), &raw_options, pixels.as_ptr(), stride, &mut data, &mut length) };
        if status != ffi::OK {
            // SAFETY: the message lives in the encoder and ends in a zero byte.
            let detail = unsafe { ffi::text(ffi::rj_encoder_message(self.raw.as_ptr())) };
            return Err(JpegError::Encode { detail });
        }
        // SAFETY: the encoder's buffer holds `length` bytes and stays until its next use, which needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(data, length) })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `rj_encoder_new` and is freed once.
        unsafe { ffi::rj_encoder_free(self.raw.as_ptr()) }
    }
}
