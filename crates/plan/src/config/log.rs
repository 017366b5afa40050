//! `[log]`: what a run reports while it works.

use crate::schema::{Kind, section};

section! {
    /// `[log]`: what a run reports while it works.
    pub struct Log {
        /// Steps between two lines of `metrics.jsonl`.
        every_steps: u64 = 10, Kind::Whole { min: 1, max: 1 << 48 };
        /// Whether the first rank shows a progress bar, where it has a terminal.
        progress: bool = true, Kind::Flag;
    }
}
