//! `Link`: what carries messages around the ring of ranks, and notices between any two; nothing in it blocks.

use std::time::Duration;

use crate::frame::{Frame, Pool};
use crate::notice::Notice;

/// Why a link cannot carry on.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The rank at the other end is gone.
    Gone(usize),
    /// The library below reported an error.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only MPI reports errors in words"))]
    Failed(String),
}

/// Reliable, ordered messages from the previous rank and to the next, in the ring 0 → 1 → … → size−1 → 0, and short
/// notices between any two ranks. Owned by the communication thread, which alone calls it.
pub(crate) trait Link {
    fn rank(&self) -> usize;

    fn size(&self) -> usize;

    /// The library below, with its version, where there is one.
    fn library(&self) -> Option<String> {
        None
    }

    /// Whether [`Link::send`] may be called.
    fn can_send(&mut self) -> bool;

    /// Begins to send a message to the next rank.
    fn send(&mut self, frame: Frame) -> Result<(), LinkError>;

    /// The next message from the previous rank, if it is here. Frames come from the pool.
    fn receive(&mut self, pool: &mut Pool) -> Result<Option<Frame>, LinkError>;

    /// Takes the frames that have been sent back into the pool. Returns whether there were any.
    fn reclaim(&mut self, pool: &mut Pool) -> Result<bool, LinkError>;

    /// Takes back a frame that was received and is done with.
    fn put_away(&mut self, frame: Frame, pool: &mut Pool) {
        pool.give(frame);
    }

    /// Whether everything sent has left this rank: only then may its thread stop calling.
    fn is_flushed(&self) -> bool;

    /// Sends a notice, as well as can be: a rank that is gone is no error here.
    fn notify(&mut self, to: usize, notice: &Notice);

    /// The next notice from any rank.
    fn hear(&mut self) -> Option<Notice>;

    /// Whether ranks must end their links together.
    const ENDS_TOGETHER: bool;

    /// Ends the link in order, after all ranks have agreed to. A link that is only dropped leaves everything as it is.
    fn close(self);

    /// Ends this process and tells the other ranks to.
    fn abort(&mut self, exit_code: i32) -> !;

    /// Spends some time while there is nothing to do. A link that can be woken by a message may return earlier.
    fn idle(&mut self, at_most: Duration) {
        std::thread::sleep(at_most);
    }
}
