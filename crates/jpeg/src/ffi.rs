//! The mirror of `csrc/shim.h`, item by item.

use std::ffi::{CStr, c_char, c_int, c_void};

// Nothing of it is called from Rust, but the shim needs the library that it links.
use turbojpeg_sys as _;

pub const OK: c_int = 0;
pub const NOT_JPEG: c_int = 1;
pub const TRUNCATED: c_int = 2;
pub const CORRUPT: c_int = 3;
pub const UNSUPPORTED: c_int = 4;
pub const TOO_LARGE: c_int = 5;
pub const OUT_OF_MEMORY: c_int = 6;
pub const FALLBACK: c_int = 8;

/// `J_COLOR_SPACE` of jpeglib.h, as far as a file can have it.
pub const SPACE_GREY: u32 = 1;
pub const SPACE_RGB: u32 = 2;
pub const SPACE_YCBCR: u32 = 3;
pub const SPACE_CMYK: u32 = 4;
pub const SPACE_YCCK: u32 = 5;

macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(Decoder, Transcoder, Encoder);

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub components: u32,
    pub color_space: u32,
    pub precision: u32,
    pub progressive: u32,
    pub arithmetic: u32,
    pub multiple_scans: u32,
    pub restart_interval: u32,
    pub adobe: u32,
    pub adobe_transform: u32,
    pub h_samp: [u32; 4],
    pub v_samp: [u32; 4],
    pub scan_offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Request {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    pub divisor: u32,
    pub format: u32,
    pub image_width: u32,
    pub image_height: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scan {
    pub eligible: u32,
    pub blocks_in_mcu: u32,
    pub component_of_block: [u32; 10],
    pub components: u32,
    pub dc_bits: [*const u8; 4],
    pub dc_values: [*const u8; 4],
    pub ac_bits: [*const u8; 4],
    pub ac_values: [*const u8; 4],
    pub mcus_per_row: u32,
    pub mcu_rows: u32,
    pub restart_interval: u32,
    pub first_column: u32,
    pub last_column: u32,
    pub data: *const u8,
    pub length: usize,
}

impl Scan {
    pub const fn empty() -> Scan {
        let none = [std::ptr::null(); 4];
        Scan {
            eligible: 0,
            blocks_in_mcu: 0,
            component_of_block: [0; 10],
            components: 0,
            dc_bits: none,
            dc_values: none,
            ac_bits: none,
            ac_values: none,
            mcus_per_row: 0,
            mcu_rows: 0,
            restart_interval: 0,
            first_column: 0,
            last_column: 0,
            data: std::ptr::null(),
            length: 0,
        }
    }
}

#[repr(C)]
pub struct EncodeOptions {
    pub width: u32,
    pub height: u32,
    pub components: u32,
    pub color_space: u32,
    pub quality: u32,
    pub h_samp: u32,
    pub v_samp: u32,
    pub progressive: u32,
    pub arithmetic: u32,
    pub optimise: u32,
    pub restart_interval: u32,
    pub precision: u32,
}

/// Decodes one MCU into blocks of 64 coefficients in natural order, or skips it.
pub type DecodeMcu =
    unsafe extern "C" fn(state: *mut c_void, blocks: *const *mut [i16; 64], consumed: *mut usize) -> c_int;

unsafe extern "C" {
    pub fn rj_decoder_new() -> *mut Decoder;
    pub fn rj_decoder_free(decoder: *mut Decoder);
    pub fn rj_decoder_message(decoder: *const Decoder) -> *const c_char;
    pub fn rj_decoder_warnings(decoder: *const Decoder) -> u32;
    pub fn rj_open(
        decoder: *mut Decoder,
        data: *const u8,
        length: usize,
        strict: c_int,
        max_pixels: u64,
        max_scans: u32,
        header: *mut Header,
    ) -> c_int;
    pub fn rj_start(decoder: *mut Decoder, request: *mut Request, scan: *mut Scan) -> c_int;
    pub fn rj_read(
        decoder: *mut Decoder,
        request: *const Request,
        out: *mut u8,
        stride: usize,
        decode: Option<DecodeMcu>,
        state: *mut c_void,
    ) -> c_int;
    pub fn rj_abort(decoder: *mut Decoder);

    pub fn rj_transcoder_new() -> *mut Transcoder;
    pub fn rj_transcoder_free(transcoder: *mut Transcoder);
    pub fn rj_transcoder_message(transcoder: *const Transcoder) -> *const c_char;
    pub fn rj_transcode_open(
        transcoder: *mut Transcoder,
        data: *const u8,
        length: usize,
        strict: c_int,
        keep_markers: c_int,
        max_pixels: u64,
        max_scans: u32,
        header: *mut Header,
    ) -> c_int;
    pub fn rj_transcode_write(
        transcoder: *mut Transcoder,
        restart_interval: u32,
        data: *mut *const u8,
        length: *mut usize,
    ) -> c_int;
    pub fn rj_transcode_coefficients(
        transcoder: *mut Transcoder,
        component: u32,
        blocks_wide: *mut u32,
        blocks_high: *mut u32,
        out: *mut i16,
    ) -> c_int;
    pub fn rj_transcode_close(transcoder: *mut Transcoder);

    pub fn rj_encoder_new() -> *mut Encoder;
    pub fn rj_encoder_free(encoder: *mut Encoder);
    pub fn rj_encoder_message(encoder: *const Encoder) -> *const c_char;
    pub fn rj_encode(
        encoder: *mut Encoder,
        options: *const EncodeOptions,
        pixels: *const u8,
        stride: usize,
        data: *mut *const u8,
        length: *mut usize,
    ) -> c_int;
}

/// The text behind a message pointer of the shim.
///
/// # Safety
/// `message` must point to a string that ends in a zero byte and outlives the call.
pub unsafe fn text(message: *const c_char) -> String {
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}
