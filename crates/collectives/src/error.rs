//! `CommError`: why ranks could not agree, naming ranks and phase.

use std::time::Duration;

use world::Exit;

/// Why an operation of a communicator failed. Except for [`CommError::Disagreement`] and [`CommError::OnDevice`], the
/// communicator is of no use afterwards: every later call fails at once with [`CommError::Poisoned`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommError {
    /// Ranks did not come in time.
    #[error(
        "rank {rank} waited {:.1} s in {phase:?} for {}: look at the log of what did not come, or raise [parallel] timeout_s",
        waited.as_secs_f64(),
        ranks_in_words(waiting_for)
    )]
    Timeout {
        /// The rank that waited.
        rank: usize,
        /// The ranks that did not come.
        waiting_for: Vec<usize>,
        /// What the ranks were doing.
        phase: String,
        /// How long nothing moved.
        waited: Duration,
    },
    /// Two ranks are in different operations: a bug in the program that calls, or different configurations.
    #[error(
        "rank {rank} is in {ours}, but rank {peer} is in {theirs}: all ranks must make the same calls in the same order"
    )]
    Mismatch {
        /// The rank that noticed.
        rank: usize,
        /// Its operation.
        ours: String,
        /// The rank that is elsewhere.
        peer: usize,
        /// That rank's operation.
        theirs: String,
    },
    /// A rank ended while others still counted on it.
    #[error("rank {rank} ended while the others were in {phase:?}: its own log says why")]
    PeerGone {
        /// The rank that ended.
        rank: usize,
        /// What the others were doing.
        phase: String,
    },
    /// Ranks hold different values where they must hold the same.
    #[error("{phase}: {} not hold what rank 0 holds", ranks_that_do(ranks))]
    Disagreement {
        /// What was compared.
        phase: String,
        /// The ranks whose value is not rank 0's, in order.
        ranks: Vec<usize>,
    },
    /// The numbers are in a GPU's memory, and this communicator reaches only the host's: a bug in the program that calls.
    #[error(
        "rank {rank}, {phase:?}: the numbers are in a GPU's memory, which only a communicator of `connect_devices` reaches"
    )]
    OnDevice {
        /// The rank that says so.
        rank: usize,
        /// What it was to do.
        phase: String,
    },
    /// An earlier operation failed; nothing can be sent any more.
    #[error("this communicator failed earlier: {first}")]
    Poisoned {
        /// What failed first.
        first: Box<CommError>,
    },
    /// The library below reported an error.
    #[error("rank {rank}, {phase:?}: {message}")]
    Transport {
        /// The rank that says so.
        rank: usize,
        /// What it was doing.
        phase: String,
        /// The library's words.
        message: String,
    },
    /// The communication thread of this process is gone: it panicked, a bug of ours.
    #[error("the communication thread has ended: its message stands above in this rank's log")]
    ThreadEnded,
    /// The ranks could not be connected in the first place.
    #[error("cannot connect the ranks: {reason}")]
    Connect {
        /// What went wrong, and what to do.
        reason: String,
        /// Whether the same may work when tried again.
        transient: bool,
    },
}

impl CommError {
    /// The exit code with which a process should end for this error; `None` for a bug of ours.
    pub fn exit(&self) -> Option<Exit> {
        match self {
            CommError::Timeout { .. } | CommError::PeerGone { .. } | CommError::Transport { .. } => Some(Exit::Retry),
            CommError::Connect { transient, .. } => Some(if *transient { Exit::Retry } else { Exit::Config }),
            CommError::Disagreement { .. } => Some(Exit::Config),
            CommError::Poisoned { first } => first.exit(),
            CommError::Mismatch { .. } | CommError::OnDevice { .. } | CommError::ThreadEnded => None,
        }
    }
}

/// "rank 2", "ranks 1 and 3", "ranks 1, 2 and 5".
pub(crate) fn ranks_in_words(ranks: &[usize]) -> String {
    match ranks {
        [] => "another rank".into(),
        [one] => format!("rank {one}"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(usize::to_string).collect();
            format!("ranks {} and {last}", first.join(", "))
        }
    }
}

fn ranks_that_do(ranks: &[usize]) -> String {
    format!("{} {}", ranks_in_words(ranks), if ranks.len() == 1 { "does" } else { "do" })
}
