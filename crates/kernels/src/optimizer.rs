//! Optimiser steps over flat buffers: AdamW and SGD in one pass over memory, LAMB in two.

use std::ops::Range;
use std::ptr;

use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// What a step of AdamW does, with the names of PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
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
    /// Step number `step`, from 1, at learning rate `rate`: libtorch's fused AdamW (`torch.optim.AdamW(fused=True)`).
    ///
    /// Both are scalars on the buffers' device, which alone reads them: a CUDA graph may hold the step.
    ///
    /// # Errors
    /// When kinds, shapes or devices differ.
    pub fn step(&self, buffers: &Buffers<'_>, rate: &Tensor, step: &Tensor) -> Result<(), KernelError> {
        let [beta1, beta2] = self.betas;
        // SAFETY: all are live tensors, changed in place under no other borrow of their data.
        let answer = unsafe {
            ffi::rectify_adamw(
                buffers.values.as_ptr().cast(),
                buffers.grads.as_ptr().cast(),
                buffers.exp_avg.as_ptr().cast(),
                buffers.exp_avg_sq.as_ptr().cast(),
                step.as_ptr().cast(),
                rate.as_ptr().cast(),
                beta1,
                beta2,
                self.weight_decay,
                self.eps,
            )
        };
        check("a step of AdamW", answer)
    }
}

/// What a step of SGD does, with the names of PyTorch's; without dampening.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// How much of the running sum of gradients stays.
    pub momentum: f64,
    /// Whether to look ahead along the sum.
    pub nesterov: bool,
    /// Weight decay, part of the gradient.
    pub weight_decay: f64,
}

impl Sgd {
    /// A step: libtorch's fused SGD (`torch.optim.SGD(fused=True)`). `sum` is the running sum of gradients, zeros before the first
    /// step; none where there is no momentum. The learning rate is a scalar on the buffers' device, as of [`AdamW::step`].
    ///
    /// # Errors
    /// When kinds, shapes or devices differ.
    pub fn step(
        &self,
        values: &Tensor,
        grads: &Tensor,
        sum: Option<&Tensor>,
        rate: &Tensor,
    ) -> Result<(), KernelError> {
        let sum: *const ffi::CTensor = sum.map_or(ptr::null(), |sum| sum.as_ptr().cast());
        let momentum = if sum.is_null() { 0.0 } else { self.momentum };
        // SAFETY: all are live tensors or null, changed in place under no other borrow of their data.
        let answer = unsafe {
            let (values, grads, rate) = (values.as_ptr().cast(), grads.as_ptr().cast(), rate.as_ptr().cast());
            ffi::rectify_sgd(values, grads, sum, rate, momentum, self.nesterov, self.weight_decay)
        };
        check("a step of SGD", answer)
    }
}

/// What a step of LAMB does (You et al., 2020), as timm's `Lamb` with bias correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate of this step.
    pub rate: f64,
    /// How much of each moment stays.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// What gradients are multiplied by first.
    pub gradient_scale: f64,
    /// Whether the step of each tensor is scaled by the norm of its values over that of its update.
    pub adapts: bool,
}

impl Lamb {
    /// Step number `step`, from 1, of the tensors that lie at `tensors` in f32 buffers on a CPU.
    ///
    /// Norms are summed in an order that the lengths alone decide.
    ///
    /// # Errors
    /// When kinds or shapes differ, buffers are not f32 on a CPU, or a tensor lies beyond them.
    pub fn step(&self, buffers: &Buffers<'_>, tensors: &[Range<usize>], step: u64) -> Result<(), KernelError> {
        let ranges: Vec<i64> = tensors.iter().flat_map(|range| [range.start as i64, range.end as i64]).collect();
        let [beta1, beta2] = self.betas;
        // SAFETY: all are live tensors, changed in place under no other borrow of their data; there are two numbers a range.
        let answer = unsafe {
            ffi::rectify_lamb(
                buffers.values.as_ptr().cast(),
                buffers.grads.as_ptr().cast(),
                buffers.exp_avg.as_ptr().cast(),
                buffers.exp_avg_sq.as_ptr().cast(),
                ranges.as_ptr(),
                tensors.len(),
                step,
                self.rate,
                beta1,
                beta2,
                self.weight_decay,
                self.eps,
                self.gradient_scale,
                self.adapts,
            )
        };
        check("a step of LAMB", answer)
    }
}
