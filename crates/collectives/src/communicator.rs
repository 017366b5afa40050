//! `Communicator`: what ranks can do together, whatever carries their messages.

use crossbeam::channel::Receiver;

#[cfg(feature = "nccl")]
use crate::nccl::Enqueued;
use crate::{Buffer, CommError, Phase};

/// How numbers of several ranks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their sum divided by the number of ranks, once, when the sum is whole.
    Mean,
}

/// What ranks do with their buffers of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// All get all numbers, reduced.
    AllReduce(Reduction),
    /// Each gets its [`shard`](crate::shard()), reduced: the first half of an all-reduce.
    ReduceScatter(Reduction),
    /// All get every rank's [`shard`](crate::shard()): the second half of an all-reduce.
    AllGatherShards,
}

/// In which form numbers travel between ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wire {
    /// As they are in memory.
    #[default]
    Full,
    /// f32 as bf16, in half the bytes: rounded to the nearest (of two to the even one; NaN stays NaN) on every hop, while
    /// sums are added up in f32. Of p ranks a sum is wrong by at most about p·2⁻⁸ of the sum of absolute values. What a
    /// rank keeps for itself is rounded too, so all hold the same bits. f64 travels whole all the same, and a world of one
    /// has no wire, so nothing is rounded there. Between GPUs sums are rounded too, after each addition.
    Bf16,
}

/// One rank's end of a group of ranks.
///
/// Every rank must make the same calls in the same order, with the same phases, lengths and wires; where they do not, all
/// get [`CommError::Mismatch`]. Results of reductions are equal bit for bit on every rank, and between two runs with the
/// same number of ranks. For numbers on GPUs neither holds without exception: see [the crate](crate#from-gpu-to-gpu). A call may be made from any thread; operations run in the order of the calls.
pub trait Communicator: Send + Sync {
    /// This rank, `0 ≤ rank < size`.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// The library that carries the messages, with its version ("Open MPI v4.1.4", "NCCL 2.28.9 over Open MPI v4.1.4"); `None`
    /// where none is needed.
    fn library(&self) -> Option<&str> {
        None
    }

    /// Begins an exchange of numbers over all ranks and returns at once; the communication thread does the work. Several
    /// may be in flight: they run in order. This is the call for gradients, mostly by one of the names below: a backend for
    /// devices takes their buffers here.
    fn start_exchange(&self, phase: Phase, buffer: Buffer, exchange: Exchange, wire: Wire) -> Pending;

    /// Gives every rank the bytes of rank `root`; the others' bytes are replaced, of whatever length they were.
    fn broadcast(&self, phase: Phase, bytes: &mut Vec<u8>, root: usize) -> Result<(), CommError>;

