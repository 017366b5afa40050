//! `Group`: this rank's part in NCCL: what it enqueues, its first failure, and its end.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::api::{AVERAGE, BFLOAT16, FLOAT32, IN_PROGRESS, Nccl, Numbers, SUCCESS, SUM, UniqueId};
use super::calls::{Call, calls, nccl_rank};
use super::cast::Staging;
use super::driver::{Device, Handle};
use super::events::{Event, Events};
use super::places::refused;
use super::watch::{Flight, News, Watch};
use crate::buffer::DeviceNumbers;
use crate::patience::Patience;
use crate::{CommError, Exchange, Phase, Reduction, Wire, shard};

/// How long one who ends the communicator waits for a call that is under way: calls do not block, unless NCCL is stuck.
pub(super) const TURN_GRACE: Duration = Duration::from_secs(1);

pub(super) struct Group {
    pub rank: usize,
    pub size: usize,
    pub timeout: Duration,
    pub device: Arc<Device>,
    nccl: Nccl,
    events: Arc<Events>,
    communicator: AtomicPtr<c_void>, // null when it has ended
    failure: OnceLock<CommError>,
    /// Whose turn it is: only who holds it calls NCCL, except that a stuck one is aborted without.
    turn: Mutex<Work>,
}

/// Where exchanges run, in order.
struct Work {
    stream: Handle,
    staging: Staging,
    device: Arc<Device>,
}

/// Where on the stream an exchange ends.
pub(super) struct Mark {
    pub end: Event,
    /// Whether a CUDA graph took it: then it has not begun, and nobody may ask for the end.
    pub captured: bool,
}

impl Group {
    /// Joins the others that hold the same id.
    pub fn join(
        nccl: Nccl,
        device: Arc<Device>,
        id: UniqueId,
        (rank, size): (usize, usize),
        timeout: Duration,
    ) -> Result<Group, CommError> {
        let failed = |reason: String| CommError::Connect { reason: format!("rank {rank}: {reason}"), transient: true };
        let entered = device.enter().map_err(failed)?;
        let staging = Staging::new(&device).map_err(failed)?;
        let work = Work { stream: device.stream().map_err(failed)?, staging, device: Arc::clone(&device) };
        // What is refused at once, such as a driver that is too old, is refused again.
        let begun = nccl.begin(id, nccl_rank(rank, size), size);
        let communicator = begun.map_err(|reason| refused(format!("rank {rank}: {reason}")))?;
        drop(entered);
        let group = Group {
            rank,
            size,
            timeout,
            events: Events::new(&device),
            device,
            nccl,
            communicator: AtomicPtr::new(communicator.0),
            failure: OnceLock::new(),
            turn: Mutex::new(work),
        };
        group.settle(communicator, Phase::new("joining NCCL")).map_err(|error| match error {
            CommError::Timeout { .. } => {
                failed(format!("the ranks did not all join by NCCL within {:.1} s", timeout.as_secs_f64()))
            }
            CommError::Transport { message, .. } => failed(message),
            other => other,
        })?;
        Ok(group)
    }

    /// What failed first, if anything did.
    pub fn failure(&self) -> Option<&CommError> {
        self.failure.get()
    }

    /// Whether nothing has failed, for a new call.
    pub fn check(&self) -> Result<(), CommError> {
        match self.failure() {
            Some(first) => Err(CommError::Poisoned { first: Box::new(first.clone()) }),
            None => Ok(()),
        }
    }

