//! Events: how far a stream has come, for a host that must not run too far ahead of it.

use std::ffi::c_void;
use std::ptr;

use super::{number, table};
use crate::KernelError;
use crate::error::check;

/// A CUDA event of one device, without timing. It can be recorded any number of times.
#[derive(Debug)]
pub struct Event {
    event: *mut c_void,
}

// SAFETY: CUDA's events belong to no thread; `record` and `synchronize` of one event are not called
// at once, since the event is not `Sync`.
unsafe impl Send for Event {}

impl Event {
    /// An event for the streams of a device.
    ///
    /// # Errors
    /// When there is no such device.
    ///
    /// # Panics
    /// When CUDA is not loaded.
    pub fn new(device: usize) -> Result<Event, KernelError> {
        let mut event = ptr::null_mut();
        // SAFETY: `event` is written before null is answered.
        check("an event", unsafe { (table().event_new)(number(device), &mut event) })?;
        Ok(Event { event })
    }

    /// Records the event on the current stream of its device in this thread, behind all work that
    /// the stream has.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn record(&self) -> Result<(), KernelError> {
        // SAFETY: the event lives.
        check("an event", unsafe { (table().event_record)(self.event) })
    }

    /// The host waits until the device has done the work that lay before the last `record`. Returns
    /// at once when nothing was recorded. The waiting thread sleeps instead of spinning.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn synchronize(&self) -> Result<(), KernelError> {
        // SAFETY: the event lives.
        check("waiting for an event", unsafe { (table().event_synchronize)(self.event) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and freed once.
        unsafe { (table().event_free)(self.event) }
    }
}
