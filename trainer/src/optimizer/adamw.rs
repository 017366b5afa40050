//! AdamW over the flat parameter groups.

use kernels::optimizer::Buffers;
use models::Parameters;
use tch::{Tensor, no_grad};

use super::{Optimizer, bias_correction, handles, rate_of, zeros};
use crate::data_parallel::Slice;
use crate::numbers::Numbers;

/// AdamW with decoupled weight decay (Loshchilov & Hutter, 2019): PyTorch's fused form, one pass over memory.
pub struct AdamW {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    slices: Vec<Slice>,
    exp_avg: Vec<Tensor>,
    exp_avg_sq: Vec<Tensor>,
}

impl AdamW {
    /// An optimiser for `slices` of `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> AdamW {
        let (exp_avg, exp_avg_sq) = (zeros(parameters, &slices), zeros(parameters, &slices));
        let (betas, eps, weight_decay) = (config.betas(), config.eps(), config.weight_decay);
        AdamW { betas, eps, weight_decay, slices, exp_avg, exp_avg_sq }
    }
}

impl Optimizer for AdamW {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn step(&mut self, parameters: &Parameters, numbers: &Numbers) {
        let moments = self.exp_avg.iter().zip(&self.exp_avg_sq);
        for (slice, (exp_avg, exp_avg_sq)) in self.slices.iter().zip(moments) {
            let [values, grads] = slice.values_and_grads(parameters);
            let group = &parameters.groups()[slice.group];
            let rule = kernels::optimizer::AdamW {
                betas: self.betas,
                weight_decay: if group.weight_decay { self.weight_decay } else { 0.0 },
                eps: self.eps,
            };
            let buffers = Buffers { values: &values, grads: &grads, exp_avg, exp_avg_sq };
            let rate = rate_of(group, numbers);
            rule.step(&buffers, &rate, &numbers.step()).expect("slices of one shape on one device");
        }
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg)), ("exp_avg_sq.", handles(&self.exp_avg_sq))]
    }
}

/// The update of Adam without any weight decay, for parameters that another rule does not take.
pub(super) struct Adam {
    betas: [f64; 2],
    eps: f64,
}

impl Adam {
    pub fn new(config: &plan::config::Optimizer) -> Adam {
        Adam { betas: config.betas(), eps: config.eps() }
    }

    /// Moves `values` and both moments, all laid out alike, in step number `step` at learning rate `rate`, both scalars; with the
    /// operations and their order as in PyTorch's.
    pub fn update(
        &self,
        values: &mut Tensor,
        grads: &Tensor,
        exp_avg: &mut Tensor,
        exp_avg_sq: &mut Tensor,
        rate: &Tensor,
        step: &Tensor,
    ) {
        no_grad(|| {
            let [beta1, beta2] = self.betas;
            let step_size = rate / bias_correction(beta1, step);
            let second_scale = bias_correction(beta2, step).sqrt();
            let _ = exp_avg.lerp_(grads, 1.0 - beta1);
            let _ = exp_avg_sq.g_mul_scalar_(beta2);
            *exp_avg_sq += grads.square() * (1.0 - beta2);
            let denominator = (exp_avg_sq.sqrt() / second_scale).g_add_scalar_(self.eps);
            *values -= &*exp_avg / denominator * step_size;
        });
    }
}
