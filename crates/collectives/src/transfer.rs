//! `Transfer`: what one operation does with the messages of the ring.

use crate::frame::Frame;

/// What one operation does with messages. The engine sends what the operation produces first, then what it passes on as it
/// came, in order.
pub(crate) trait Transfer {
    /// Whether [`Transfer::produce`] has a message now.
    fn is_ready(&self) -> bool;

    /// Writes the payload of the next message that this rank makes. Called only when ready.
    fn produce(&mut self, frame: &mut Frame);

    /// Takes the next message of the previous rank.
    fn accept(&mut self, payload: &[u8]) -> Result<Fate, Malformed>;

    /// Whether messages of this operation are still to come.
    fn expects_more(&self) -> bool;
}

/// What becomes of a message that has arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The next rank gets it, unchanged.
    PassOn,
    /// It goes no further.
    Keep,
}

/// A message that does not belong where it came, though its operation does.
#[derive(Debug)]
pub(crate) struct Malformed;
