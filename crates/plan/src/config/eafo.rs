//! `[eafo]`: how corrections of activations follow the density of pre-activations.

use crate::schema::{Kind, section};

section! {
    /// `[eafo]`: how pre-activations are followed, and with them the corrections of dynamic activations (`model.activation.dynamic`).
    pub struct Eafo {
        /// Steps from one refresh of the corrections to the next.
        every_steps: u64 = 100, Kind::Whole { min: 1, max: 1 << 32 };
        /// How much of a correction a refresh replaces.
        rate: f64 = 0.5, Kind::Positive { max: 1.0 };
        /// Whether every activation is followed, also those that no refresh changes: entropies of all layers go to the metrics.
        watch: bool = false, Kind::Flag;
    }
}
