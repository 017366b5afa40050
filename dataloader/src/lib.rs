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
mod mix;
mod order;
mod pipeline;
mod pixels;
mod source;

pub use chores::{bench, sample};
pub use error::{BadImage, DataError, ReadError, Reason};
pub use mix::{Blend, Mix, MixMode, Mixing};
pub use order::{Draw, Order, SampleKey, Share, Stream};
pub use pipeline::{BatchMemory, Batches, Lease, LoaderSpec, LoaderStats, with_batches};
pub use pixels::{Crop, CropBox, Decode, Filter, MAX_PIXELS, Pixels, Preparer, Transform};
pub use source::{Dataset, DatasetSpec, Encoding, Source, SourceKind, Split, Wants, open};
