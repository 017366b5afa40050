//! `[eval]`: when and how the validation split is evaluated.

use crate::schema::{Kind, section};

section! {
    /// `[eval]`: when and how the validation split is evaluated. After the last step it always is.
    pub struct Eval {
        /// Epochs between two evaluations, rounded to steps; fractions are allowed; 0 = only after the last step.
        every_epochs: f64 = 1.0, Kind::Number { min: 0.0, max: 1e6 };
        /// Images of one batch, per rank.
        batch_size: usize = 128, Kind::Whole { min: 1, max: 1 << 20 };
    }
}
