//! `Enqueued`: an exchange that is on the device's streams, as its caller holds it.

use std::fmt;
use std::sync::Arc;

use super::driver::Handle;
use super::group::{Group, Mark};
use crate::{Buffer, CommError, Phase};

pub(crate) struct Enqueued {
    pub(super) phase: Phase,
    pub(super) buffer: Buffer,
    pub(super) stream: Handle,
    pub(super) mark: Mark,
    pub(super) group: Arc<Group>,
}

impl Enqueued {
    /// Whether the device is through with it, it has failed, or a graph has it.
    pub fn is_done(&self) -> bool {
        // An event that cannot be asked for is an error, which waiting or the watchdog tells.
        let device = &self.group.device;
        let passed = || device.enter().and_then(|_entered| device.has_passed(self.mark.end.handle())).unwrap_or(true);
        self.mark.captured || self.group.failure().is_some() || passed()
    }

    /// Lets the buffer's stream wait for the end, without waiting here.
    pub fn join(self) -> Result<Buffer, CommError> {
        let group = &self.group;
        let joined = group.device.enter().and_then(|_entered| {
            // SAFETY: the stream lives until now, by the contract of `Buffer::on_device`.
            unsafe { group.device.wait(self.stream, self.mark.end.handle()) }
        });
        if let Some(failure) = group.failure() {
            return Err(failure.clone());
        }
        joined.map_err(|message| group.fail(group.broken(self.phase, message)))?;
        Ok(self.buffer)
    }
}

impl fmt::Debug for Enqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = f.debug_struct("Enqueued");
        words.field("phase", &self.phase).field("buffer", &self.buffer).field("captured", &self.mark.captured);
        words.finish_non_exhaustive()
    }
}
