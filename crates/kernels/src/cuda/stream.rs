//! A second stream of a device: what may go on beside the main one.

use std::ffi::c_void;
use std::ptr;

use tch::Tensor;

use super::{number, table};
use crate::KernelError;
use crate::error::check;

/// A stream of its own, of libtorch's.
#[derive(Debug)]
pub struct SideStream {
    side: *mut c_void,
}

// SAFETY: a stream may be used from any thread; libtorch holds which one is current for each thread by itself.
unsafe impl Send for SideStream {}
// SAFETY: likewise.
unsafe impl Sync for SideStream {}

impl SideStream {
    /// A stream of a device.
    ///
    /// # Errors
    /// When there is no such device.
    ///
    /// # Panics
    /// When CUDA is not loaded.
    pub fn new(device: usize) -> Result<SideStream, KernelError> {
        let mut side = ptr::null_mut();
        // SAFETY: `side` is written before null is answered.
        check("a stream", unsafe { (table().stream_new)(number(device), &mut side) })?;
        Ok(SideStream { side })
    }

    /// Does `work` with this as the current stream of this thread, after what was asked of the one that was current.
    ///
    /// # Panics
    /// When the device has failed.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut outer = ptr::null_mut();
        // SAFETY: the stream lives, and `outer` is written before null is answered.
        let answer = unsafe { (table().stream_enter)(self.side, &mut outer) };
        check("a stream", answer).expect("a device that works");
        let _back = Outer(outer);
        work()
    }

    /// The same, but waits for nothing: `work` goes on beside all that was asked of other streams before. Memory that it takes is for
    /// this stream: see [`is_used_here`].
    ///
    /// # Panics
    /// When the device has failed.
    pub fn run_beside<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut outer = ptr::null_mut();
        // SAFETY: as in `run`.
        let answer = unsafe { (table().stream_enter_beside)(self.side, &mut outer) };
        check("a stream", answer).expect("a device that works");
        let _back = Outer(outer);
        work()
    }

    /// The host waits for all that was asked of this stream.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn synchronise(&self) -> Result<(), KernelError> {
        // SAFETY: the stream lives.
        check("waiting for a stream", unsafe { (table().stream_synchronise)(self.side) })
    }

    /// Lets the current stream of this thread wait for all that was asked of this one; the host goes on.
    ///
    /// # Panics
    /// When the device has failed.
    pub fn wait_for(&self) {
        // SAFETY: the stream lives.
        check("a stream", unsafe { (table().stream_wait)(self.side) }).expect("a device that works");
    }

    /// Says that this stream works on `tensor`: its memory is not used again before that is done.
    ///
    /// # Panics
    /// When the tensor is not on a GPU.
    pub fn uses(&self, tensor: &Tensor) {
        // SAFETY: both live.
        let answer = unsafe { (table().stream_uses)(self.side, tensor.as_ptr().cast()) };
        check("a stream", answer).expect("a tensor on a GPU");
    }
}

/// Says that the current stream of this thread works on `tensor`, whose memory was taken for another: it is not used again before
/// that is done.
///
/// # Panics
/// When the tensor is not on a GPU.
pub fn is_used_here(tensor: &Tensor) {
    // SAFETY: the tensor lives.
    let answer = unsafe { (table().tensor_is_used)(tensor.as_ptr().cast()) };
    check("a stream", answer).expect("a tensor on a GPU");
}

impl Drop for SideStream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and nobody else's.
        unsafe { (table().stream_free)(self.side) }
    }
}

/// The stream that becomes the current one again, also when work panics.
struct Outer(*mut c_void);

impl Drop for Outer {
    fn drop(&mut self) {
        // SAFETY: made by `stream_enter`, and given back once.
        let answer = unsafe { (table().stream_leave)(self.0) };
        // It fails only where the device is gone, which the next operation says.
        let _ = check("a stream", answer);
    }
}
