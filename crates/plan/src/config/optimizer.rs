//! `[optimizer]`: how gradients move parameters.

use crate::schema::{Kind, NumberOrder, choice, section};

choice! {
    /// The update rule.
    pub enum OptimizerName {
        /// Adam with decoupled weight decay, as `torch.optim.AdamW`.
        AdamW = "adamw",
    }
}

choice! {
    /// Which parameters get weight decay.
    pub enum DecayRule {
        /// All of them.
        All = "all",
        /// Only matrices and kernels: no tensor of one dimension or none, no token, no position embedding (timm's rule).
        Matrices = "matrices",
    }
}

section! {
    /// `[optimizer]`: how gradients move parameters.
    pub struct Optimizer {
        /// The update rule.
        name: OptimizerName = OptimizerName::AdamW, Kind::OneOf { what: "an optimiser", names: OptimizerName::names };
        /// The learning rate at its peak, for the whole batch as it is: nothing scales it.
        learning_rate: f64 = 5e-4, Kind::Positive { max: 1000.0 };
        /// Decay of the running means of the gradient and of its square.
        betas: [f64; 2] = [0.9, 0.999], Kind::Numbers { count: 2, min: 0.0, max: 0.999_999_999, order: NumberOrder::Any };
        /// Added to the root of the second mean.
        eps: f64 = 1e-8, Kind::Positive { max: 1.0 };
        /// Weight decay, times the learning rate, per step.
        weight_decay: f64 = 0.05, Kind::Number { min: 0.0, max: 100.0 };
        /// Which parameters get weight decay.
        decay: DecayRule = DecayRule::Matrices, Kind::OneOf { what: "a rule", names: DecayRule::names };
        /// The global norm to which larger gradients are scaled down; 0 = off.
        clip_norm: f64 = 0.0, Kind::Number { min: 0.0, max: 1e9 };
    }
}
