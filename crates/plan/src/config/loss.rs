//! `[loss]`: what training minimises.

use crate::schema::{Kind, section};

section! {
    /// `[loss]`: cross-entropy, and how its targets are made.
    pub struct Loss {
        /// Label smoothing: this share of the target is spread evenly over all classes, as in PyTorch's `CrossEntropyLoss`.
        smoothing: f64 = 0.0, Kind::Number { min: 0.0, max: 0.99 };
    }
}
