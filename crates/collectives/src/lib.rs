//! Ranks agree on numbers: one [`Communicator`], with threads of one process or MPI behind it.
//!
//! ```
//! use std::time::Duration;
//! use collectives::{Phase, local_ranks};
//!
//! let ranks = local_ranks(2, Duration::from_secs(600));
//! std::thread::scope(|scope| {
//!     for rank in ranks {
//!         scope.spawn(move || {
//!             let mut gradients = [rank.rank() as f32, 1.0];
//!             rank.all_reduce_mean(Phase::of_step("gradients", 12), &mut gradients).unwrap();
//!             assert_eq!(gradients, [0.5, 1.0]);
//!         });
//!     }
//! });
//! ```
//!
//! # One ring for every backend
//! Each process has one communication thread. It alone owns the link to the other ranks (for MPI: initialises the library
//! and makes every call), takes requests from a channel and runs them in order. Every operation is messages around the ring
//! 0 → 1 → … → size−1 → 0, of at most 256 KiB, which each rank adds to or passes on: `ring.rs` says in which order numbers
//! are summed. A backend is only a link, so all give the same bits, and MPI's own reductions, whose order depends on
//! the number of ranks and the machine, are not used.
//!
//! # Waiting
//! A rank that waits spins for a moment, yields, then sleeps for longer and longer, up to 100 µs, so that more ranks than
//! cores, or loader threads beside the communication thread, get on. When nothing has moved for half of the time-out, it
//! calls the roll: every rank that waits in some operation answers; the computing, the stuck and the dead do not. At the
//! time-out those that did not answer are named in [`CommError::Timeout`], on every rank that waits. Every message says
//! which operation it belongs to, so ranks in different ones get [`CommError::Mismatch`] rather than garbage. After a
//! failure the communicator is of no use; end the process by [`Communicator::abort`], which does not wait for anybody.
//! Only a communicator that never failed finalises MPI when it is dropped, after all ranks have come to that point.
//!
//! # Where NCCL enters
//! A device backend is another [`Communicator`], and callers stay as they are:
//! - *Unique id.* It is made from the communicator of [`connect`]: rank 0 asks NCCL for an id, and its 128 bytes go to all by
//!   [`Communicator::broadcast`]; then every rank calls `ncclCommInitRankConfig` without blocking. Bytes, barriers and
//!   evaluation counts stay with that host communicator, which the device communicator keeps inside.
//! - *Buffers.* Gradients go through [`Communicator::start_exchange`] as a [`Buffer`]: another constructor takes device
//!   memory with its type and the event after which it may be read, on the same contract. The reduction runs on a stream of
//!   its own; [`Pending`] ends when the stream has passed, so buckets overlap with backward. For [`Wire::Bf16`] a kernel
//!   casts before and after.
//! - *Errors.* The communication thread polls `ncclCommGetAsyncError` and the end of the stream instead of MPI's requests,
//!   with the same time-out. On an error or at the time-out it calls `ncclCommAbort` and names the missing ranks by the
//!   roll call of the host communicator.
//! - *Shards.* NCCL's reduce-scatter and all-gather cut a buffer into equal parts in the order of its ranks. Where a process
//!   joins it as rank (rank + 1) mod size, these are the [`shard`]s, of any length that is a multiple of size: callers pad.

mod alone;
mod buffer;
mod communicator;
mod connect;
mod engine;
mod error;
mod form;
mod frame;
mod gather;
mod handle;
mod layout;
mod link;
mod local;
#[cfg(feature = "mpi")]
mod mpi_link;
mod notice;
mod operation;
mod patience;
mod phase;
mod ring;
mod roll_call;
mod transfer;
mod wide;

pub use buffer::Buffer;
pub use communicator::{Communicator, Exchange, Pending, Reduction, Wire};
pub use connect::{Backend, connect, local_ranks};
pub use error::CommError;
pub use layout::shard;
pub use phase::Phase;
