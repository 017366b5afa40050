//! Ranks agree on numbers: one [`Communicator`], with threads of one process, MPI or NCCL behind it.
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
//! # One ring for hosts
//! Each process has one communication thread. It alone owns the link to the other ranks (for MPI: initialises the library
//! and makes every call), takes requests from a channel and runs them in order. Every operation is messages around the ring
//! 0 → 1 → … → size−1 → 0, of at most 60 KiB, which each rank adds to or passes on: `ring.rs` says in which order numbers
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
//! # From GPU to GPU
//! [`connect_devices`] makes a second [`Communicator`] of one that joins hosts: numbers [on a device](Buffer::on_device) go
//! from GPU to GPU by NCCL, and everything else (bytes, barriers, losses, counts) goes over the hosts as before. It is tested
//! over libraries that pretend to be NCCL and CUDA; docs/gpu.md says what has run on GPUs.
//! - *Joining.* Ranks tell each other which GPU and which NCCL they have, then rank 0's id goes to all over the hosts, and each
//!   joins without blocking, polling until NCCL is ready or the time-out is over.
//! - *Streams.* An exchange runs on a stream of its own, behind what was on the buffer's stream when it started. NCCL is
//!   called by the thread that starts the exchange, which goes on as soon as NCCL has enqueued it. [`Pending::wait`] lets the
//!   buffer's stream wait for the end, not the host.
//! - *Errors.* A watchdog knows what is in flight. At an error of NCCL, or when nothing has ended for the length of the time-out, it
//!   aborts NCCL, which frees the device and a host that waits for it. What has failed is the error of the exchange if it is
//!   still to be waited for, and of every later call, of hosts too. Numbers of a wait that returned before are then wrong:
//!   before they are kept for good (a checkpoint), all ranks should come to a barrier. NCCL does not say who is missing; of
//!   two ranks it is named. The roll call stays with the hosts. An exchange that its own GPU did not get to is told
//!   apart. Nor does NCCL notice ranks that make different calls: they wait for each other, or get garbage.
//! - *Shards.* NCCL's reduce-scatter and all-gather cut a buffer into equal parts in the order of its ranks. A process joins
//!   it as rank (rank + 1) mod size, so that these are the [`shard`]s; where their lengths differ by one, each is
//!   reduced to its owner, or broadcast from it, by a call of its own, all in one group.
//! - *Bits.* NCCL sums in an order of its own. All ranks get the same bits from an all-reduce; a reduce-scatter may give others,
//!   and so may another run, where NCCL chooses another algorithm. For [`Wire::Bf16`] NCCL also sums in bf16, rounding after each
//!   addition; a mean is divided before, in f32. The copies in bf16 lie in memory that grows to the longest exchange
//!   and is kept.
//! - *Graphs.* An exchange that starts while the buffer's stream captures a CUDA graph becomes part of it, if it is waited for
//!   before the capture ends. The watchdog asks for none of its events; it asks NCCL for errors from then on, but
//!   cannot know when the graph runs, so **the time-out does not hold for exchanges in graphs**. Graphs and other
//!   exchanges share the bf16 copy: they are to run on one stream, one after the other.

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
#[cfg(feature = "nccl")]
mod nccl;
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
pub use connect::{Backend, check_distinct_devices, connect, connect_devices, local_ranks};
pub use error::CommError;
pub use layout::shard;
pub use phase::Phase;