    /// Every rank's bytes, in the order of ranks. Lengths may differ.
    fn all_gather(&self, phase: Phase, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CommError>;

    /// Returns when every rank has come.
    fn barrier(&self, phase: Phase) -> Result<(), CommError>;

    /// Ends this process and all other ranks, without waiting for anybody, with `exit_code` as this process's code.
    fn abort(&self, exit_code: i32) -> !;

    /// Begins to reduce `buffer` over all ranks.
    fn start_all_reduce(&self, phase: Phase, buffer: Buffer, reduction: Reduction) -> Pending {
        self.start_all_reduce_over(phase, buffer, reduction, Wire::Full)
    }

    /// Begins to reduce `buffer` over all ranks, with numbers travelling in the form `wire`.
    fn start_all_reduce_over(&self, phase: Phase, buffer: Buffer, reduction: Reduction, wire: Wire) -> Pending {
        self.start_exchange(phase, buffer, Exchange::AllReduce(reduction), wire)
    }

    /// Begins to reduce `buffer`, of which this rank gets its [`shard`](crate::shard()): there it holds bit for bit what
    /// [`Communicator::start_all_reduce_over`] would give. What is in the rest of the buffer afterwards means nothing.
    fn start_reduce_scatter(&self, phase: Phase, buffer: Buffer, reduction: Reduction, wire: Wire) -> Pending {
        self.start_exchange(phase, buffer, Exchange::ReduceScatter(reduction), wire)
    }

    /// Begins to give this rank's [`shard`](crate::shard()) of `buffer` to all others, and to fill the rest with theirs.
    /// Where `wire` rounds, so is this rank's own shard. After [`Communicator::start_reduce_scatter`] the buffer holds bit
    /// for bit what the all-reduce would give, and what a reduce-scatter has rounded is not changed again.
    fn start_all_gather_shards(&self, phase: Phase, buffer: Buffer, wire: Wire) -> Pending {
        self.start_exchange(phase, buffer, Exchange::AllGatherShards, wire)
    }

    /// The sum over ranks, element by element, in place.
    fn all_reduce_sum(&self, phase: Phase, data: &mut [f32]) -> Result<(), CommError> {
        // SAFETY: `data` is borrowed for this call, which returns when the operation has ended (also by unwinding, since
        // dropping a `Pending` waits).
        let buffer = unsafe { Buffer::from_raw_f32(data.as_mut_ptr(), data.len()) };
        self.start_all_reduce(phase, buffer, Reduction::Sum).wait().map(drop)
    }

    /// The mean over ranks, element by element, in place.
    fn all_reduce_mean(&self, phase: Phase, data: &mut [f32]) -> Result<(), CommError> {
        // SAFETY: as in `all_reduce_sum`.
        let buffer = unsafe { Buffer::from_raw_f32(data.as_mut_ptr(), data.len()) };
        self.start_all_reduce(phase, buffer, Reduction::Mean).wait().map(drop)
    }

    /// The sum over ranks in double precision, in place: whole numbers up to 2⁵³ are exact.
    fn all_reduce_sum_f64(&self, phase: Phase, data: &mut [f64]) -> Result<(), CommError> {
        // SAFETY: as in `all_reduce_sum`.
        let buffer = unsafe { Buffer::from_raw_f64(data.as_mut_ptr(), data.len()) };
        self.start_all_reduce(phase, buffer, Reduction::Sum).wait().map(drop)
    }

    /// Checks that all ranks hold the same bytes; otherwise all get [`CommError::Disagreement`] with the ranks that differ
    /// from rank 0. The communicator stays usable. For large state compare a hash.
    fn all_equal(&self, phase: Phase, bytes: &[u8]) -> Result<(), CommError> {
        let all = self.all_gather(phase, bytes)?;
        let ranks: Vec<_> = (1..all.len()).filter(|&rank| all[rank] != all[0]).collect();
        if ranks.is_empty() {
            return Ok(());
        }
        Err(CommError::Disagreement { phase: phase.to_string(), ranks })
    }

    /// Whether it is true on any rank.
    fn any(&self, phase: Phase, here: bool) -> Result<bool, CommError> {
        let all = self.all_gather(phase, &[u8::from(here)])?;
        Ok(all.iter().any(|byte| byte == &[1]))
    }
}

/// An exchange in flight. Dropping it waits for its end as [`Pending::wait`] does, so that the memory is free afterwards in
/// any case.
#[must_use = "an exchange that nobody waits for keeps its result to itself"]
#[derive(Debug)]
pub struct Pending {
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(Result<Buffer, CommError>),
    Running(Receiver<Result<Buffer, CommError>>),
    #[cfg(feature = "nccl")]
    Enqueued(Box<Enqueued>),
    Taken,
}

impl Pending {
    pub(crate) fn ready(result: Result<Buffer, CommError>) -> Pending {
        Pending { state: State::Ready(result) }
    }

    pub(crate) fn running(answer: Receiver<Result<Buffer, CommError>>) -> Pending {
        Pending { state: State::Running(answer) }
    }

    #[cfg(feature = "nccl")]
    pub(crate) fn enqueued(exchange: Enqueued) -> Pending {
        Pending { state: State::Enqueued(Box::new(exchange)) }
    }

    /// Whether the exchange has ended, well or badly. One that a CUDA graph has captured counts as ended: it runs when the
    /// graph does.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Running(answer) => !answer.is_empty(),
            #[cfg(feature = "nccl")]
            State::Enqueued(exchange) => exchange.is_done(),
            State::Ready(_) | State::Taken => true,
        }
    }

    /// Waits for the end and gives the buffer back, reduced.
    ///
    /// For a buffer [on a device](Buffer::on_device) its stream waits, and this call returns at once: what is enqueued there
    /// afterwards finds the numbers reduced. If the exchange fails later on, the next call of the communicator says so.
    pub fn wait(mut self) -> Result<Buffer, CommError> {
        self.take()
    }

    fn take(&mut self) -> Result<Buffer, CommError> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(result) => result,
            State::Running(answer) => answer.recv().unwrap_or(Err(CommError::ThreadEnded)),
            #[cfg(feature = "nccl")]
            State::Enqueued(exchange) => exchange.join(),
            State::Taken => Err(CommError::ThreadEnded),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The result of an operation that nobody waits for is nobody's; a failure shows again at the next call.
        drop(self.take());
    }
}
