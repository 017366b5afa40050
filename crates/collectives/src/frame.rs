//! `Frame`: the memory of one message of the ring, and the pool that it returns to.

use crate::operation::{OPERATION_BYTES, Operation};

/// Bytes of numbers in one message. Large enough to hide the cost of a message, small enough to stay in a core's cache
/// and to let a ring of ranks work on several at once; and below the 64 KiB up to which Open MPI sends at once over TCP, while for
/// more it first asks the other end.
pub(crate) const SEGMENT_BYTES: usize = 60 * 1024;

/// Bytes of the largest message.
pub(crate) const FRAME_BYTES: usize = OPERATION_BYTES + SEGMENT_BYTES;

/// One message: an operation, then up to [`SEGMENT_BYTES`] of payload.
pub(crate) struct Frame {
    memory: Vec<u8>, // always FRAME_BYTES long
    len: usize,      // of the message
}

impl Frame {
    fn new() -> Frame {
        Frame { memory: vec![0; FRAME_BYTES], len: OPERATION_BYTES }
    }

    /// Begins a message of `operation`, with no payload yet.
    pub fn begin(&mut self, operation: &Operation) {
        operation.encode(&mut self.memory[..OPERATION_BYTES]);
        self.len = OPERATION_BYTES;
    }

    /// The first `len` bytes behind the operation, which become the payload.
    pub fn payload_of(&mut self, len: usize) -> &mut [u8] {
        self.len = OPERATION_BYTES + len;
        &mut self.memory[OPERATION_BYTES..self.len]
    }

    pub fn payload(&self) -> &[u8] {
        &self.memory[OPERATION_BYTES..self.len]
    }

    pub fn operation(&self) -> Option<Operation> {
        Operation::decode(&self.memory[..self.len.min(OPERATION_BYTES)])
    }

    /// The whole message, for the link.
    #[cfg(feature = "mpi")]
    pub fn message(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// All memory of the frame, for the link to receive into.
    #[cfg(feature = "mpi")]
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Says how long the message is that was received into the memory. `false` if it cannot be one.
    #[cfg(feature = "mpi")]
    pub fn set_len(&mut self, len: usize) -> bool {
        self.len = len;
        (OPERATION_BYTES..=FRAME_BYTES).contains(&len)
    }
}

/// Frames at rest. After the first few operations nothing is allocated any more.
#[derive(Default)]
pub(crate) struct Pool {
    frames: Vec<Frame>,
}

/// As many as the link keeps busy in both directions, and a few that are being forwarded; more are freed.
const FRAMES_KEPT: usize = 32;

impl Pool {
    pub fn take(&mut self) -> Frame {
        self.frames.pop().unwrap_or_else(Frame::new)
    }

    pub fn give(&mut self, frame: Frame) {
        if self.frames.len() < FRAMES_KEPT {
            self.frames.push(frame);
        }
    }
}
