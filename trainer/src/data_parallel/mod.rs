//! How ranks that train on different images come to the same parameters.
//!
//! - [`Slice`]: a stretch of one group's flat buffers; [`bucket`] says which are exchanged together, and in which order.
//! - [`Averaging`]: exchanges each bucket of gradients as soon as the backward pass has filled it.
//! - [`Sharding`]: spreads the optimiser's memory over the ranks, each updating its own slices (ZeRO-1).
//! - [`average_buffers`]: a model's running statistics.

mod averaging;
mod bucket;
mod buffers;
mod sharding;
mod slice;

pub use averaging::{Averaging, Exchanges};
pub use buffers::average_buffers;
pub use sharding::Sharding;
pub use slice::Slice;
