//! `librectify_cuda.so`: kernels, streams and graphs over libtorch's CUDA half, behind one function that answers with their table.
//!
//! Nothing links it, since it cannot be loaded without a GPU's libraries; `kernels::cuda::load` opens it where there are some.

use std::ffi::{c_char, c_void};

unsafe extern "C" {
    fn rectify_cuda_table(sources: *const c_void, count: usize, message: *mut *mut c_char) -> *const c_void;
}

/// The table of what is here (`CudaTable` of `crates/kernels/cpp/cuda_table.h`), or null with a message that the caller frees.
///
/// # Safety
/// `sources` are `count` of that header's `Source`, which stay as long as the process, and `message` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rectify_cuda_open(
    sources: *const c_void,
    count: usize,
    message: *mut *mut c_char,
) -> *const c_void {
    // SAFETY: the caller says so.
    unsafe { rectify_cuda_table(sources, count, message) }
}
