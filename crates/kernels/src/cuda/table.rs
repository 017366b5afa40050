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
    pub use_device: unsafe extern "C" fn(device: c_int) -> Answer,
    pub device_name: unsafe extern "C" fn(device: c_int, name: *mut *mut c_char) -> Answer,
    pub event_new: unsafe extern "C" fn(device: c_int, event: *mut *mut c_void) -> Answer,
    pub event_record: unsafe extern "C" fn(event: *mut c_void) -> Answer,
    pub event_synchronize: unsafe extern "C" fn(event: *mut c_void) -> Answer,
    pub event_free: unsafe extern "C" fn(event: *mut c_void),
}

// SAFETY: a table of functions that any thread may call; nothing changes it.
unsafe impl Sync for CudaTable {}
// SAFETY: likewise.
unsafe impl Send for CudaTable {}

#[cfg(test)]
mod tests {
    /// The names before `after`, in order, of the fields between the line `first` and the next
    /// closing brace.
    fn fields(text: &str, first: &str, name_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let inside = text.split_once(first).expect("the struct is there").1;
        inside.lines().take_while(|line| !line.starts_with('}')).filter_map(name_of).collect()
    }

    /// Both sides cast the same memory, so a field that one of them lacks or has elsewhere calls
    /// the wrong function.
    #[test]
    fn the_table_has_the_same_fields_in_rust_and_in_cpp() {
        let rust = fields(include_str!("table.rs"), "pub struct CudaTable {", |line| {
            Some(line.trim().strip_prefix("pub ")?.split_once(':')?.0.to_owned())
        });
        let cpp = fields(include_str!("../../cpp/cuda_table.h"), "struct CudaTable {", |line| {
            let line = line.trim();
            let function = || Some(line.split_once("(*")?.1.split_once(')')?.0.to_owned());
            let flag = || Some(line.strip_prefix("bool ")?.strip_suffix(';')?.to_owned());
            if line.starts_with("//") { None } else { function().or_else(flag) }
        });
        assert!(rust.len() > 20, "{rust:?}");
        assert_eq!(rust, cpp);
    }

    /// A field that `librectify_cuda.so` leaves null ends the process at its first call.
    #[test]
    fn the_cuda_library_fills_every_field() {
        let fills = include_str!("../../../cuda/cpp/table.cpp");
        let all = fields(include_str!("table.rs"), "pub struct CudaTable {", |line| {
            Some(line.trim().strip_prefix("pub ")?.split_once(':')?.0.to_owned())
        });
        for field in all.iter().filter(|&field| field != "on_host") {
            assert!(fills.contains(&format!("all.{field} = {field};")), "{field} is not filled in");
        }
    }
}
