//! The border to libjpeg-turbo: whole, partial, scaled and segment decoding, and lossless transcoding.
//!
//! libjpeg-turbo's errors jump, so every call that can fail is caught in a small C shim (`csrc/`); here they are
//! [`JpegError`]s. Baseline Huffman data is read by a decoder of our own (see [`EntropyDecoder`]) whose coefficients
//! libjpeg-turbo then transforms, so the pixels are libjpeg-turbo's.

mod assemble;
mod decoder;
mod encode;
mod entropy;
mod error;
mod ffi;
mod frame;
pub mod fuzzing;
mod header;
mod region;
mod segments;
mod transcode;

pub use assemble::{assemble, assemble_crop};
pub use decoder::{Damage, DecodeOptions, Decoder, EntropyDecoder, Image, Limits};
pub use encode::{EncodeOptions, Encoder};
pub use error::{JpegError, Reason};
pub use frame::Frame;
pub use header::{ColourSpace, Header, Subsampling};
pub use region::{PixelFormat, Rect, RegionInfo, Scale};
pub use segments::{SegmentIndex, SegmentPlan};
pub use transcode::{Markers, Plane, Restart, TranscodeOptions, Transcoder, segment_interval};
