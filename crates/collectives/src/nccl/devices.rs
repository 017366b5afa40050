//! `Devices`: the communicator of GPUs, which keeps that of the hosts for everything in host memory.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::bounded;

use super::driver::Handle;
use super::enqueued::Enqueued;
use super::group::Group;
use super::watch::Watch;
use crate::{Buffer, CommError, Communicator, Exchange, Pending, Phase, Wire};

/// How long `abort` lets NCCL end before it ends the process anyway.
const ABORT_GRACE: Duration = Duration::from_secs(3);

pub(super) struct Devices {
    group: Arc<Group>,
    watch: Watch,
    library: String,
    host: Arc<dyn Communicator>,
}

impl Devices {
    /// Of a group that has joined by the library `nccl`.
    pub fn new(host: Arc<dyn Communicator>, group: Group, nccl: String) -> Result<Devices, CommError> {
        let group = Arc::new(group);
        let library = host.library().map_or(nccl.clone(), |below| format!("{nccl} over {below}"));
        Ok(Devices { watch: Watch::start(&group)?, group, library, host })
    }
}

impl Communicator for Devices {
    fn rank(&self) -> usize {
        self.group.rank
    }

    fn size(&self) -> usize {
        self.group.size
    }

    fn library(&self) -> Option<&str> {
        Some(&self.library)
    }

    fn start_exchange(&self, phase: Phase, buffer: Buffer, exchange: Exchange, wire: Wire) -> Pending {
        if let Err(failed) = self.group.check() {
            return Pending::ready(Err(failed));
        }
        let Some(numbers) = buffer.device_numbers() else {
            return self.host.start_exchange(phase, buffer, exchange, wire);
        };
        let mark = match self.group.enqueue(phase, numbers, exchange, wire, &self.watch) {
            Ok(mark) => mark,
            Err(poisoned @ CommError::Poisoned { .. }) => return Pending::ready(Err(poisoned)),
            Err(error) => return Pending::ready(Err(self.group.fail(error))),
        };
        let (stream, group) = (Handle(numbers.stream), Arc::clone(&self.group));
        Pending::enqueued(Enqueued { phase, buffer, stream, mark, group })
    }

    fn broadcast(&self, phase: Phase, bytes: &mut Vec<u8>, root: usize) -> Result<(), CommError> {
        self.group.check()?;
        self.host.broadcast(phase, bytes, root)
    }

    fn all_gather(&self, phase: Phase, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CommError> {
        self.group.check()?;
        self.host.all_gather(phase, bytes)
    }

    fn barrier(&self, phase: Phase) -> Result<(), CommError> {
        self.group.check()?;
        self.host.barrier(phase)
    }

    fn abort(&self, exit_code: i32) -> ! {
        let group = Arc::clone(&self.group);
        let (done, ended) = bounded(1);
        let end = move || {
            group.fail(group.broken(Phase::new("the end of the run"), "this process ends for an error".into()));
            let _ = done.send(());
        };
        if std::thread::Builder::new().name("nccl abort".into()).spawn(end).is_ok() {
            let _ = ended.recv_timeout(ABORT_GRACE); // its kernels may be stuck for good
        }
        self.host.abort(exit_code)
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.group.fail(self.group.broken(Phase::new("the end of the run"), "a thread has panicked".into()));
        }
        self.watch.end();
        self.group.end();
    }
}
