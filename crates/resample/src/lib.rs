//! Resizes parts of images with PIL's antialiased kernels, to the bit, in memory that is kept between images.
//!
//! An image is first resized across, rounded to bytes, and then down, as in PIL. Weights are fixed-point numbers of 22 bits,
//! PIL's too; every backend computes the same integers, so that they agree bit for bit with one another and with PIL.

mod axis;
mod backend;
mod error;
mod resampler;
mod table;

pub use axis::{Axis, Kernel};
pub use backend::Backend;
pub use error::ResampleError;
pub use resampler::{Image, Part, Resampler, Window};

/// Bytes of a pixel: red, green, blue and one that means nothing.
pub const PIXEL_BYTES: usize = 4;
