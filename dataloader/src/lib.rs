//! Files to batches: which images there are, in which order they come, and how they become pixels in the caller's memory.
//!
//! ```text
//! open ─ Source ─ order(seed, epoch) ─ readers ─ decode + transform workers ─ batches, in order
//! ```
//!
//! The stream is a pure function: which samples make up global batch *k*, and every random choice made for one of them,
//! depend only on the seed and on the sample's place in the stream. Ranks, workers, timing and restarts do not enter.
//!
//! [`open`] looks at the data set and refuses what cannot be trained on. [`with_batches`] runs a pipeline of threads
//! around a closure that takes batches; all threads are gone when it returns. [`sample::write`] makes a small real data
//! set.

pub mod augment;
mod chores;
mod configured;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod mix;
mod order;
pub mod pack;
mod pipeline;
mod pixels;
mod source;

pub use chores::{bench, inspect, sample, show, verify};
pub use error::{BadImage, DataError, ReadError, Reason, TarFault};
pub use mix::{Blend, Mix, MixMode, Mixing};
pub use order::{Draw, Order, SampleKey, Share, Stream};
pub use pipeline::{BadPolicy, BatchMemory, Batches, Lease, LoaderSpec, LoaderStats, SKIPPED, with_batches};
pub use pixels::{
    Border, Crop, CropBox, Decode, Exif, Filter, Format, JpegKind, MAX_PIXELS, Orientation, Pixels, Preparer, Probe,
    SingleImages, Transform,
};
pub use source::{
    Dataset, DatasetSpec, Encoding, EvaluationSet, Labels, Source, SourceKind, Split, StorageOptions, Wants, at_most,
    open, unlabelled,
};
