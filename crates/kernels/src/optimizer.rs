//! Optimiser steps over flat buffers, each in one pass.

use tch::{Kind, Tensor};

use crate::error::check;
use crate::{KernelError, ffi};

/// What a step of AdamW does, with the names of PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub rate: f64,
    /// How much of each moment stays.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// The memory of one flat buffer of parameters; all laid out alike.
pub struct Buffers<'a> {
    /// The parameters.
    pub values: &'a Tensor,
    /// Their gradients.
    pub grads: &'a Tensor,
    /// The first moment.
    pub exp_avg: &'a Tensor,
    /// The second moment.
    pub exp_avg_sq: &'a Tensor,
}

impl AdamW {
    /// Step number `step`, from 1: libtorch's fused AdamW (`torch.optim.AdamW(fused=True)`).
    ///
    /// # Errors
    /// When kinds, shapes or devices differ.
    pub fn step(&self, buffers: &Buffers<'_>, step: u64) -> Result<(), KernelError> {
        let number = Tensor::full([1], step as f64, (Kind::Float, buffers.values.device()));
        let [beta1, beta2] = self.betas;
        // SAFETY: all are live tensors, changed in place under no other borrow of their data.
        let answer = unsafe {
            ffi::rectify_adamw(
                buffers.values.as_ptr().cast(),
                buffers.grads.as_ptr().cast(),
                buffers.exp_avg.as_ptr().cast(),
                buffers.exp_avg_sq.as_ptr().cast(),
                number.as_ptr().cast(),
                self.rate,
                beta1,
                beta2,
                self.weight_decay,
                self.eps,
            )
        };
        check("a step of AdamW", answer)
    }
}