    /// Puts an exchange on the stream of exchanges, behind what is on the numbers' own stream now. The watchdog is told in the
    /// order in which exchanges run.
    pub fn enqueue(
        &self,
        phase: Phase,
        numbers: DeviceNumbers,
        exchange: Exchange,
        wire: Wire,
        watch: &Watch,
    ) -> Result<Mark, CommError> {
        let mut work = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        watch.tell(News::Calling(phase));
        let broken = |message| self.broken(phase, message);
        let _entered = self.device.enter().map_err(broken)?;
        let theirs = Handle(numbers.stream);
        let (ready, end) = (self.events.take().map_err(broken)?, self.events.take().map_err(broken)?);
        // SAFETY: their stream lives, by the contract of `Buffer::on_device`; ours does as long as `work`. A wait on a stream
        // that is captured takes ours into the capture, and the `Pending` leads it back.
        let captured = unsafe {
            let captured = self.device.is_capturing(theirs).map_err(broken)?;
            self.device.record(ready.handle(), theirs).map_err(broken)?;
            self.device.wait(work.stream, ready.handle()).map_err(broken)?;
            captured
        };
        self.exchange(&mut work, phase, numbers, exchange, wire)?;
        // SAFETY: as above.
        unsafe { self.device.record(end.handle(), work.stream) }.map_err(broken)?;
        watch.tell(if captured { News::Captured } else { News::Begun(Flight { phase, ready, end: end.clone() }) });
        Ok(Mark { end, captured })
    }

    fn exchange(
        &self,
        work: &mut Work,
        phase: Phase,
        DeviceNumbers { address, len, .. }: DeviceNumbers,
        exchange: Exchange,
        wire: Wire,
    ) -> Result<(), CommError> {
        let broken = |message| self.broken(phase, message);
        let calls = calls(exchange, self.size, len);
        if calls.is_empty() {
            return Ok(());
        }
        let mean = matches!(exchange, Exchange::AllReduce(Reduction::Mean) | Exchange::ReduceScatter(Reduction::Mean));
        if wire == Wire::Full || self.size == 1 {
            let numbers = Numbers { address, kind: FLOAT32 };
            return self.call(&calls, phase, numbers, if mean { AVERAGE } else { SUM }, work.stream);
        }
        let own = shard(self.rank, self.size, len);
        let (leaving, arriving) = match exchange {
            Exchange::AllReduce(_) => (0..len, 0..len),
            Exchange::ReduceScatter(_) => (0..len, own),
            Exchange::AllGatherShards => (own, 0..len),
        };
        // NCCL's average multiplies by 1/size in bf16, which is off by up to 2⁻⁹ for a size that is no power of two.
        let scale = if mean { 1.0 / self.size as f32 } else { 1.0 };
        let staged = work.staging.memory(len).map_err(broken)?;
        // SAFETY: the numbers are exclusive by the contract of `Buffer::on_device`; the staging memory is long enough, and
        // is used on this stream alone.
        unsafe { work.staging.narrow(address, staged, leaving, scale, work.stream) }.map_err(broken)?;
        self.call(&calls, phase, Numbers { address: staged, kind: BFLOAT16 }, SUM, work.stream)?;
        // SAFETY: as above.
        unsafe { work.staging.widen(staged, address, arriving, work.stream) }.map_err(broken)
    }

    /// Makes the calls as one, and returns when NCCL has enqueued them.
    fn call(
        &self,
        calls: &[Call],
        phase: Phase,
        numbers: Numbers,
        reduction: i32,
        stream: Handle,
    ) -> Result<(), CommError> {
        let communicator = Handle(self.communicator.load(Ordering::Acquire));
        if communicator.0.is_null() {
            return self.check().and(Err(self.broken(phase, "NCCL has ended".into())));
        }
        let own = (nccl_rank(self.rank, self.size), self.size);
        let group = || {
            self.nccl.open_group()?;
            let made = calls.iter().try_for_each(|call| {
                // SAFETY: this rank holds the turn, and whoever ends the communicator waits for it; the numbers are
                // exclusive by the contract of `Buffer::on_device`.
                unsafe { self.nccl.call(call, numbers, reduction, own, communicator, stream) }
            });
            let closed = self.nccl.close_group(); // also after an error, for the group is the thread's
            made.and(closed)
        };
        group().map_err(|message| self.broken(phase, message))?;
        self.settle(communicator, phase)
    }

