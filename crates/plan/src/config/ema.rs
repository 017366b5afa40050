//! `[ema]`: the moving average of the weights.

use crate::schema::{Kind, section};

section! {
    /// `[ema]`: the exponential moving average of the weights, evaluated beside them, as timm's `ModelEmaV3`.
    pub struct Ema {
        /// How much of the average stays at an update; 0 = there is none; DeiT: 0.99996.
        decay: f64 = 0.0, Kind::Number { min: 0.0, max: 0.999_999_999 };
        /// Whether the decay of update n, counted from 0, is at most 1 − (1 + n)^(−2/3), as timm's `use_warmup`.
        warmup: bool = false, Kind::Flag;
        /// Steps from one update to the next. The first update takes the weights as they are.
        every_steps: u64 = 1, Kind::Whole { min: 1, max: 1 << 32 };
    }
}
