//! `[optimizer]`: how gradients move parameters.

use crate::schema::{Kind, NumberOrder, choice, section};

choice! {
    /// The update rule.
    pub enum OptimizerName {
        /// Stochastic gradient descent with momentum, as `torch.optim.SGD`.
        Sgd = "sgd",
        /// Adam with decoupled weight decay, as `torch.optim.AdamW`.
        AdamW = "adamw",
        /// Adam with a trust ratio for each tensor, as timm's `Lamb`.
        Lamb = "lamb",
        /// The sign of a momentum, as timm's `Lion`.
        Lion = "lion",
        /// Orthogonalised momentum for matrices and AdamW for the rest, as timm's `Muon`.
        Muon = "muon",
    }
}

choice! {
    /// How the learning rate follows from the batch.
    pub enum ScaleRule {
        /// Not at all.
        None = "none",
        /// In proportion to it.
        Linear = "linear",
        /// With its square root.
        Sqrt = "sqrt",
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
    ///
    /// The optional keys belong to some optimisers and are refused for the others; absent, the optimiser keeps its own.
    pub struct Optimizer {
        /// The update rule.
        name: OptimizerName = OptimizerName::AdamW, Kind::OneOf { what: "an optimiser", names: OptimizerName::names };
        /// The learning rate at its peak: for the batch as it is, or for one of `base_batch` images where `scale` says how it grows.
        learning_rate: f64 = 5e-4, Kind::Positive { max: 1000.0 };
        /// How the peak grows with `train.batch_size`: not at all, "linear" (times batch over `base_batch`), or "sqrt" (times the root of that).
        scale: ScaleRule = ScaleRule::None, Kind::OneOf { what: "a rule", names: ScaleRule::names };
        /// The batch that `learning_rate` is for, in images; with `scale`; default 512, as in DeiT and Swin.
        base_batch: Option<usize> = None, Kind::Whole { min: 1, max: 1 << 24 };
        /// Whether `scale` also scales the warm-up's first and the final learning rate, as Swin does; DeiT scales the peak alone.
        scale_ends: bool = false, Kind::Flag;
        /// Layer-wise decay of the learning rate, from the head down to the embedding, as timm's `layer_decay`; 1 = off.
        layer_decay: f64 = 1.0, Kind::Number { min: 0.01, max: 1.0 };
        /// Decay of the running means of the gradient and of its square (lion: for the update and for the memory); default [0.9, 0.999] for adamw and lamb, [0.9, 0.99] for lion, [0.9, 0.95] for muon's AdamW.
        betas: Option<[f64; 2]> = None, Kind::Numbers { count: 2, min: 0.0, max: 0.999_999_999, order: NumberOrder::Any };
        /// Added to the root of the second mean; default 1e-8 for adamw, 1e-6 for lamb, 1e-7 for muon.
        eps: Option<f64> = None, Kind::Positive { max: 1.0 };
        /// Decay of the running sum (sgd, default 0.9) or mean (muon, default 0.95) of gradients.
        momentum: Option<f64> = None, Kind::Number { min: 0.0, max: 0.999_999_999 };
        /// Whether sgd and muon look one step ahead along the momentum; default false.
        nesterov: Option<bool> = None, Kind::Flag;
        /// Lamb's own bound on the norm of all gradients, before its moments; 0 = none; default 1, as in timm.
        max_grad_norm: Option<f64> = None, Kind::Number { min: 0.0, max: 1e9 };
        /// Weight decay: times the learning rate per step; for sgd and lamb it is part of the gradient or of the update, as in PyTorch and timm.
        weight_decay: f64 = 0.05, Kind::Number { min: 0.0, max: 100.0 };
        /// Which parameters get weight decay.
        decay: DecayRule = DecayRule::Matrices, Kind::OneOf { what: "a rule", names: DecayRule::names };
        /// The norm of all gradients together, to which larger ones are scaled down; 0 = off. At most one of the `clip_` keys is above 0.
        clip_norm: f64 = 0.0, Kind::Number { min: 0.0, max: 1e9 };
        /// The largest size of any single gradient; larger ones are cut to it; 0 = off.
        clip_value: f64 = 0.0, Kind::Number { min: 0.0, max: 1e9 };
        /// Adaptive clipping: the largest norm of a unit's gradient over the norm of its weights, as timm's `agc`; 0 = off; 0.01 is usual.
        clip_adaptive: f64 = 0.0, Kind::Number { min: 0.0, max: 1e9 };
    }
}

impl Optimizer {
    /// Decay of the first and of the second running mean.
    pub fn betas(&self) -> [f64; 2] {
        self.betas.unwrap_or(match self.name {
            OptimizerName::Lion => [0.9, 0.99],
            OptimizerName::Muon => [0.9, 0.95],
            OptimizerName::Sgd | OptimizerName::AdamW | OptimizerName::Lamb => [0.9, 0.999],
        })
    }

    /// What keeps the denominators from zero.
    pub fn eps(&self) -> f64 {
        self.eps.unwrap_or(match self.name {
            OptimizerName::Lamb => 1e-6,
            OptimizerName::Muon => 1e-7,
            OptimizerName::Sgd | OptimizerName::AdamW | OptimizerName::Lion => 1e-8,
        })
    }

    /// Decay of the momentum.
    pub fn momentum(&self) -> f64 {
        self.momentum.unwrap_or(if self.name == OptimizerName::Muon { 0.95 } else { 0.9 })
    }

    /// Whether the update looks ahead along the momentum.
    pub fn nesterov(&self) -> bool {
        self.nesterov.unwrap_or(false)
    }

    /// Lamb's bound on the norm of all gradients; 0 = none.
    pub fn max_grad_norm(&self) -> f64 {
        self.max_grad_norm.unwrap_or(1.0)
    }

    /// By how much a batch of `global_batch` images scales the learning rate.
    pub fn scale_factor(&self, global_batch: usize) -> f64 {
        let ratio = global_batch as f64 / self.base_batch.unwrap_or(512) as f64;
        match self.scale {
            ScaleRule::None => 1.0,
            ScaleRule::Linear => ratio,
            ScaleRule::Sqrt => ratio.sqrt(),
        }
    }
}