    /// Waits until NCCL has done on the host what was begun.
    fn settle(&self, communicator: Handle, phase: Phase) -> Result<(), CommError> {
        let mut patience = Patience::new();
        loop {
            self.check()?;
            // SAFETY: as in `call`; while joining nobody else has the communicator.
            match unsafe { self.nccl.state(communicator) } {
                SUCCESS => return Ok(()),
                IN_PROGRESS => {}
                // SAFETY: as above.
                code => return Err(self.broken(phase, unsafe { self.nccl.words(code, communicator) })),
            }
            if patience.waited() >= self.timeout {
                return Err(self.timed_out(phase, patience.waited()));
            }
            if let Some(nap) = patience.pause() {
                std::thread::sleep(nap);
            }
        }
    }

    /// The error that NCCL met on its own, if it did. `None` too while a call is under way, which sees to it itself.
    pub fn error_met(&self, phase: Phase) -> Option<CommError> {
        let _turn = self.turn.try_lock().ok()?;
        let communicator = Handle(self.communicator.load(Ordering::Acquire));
        if communicator.0.is_null() {
            return None;
        }
        // SAFETY: this thread holds the turn.
        match unsafe { self.nccl.state(communicator) } {
            SUCCESS | IN_PROGRESS => None,
            // SAFETY: as above.
            code => Some(self.broken(phase, unsafe { self.nccl.words(code, communicator) })),
        }
    }

    pub fn timed_out(&self, phase: Phase, waited: Duration) -> CommError {
        // NCCL does not say for whom it waits; of two ranks it is the other.
        let waiting_for = if self.size == 2 { vec![1 - self.rank] } else { Vec::new() };
        CommError::Timeout { rank: self.rank, waiting_for, phase: phase.to_string(), waited }
    }

    pub fn broken(&self, phase: Phase, message: String) -> CommError {
        CommError::Transport { rank: self.rank, phase: phase.to_string(), message }
    }

    /// Ends the communicator for `error`, unless something else has failed before; returns the first failure. Kernels that
    /// wait for other ranks end, and a host that waits for them goes on.
    pub fn fail(&self, error: CommError) -> CommError {
        let first = self.failure.get_or_init(|| error).clone();
        let _turn = self.turn_within(TURN_GRACE);
        let communicator = self.take_communicator();
        if let (Some(communicator), Ok(_entered)) = (communicator, self.device.enter()) {
            // SAFETY: taken, so nobody begins to use it; whoever is still in a call after the grace is stuck, which is
            // what aborting is for.
            unsafe { self.nccl.abort(communicator) };
        }
        first
    }

    /// Ends the communicator in order, together with the other ranks. Nothing is in flight any more.
    pub fn end(&self) {
        if self.failure().is_some() {
            return;
        }
        let Ok(_entered) = self.device.enter() else { return };
        let Some(communicator) = self.take_communicator() else { return };
        // SAFETY: taken, so this thread alone has it.
        unsafe {
            let ended = self.nccl.finalize(communicator).is_ok()
                && self.settle(communicator, Phase::new("the end of the run")).is_ok();
            if ended { self.nccl.destroy(communicator) } else { self.nccl.abort(communicator) }
        }
    }

    fn take_communicator(&self) -> Option<Handle> {
        let communicator = self.communicator.swap(null_mut(), Ordering::AcqRel);
        (!communicator.is_null()).then_some(Handle(communicator))
    }

    fn turn_within(&self, grace: Duration) -> Option<MutexGuard<'_, Work>> {
        let since = Instant::now();
        loop {
            match self.turn.try_lock() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(turn)) => return Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) if since.elapsed() >= grace => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that has joined and was not ended: others may be gone.
        if let (Some(communicator), Ok(_entered)) = (self.take_communicator(), self.device.enter()) {
            // SAFETY: taken, so this thread alone has it.
            unsafe { self.nccl.abort(communicator) };
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Ok(_entered) = self.device.enter() else { return };
        self.device.destroy_stream(self.stream);
    }
}
