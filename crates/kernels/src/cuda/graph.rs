//! CUDA graphs: the work of a step, written down once and started with one call.

use std::ffi::c_void;
use std::ptr;

use super::{number, table};
use crate::KernelError;
use crate::error::check;

/// Work on a device that can be done again, on the same memory.
#[derive(Debug)]
pub struct Graph {
    graph: *mut c_void,
}

// SAFETY: libtorch's graph belongs to no thread once it is whole, and `replay` changes nothing in it but the device's work.
unsafe impl Send for Graph {}

impl Graph {
    /// Writes down what `work` asks of a device, instead of doing it, and answers with what it returned: tensors whose memory
    /// is filled when the graph is replayed.
    ///
    /// The work goes to a stream of its own and takes memory from a pool of its own, which lives as long as the graph. It must
    /// not wait for the device, and what it reads must stay where it is. Do the same work once or twice before, so that
    /// kernels are compiled and libraries have their memory.
    ///
    /// # Errors
    /// When something in `work` cannot be captured.
    ///
    /// # Panics
    /// When CUDA is not loaded, or `work` panics.
    pub fn capture<T>(device: usize, work: impl FnOnce() -> T) -> Result<(Graph, T), KernelError> {
        let mut graph = ptr::null_mut();
        // SAFETY: `graph` is written before null is answered.
        check("a graph", unsafe { (table().graph_begin)(number(device), &mut graph) })?;
        // From here on freed when it is dropped, which also ends a capture that work left by a panic.
        let graph = Graph { graph };
        let found = work();
        // SAFETY: the graph lives.
        check("a graph", unsafe { (table().graph_end)(graph.graph) })?;
        Ok((graph, found))
    }

    /// Starts the work on the current stream.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn replay(&self) -> Result<(), KernelError> {
        // SAFETY: the graph lives and is whole.
        check("a graph", unsafe { (table().graph_replay)(self.graph) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made in `capture`, and nobody else's.
        unsafe { (table().graph_free)(self.graph) }
    }
}
