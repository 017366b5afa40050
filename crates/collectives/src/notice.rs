//! `Notice`: the short messages beside the ring by which ranks find out who is missing, and why all must stop.

use std::time::Duration;

use crate::CommError;
#[cfg(feature = "mpi")]
use crate::operation::OPERATION_BYTES;
use crate::operation::Operation;

/// Bytes of every notice on the wire.
#[cfg(feature = "mpi")]
pub(crate) const NOTICE_BYTES: usize = 512;

/// Ranks that fit into a notice; of more missing ones the first are named.
#[cfg(feature = "mpi")]
const RANKS_MAX: usize = 64;

/// What one rank tells another outside the ring.
#[derive(Clone)]
pub(crate) struct Notice {
    /// Who says it.
    pub from: usize,
    /// The operation that rank is in.
    pub operation: Operation,
    pub news: News,
}

#[derive(Clone)]
pub(crate) enum News {
    /// "I have been waiting for long in this operation: who is there?" The number comes back in the answer.
    WhoIsThere(u64),
    /// "I am: I wait in an operation too."
    Here(u64),
    /// "I have given up: these ranks did not come."
    TimedOut { waiting_for: Vec<usize>, waited: Duration },
    /// "I have given up: that rank is in another operation."
    Mismatch { peer: usize, theirs: Operation },
    /// "I have given up: that rank is gone."
    Gone { peer: usize },
}

impl Notice {
    /// The error that makes every rank stop; `None` for a notice that stops nobody.
    pub fn error(&self) -> Option<CommError> {
        let phase = self.operation.phase();
        match &self.news {
            News::WhoIsThere(_) | News::Here(_) => None,
            News::TimedOut { waiting_for, waited } => {
                Some(CommError::Timeout { rank: self.from, waiting_for: waiting_for.clone(), phase, waited: *waited })
            }
            News::Mismatch { peer, theirs } => Some(CommError::Mismatch {
                rank: self.from,
                ours: self.operation.to_string(),
                peer: *peer,
                theirs: theirs.to_string(),
            }),
            News::Gone { peer } => Some(CommError::PeerGone { rank: *peer, phase }),
        }
    }
}

#[cfg(feature = "mpi")]
impl Notice {
    /// The notice as it goes over the wire: two operations (the second empty but for a mismatch), then numbers.
    pub fn encode(&self) -> [u8; NOTICE_BYTES] {
        let mut bytes = [0; NOTICE_BYTES];
        self.operation.encode(&mut bytes[..OPERATION_BYTES]);
        let mut words = vec![self.from as u32];
        let mut second = None;
        match &self.news {
            News::WhoIsThere(call) => words.extend([0, *call as u32, (*call >> 32) as u32]),
            News::Here(call) => words.extend([1, *call as u32, (*call >> 32) as u32]),
            News::TimedOut { waiting_for, waited } => {
                let named = &waiting_for[..waiting_for.len().min(RANKS_MAX)];
                words.extend([2, waited.as_millis().min(u128::from(u32::MAX)) as u32, named.len() as u32]);
                words.extend(named.iter().map(|&rank| rank as u32));
            }
            News::Mismatch { peer, theirs } => {
                words.extend([3, *peer as u32]);
                second = Some(theirs);
            }
            News::Gone { peer } => words.extend([4, *peer as u32]),
        }
        for (place, word) in bytes[2 * OPERATION_BYTES..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if let Some(operation) = second {
            operation.encode(&mut bytes[OPERATION_BYTES..2 * OPERATION_BYTES]);
        }
        bytes
    }

    /// `None` for bytes that no rank of this version wrote.
    pub fn decode(bytes: &[u8]) -> Option<Notice> {
        let word = |at: usize| {
            let at = 2 * OPERATION_BYTES + 4 * at;
            Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let call = || Some(u64::from(word(2)?) | u64::from(word(3)?) << 32);
        let news = match word(1)? {
            0 => News::WhoIsThere(call()?),
            1 => News::Here(call()?),
            2 => News::TimedOut {
                waited: Duration::from_millis(word(2)?.into()),
                waiting_for: (0..word(3)? as usize)
                    .map(|at| word(4 + at).map(|rank| rank as usize))
                    .collect::<Option<_>>()?,
            },
            3 => News::Mismatch { peer: word(2)? as usize, theirs: Operation::decode(bytes.get(OPERATION_BYTES..)?)? },
            4 => News::Gone { peer: word(2)? as usize },
            _ => return None,
        };
        Some(Notice { from: word(0)? as usize, operation: Operation::decode(bytes)?, news })
    }
}
