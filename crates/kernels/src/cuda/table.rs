//! What `librectify_cuda.so` offers, field by field as C++ has it (cpp/cuda_table.h).

use std::ffi::{c_char, c_int, c_void};

use crate::ffi::CTensor;

/// Null, or a message to be freed.
type Answer = *mut c_char;

/// The functions; those that kernels alone call are not told apart.
#[repr(C)]
pub struct CudaTable {
    pub on_host: bool,
    pub launch: *const c_void,
    pub current_stream: unsafe extern "C" fn(device: c_int, stream: *mut *mut c_void) -> Answer,
    pub synchronise: unsafe extern "C" fn(device: c_int) -> Answer,
    pub peak_memory: unsafe extern "C" fn(device: c_int, bytes: *mut usize) -> Answer,
    pub pin: unsafe extern "C" fn(tensor: *const CTensor, pinned: *mut *mut CTensor) -> Answer,
    pub stream_new: unsafe extern "C" fn(device: c_int, side: *mut *mut c_void) -> Answer,
    pub stream_free: unsafe extern "C" fn(side: *mut c_void),
    pub stream_enter: unsafe extern "C" fn(side: *mut c_void, outer: *mut *mut c_void) -> Answer,
    pub stream_enter_beside: unsafe extern "C" fn(side: *mut c_void, outer: *mut *mut c_void) -> Answer,
    pub stream_leave: unsafe extern "C" fn(outer: *mut c_void) -> Answer,
    pub stream_wait: unsafe extern "C" fn(side: *mut c_void) -> Answer,
    pub stream_synchronise: unsafe extern "C" fn(side: *mut c_void) -> Answer,
    pub tensor_is_used: unsafe extern "C" fn(tensor: *const CTensor) -> Answer,
    pub stream_uses: unsafe extern "C" fn(side: *mut c_void, tensor: *const CTensor) -> Answer,
    pub graph_begin: unsafe extern "C" fn(device: c_int, graph: *mut *mut c_void) -> Answer,
    pub graph_end: unsafe extern "C" fn(graph: *mut c_void) -> Answer,
    pub graph_replay: unsafe extern "C" fn(graph: *mut c_void) -> Answer,
    pub graph_free: unsafe extern "C" fn(graph: *mut c_void),
}

// SAFETY: a table of functions that any thread may call; nothing changes it.
unsafe impl Sync for CudaTable {}
// SAFETY: likewise.
unsafe impl Send for CudaTable {}

/// A source of kernels, or a header that one names.
#[repr(C)]
pub struct Source {
    pub file: *const c_char,
    pub text: *const c_char,
}

// SAFETY: both are texts of this program, which never change.
unsafe impl Sync for Source {}
// SAFETY: likewise.
unsafe impl Send for Source {}
