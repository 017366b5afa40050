//! `Transfer`: what one operation does with the messages of the ring.

use crate::frame::Frame;

/// What one operation does with messages. The engine sends the rank's own first, then what it passes on, in order.
pub(crate) trait Transfer {
    /// Writes the payload of this rank's next own message; `false` when there are no more.
    fn produce(&mut self, frame: &mut Frame) -> bool;

    /// Takes the next message of the previous rank, and may change it before it is passed on.
    fn accept(&mut self, payload: &mut [u8]) -> Result<Fate, Malformed>;

    /// Whether messages of this operation are still to come.
    fn expects_more(&self) -> bool;
}

/// What becomes of a message that has arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    PassOn,
    Keep,
}

/// A message that does not belong where it came, though its operation does.
#[derive(Debug)]
pub(crate) struct Malformed;
