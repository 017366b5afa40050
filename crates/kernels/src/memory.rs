//! Memory of tensors on the CPU that is kept from step to step.

use crate::ffi;

/// From now on libtorch takes the memory of large tensors on the CPU from blocks that are kept when a tensor dies, in huge
/// pages where the system has them; for the life of the process.
///
/// What is kept and in use together stays below 9/8 of the most that was in use at once. Without it every activation of every
/// step is memory that the system must clear first.
pub fn keep() {
    // SAFETY: sets libtorch's allocator; memory that was taken before goes back to the one that gave it.
    unsafe { ffi::rectify_keep_memory() }
}

/// Bytes that are kept and not in use.
pub fn kept_bytes() -> usize {
    // SAFETY: reads a number under a lock.
    unsafe { ffi::rectify_kept_bytes() }
}
