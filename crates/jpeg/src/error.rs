//! Why a JPEG could not be read or written.

use crate::ffi;

/// What is wrong with a JPEG: the classes by which a loader counts and reports bad images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It does not begin with a JPEG's first marker (an empty file neither).
    NotJpeg,
    /// The data ends before the image does.
    Truncated,
    /// The data contradicts itself or the standard.
    Corrupt,
    /// A legal JPEG of a kind that libjpeg-turbo, or this crate, does not decode or transcode.
    Unsupported,
    /// More pixels or scans than the [`crate::Limits`] allow.
    TooLarge,
    /// Memory could not be had.
    OutOfMemory,
}

/// Everything that can go wrong in this crate.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JpegError {
    /// The data is not a JPEG that can be used.
    #[error("{}: {detail}", reason.words())]
    Data {
        /// The class of the fault.
        reason: Reason,
        /// libjpeg-turbo's words, or ours.
        detail: String,
    },
    /// The region asked for is empty or does not lie in the image.
    #[error("region {region:?} does not lie in the image of {width}×{height} pixels: ask for a part of it")]
    Region {
        /// The region asked for.
        region: crate::Rect,
        /// Width of the image in pixels.
        width: u32,
        /// Height of the image in pixels.
        height: u32,
    },
    /// A segment index does not belong to this JPEG, or is damaged.
    #[error("segment index {fault}: pack the data set again, or check that index and shard belong together")]
    Index {
        /// What does not fit.
        fault: &'static str,
    },
    /// The options of an encoder contradict each other.
    #[error("cannot encode: {detail}")]
    Encode {
        /// libjpeg-turbo's words, or ours.
        detail: String,
    },
    /// A call that libjpeg-turbo refused: a bug of this crate.
    #[error("libjpeg-turbo refused a call ({detail}): this is a bug of the jpeg crate")]
    Bug {
        /// libjpeg-turbo's words.
        detail: String,
    },
}

impl Reason {
    /// The reason in words, for reports and error messages.
    pub fn words(self) -> &'static str {
        match self {
            Reason::NotJpeg => "not a JPEG",
            Reason::Truncated => "truncated JPEG",
            Reason::Corrupt => "corrupt JPEG",
            Reason::Unsupported => "unsupported kind of JPEG",
            Reason::TooLarge => "JPEG too large",
            Reason::OutOfMemory => "not enough memory for this JPEG",
        }
    }
}

impl JpegError {
    /// The class of the fault, where the data is at fault.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            JpegError::Data { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    pub(crate) fn data(reason: Reason, detail: impl Into<String>) -> JpegError {
        JpegError::Data { reason, detail: detail.into() }
    }

    /// The error for a status of the shim other than `OK` and `FALLBACK`.
    pub(crate) fn from_status(status: i32, detail: String) -> JpegError {
        let reason = match status {
            ffi::NOT_JPEG => Reason::NotJpeg,
            ffi::TRUNCATED => Reason::Truncated,
            ffi::CORRUPT => Reason::Corrupt,
            ffi::UNSUPPORTED => Reason::Unsupported,
            ffi::TOO_LARGE => Reason::TooLarge,
            ffi::OUT_OF_MEMORY => Reason::OutOfMemory,
            _ => return JpegError::Bug { detail },
        };
        JpegError::Data { reason, detail }
    }
}
