//! What cannot be resized.

use crate::{Part, Window};

/// Why an image cannot be resized.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ResampleError {
    /// Fewer bytes than the sides ask for.
    #[error(
        "an image of {width} x {height} pixels takes {needed} bytes, and there are {bytes}; pass whole rows of RGBX"
    )]
    ShortImage {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that they take.
        needed: u64,
        /// Bytes that are there.
        bytes: usize,
    },
    /// A part that is empty, or not inside its image.
    #[error("{part:?} is empty or reaches out of an image of {width} x {height} pixels; cut it to the image")]
    PartOutside {
        /// The part.
        part: Part,
        /// Columns of the image.
        width: u32,
        /// Rows of the image.
        height: u32,
    },
    /// A window that is empty, or not inside its part.
    #[error("{window:?} is empty or reaches out of a part of {width} x {height} pixels; cut it to the part")]
    WindowOutside {
        /// The window.
        window: Window,
        /// Columns of the part.
        width: u32,
        /// Rows of the part.
        height: u32,
    },
    /// A result without pixels.
    #[error("a result of {columns} x {rows} pixels is empty; ask for at least one pixel")]
    EmptyResult {
        /// Columns asked for.
        columns: u32,
        /// Rows asked for.
        rows: u32,
    },
}
