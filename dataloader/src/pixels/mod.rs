//! From the bytes of one image to the pixels that a model sees: crop, decode, resize, normalise.

pub(crate) mod crop;
pub(crate) mod decode;
mod fast_jpeg;
pub(crate) mod framing;
#[cfg(test)]
mod framings;
pub(crate) mod orientation;
#[cfg(test)]
mod photograph;
pub(crate) mod probe;
pub(crate) mod resample;
mod single;
#[cfg(test)]
mod torchvision;
mod transform;
mod truncation;

pub use crop::CropBox;
pub use decode::{Decode, MAX_PIXELS};
pub use framing::{Border, Crop};
pub use orientation::{Exif, Orientation};
pub use probe::{Format, JpegKind, Probe};
pub use resample::Filter;
pub use single::SingleImages;
pub use transform::{Pixels, Preparer, Transform};
