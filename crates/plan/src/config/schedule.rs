//! `[schedule]`: how long to train, and how the learning rate changes.

use crate::schema::{Kind, choice, section};

choice! {
    /// The shape of the learning rate over the steps, after a linear warm-up.
    pub enum ScheduleName {
        /// Half a cosine, as timm's `CosineLRScheduler` per step without warm-up prefix.
        Cosine = "cosine",
        /// A straight line, as timm's `PolyLRScheduler` of power 1.
        Linear = "linear",
        /// A drop every few epochs, as timm's `StepLRScheduler`.
        Step = "step",
        /// The peak to the end.
        Constant = "constant",
        /// Warm-up, stable, decay: the peak until a last stretch in which it falls, as timm's `WSDLRScheduler`.
        Wsd = "wsd",
    }
}

choice! {
    /// How the learning rate falls in the last stretch of "wsd".
    pub enum DecayShape {
        /// In a straight line (arXiv 2106.04560).
        Linear = "linear",
        /// As 1 less the root of the share that is done (arXiv 2405.18392).
        OneMinusSqrt = "1-sqrt",
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
        /// The learning rate at the end of cosine, linear and wsd; default 1e-5.
        final_learning_rate: Option<f64> = None, Kind::Number { min: 0.0, max: 1000.0 };
        /// For step: epochs from one drop to the next, counted from the beginning; default 30. For wsd: epochs of the last stretch, in which the rate falls; default a fifth of what follows the warm-up.
        decay_epochs: Option<f64> = None, Kind::Positive { max: 1e6 };
        /// For step: what every drop multiplies the learning rate by; default 0.1.
        decay_rate: Option<f64> = None, Kind::Positive { max: 1.0 };
        /// For wsd: how the learning rate falls in the last stretch; default "1-sqrt".
        decay_shape: Option<DecayShape> = None, Kind::OneOf { what: "a shape", names: DecayShape::names };
        /// End after this many steps without changing the curve; 0 = at the end of the curve.
        max_steps: u64 = 0, Kind::Whole { min: 0, max: 1 << 48 };
    }
}

impl Schedule {
    /// The learning rate at the end of a curve that has one, unscaled.
    pub fn final_learning_rate(&self) -> f64 {
        self.final_learning_rate.unwrap_or(1e-5)
    }
}
