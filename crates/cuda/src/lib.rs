//! `librectify_cuda.so`: kernels, streams and graphs over libtorch's CUDA half, behind one function that answers with their table.
//!
//! Nothing links it, since it cannot be loaded without a GPU's libraries; `kernels::cuda::load` opens it where there are some.

use std::ffi::{c_char, c_void};

unsafe extern "C" {
    fn rectify_cuda_table(bytes: usize, find_cubin: *const c_void, message: *mut *mut c_char) -> *const c_void;
}

/// The table of what is here (`CudaTable` of `crates/kernels/cpp/cuda_table.h`), or null with a
/// message that the caller frees: also where the caller's table does not have as many `bytes`,
/// since it was then built from other sources.
///
/// # Safety
/// `find_cubin` is a function of that header's type `FindCubin` which can be called as long as the
/// process lives, and `message` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rectify_cuda_table_of(
    bytes: usize,
    find_cubin: *const c_void,
    message: *mut *mut c_char,
) -> *const c_void {
    // SAFETY: the caller says so.
    unsafe { rectify_cuda_table(bytes, find_cubin, message) }
}
