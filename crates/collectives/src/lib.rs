//! Ranks agree on numbers: one `Communicator`, with threads of one process or MPI behind it.

mod alone;
mod buffer;
mod communicator;
mod connect;
mod engine;
mod error;
mod frame;
mod gather;
mod handle;
mod link;
mod local;
#[cfg(feature = "mpi")]
mod mpi_link;
mod notice;
mod operation;
mod patience;
mod phase;
mod reduce;
mod roll_call;

pub use buffer::Buffer;
pub use communicator::{Communicator, Pending, Reduction};
pub use connect::{Backend, connect, local_ranks};
pub use error::CommError;
pub use phase::Phase;
