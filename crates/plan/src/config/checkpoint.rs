//! `[checkpoint]`: when the state is saved, and which checkpoints are kept.

use crate::schema::{Kind, section};

section! {
    /// `[checkpoint]`: when the state is saved, and which are kept. After the last step it always is.
    pub struct Checkpoint {
        /// Epochs between two checkpoints, rounded to steps; fractions are allowed; 0 = only after the last step.
        every_epochs: f64 = 1.0, Kind::Number { min: 0.0, max: 1e6 };
        /// Steps between two checkpoints, in place of `every_epochs`; 0 = not set.
        every_steps: u64 = 0, Kind::Whole { min: 0, max: 1 << 48 };
        /// How many of the newest are kept.
        keep: usize = 2, Kind::Whole { min: 1, max: 1_000_000 };
        /// Whether the one with the best top-1 is kept as well.
        best: bool = true, Kind::Flag;
    }
}
