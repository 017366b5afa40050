//! `[schedule]`: how long to train, and how the learning rate changes.

use crate::schema::{Kind, choice, section};

choice! {
    /// The shape of the learning rate over the steps.
    pub enum ScheduleName {
        /// A linear warm-up, then half a cosine, as timm's `CosineLRScheduler` per step without warm-up prefix.
        Cosine = "cosine",
    }
}

section! {
    /// `[schedule]`: how long to train, and how the learning rate changes.
    pub struct Schedule {
        /// The shape of the learning rate over the steps.
        name: ScheduleName = ScheduleName::Cosine, Kind::OneOf { what: "a schedule", names: ScheduleName::names };
        /// Passes over the training split, warm-up included; fractions are allowed.
        epochs: f64 = 100.0, Kind::Positive { max: 1e6 };
        /// Epochs of linear warm-up; less than `epochs`; 0 = none.
        warmup_epochs: f64 = 5.0, Kind::Number { min: 0.0, max: 1e6 };
        /// The learning rate of the first step, where there is a warm-up.
        warmup_learning_rate: f64 = 1e-6, Kind::Number { min: 0.0, max: 1000.0 };
        /// The learning rate at the end of the cosine.
        final_learning_rate: f64 = 1e-5, Kind::Number { min: 0.0, max: 1000.0 };
        /// End after this many steps without changing the curve; 0 = at the end of the curve.
        max_steps: u64 = 0, Kind::Whole { min: 0, max: 1 << 48 };
    }
}
