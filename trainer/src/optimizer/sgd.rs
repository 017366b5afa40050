//! Stochastic gradient descent with momentum over the flat parameter groups.

use models::Parameters;
use tch::{Tensor, no_grad};

use super::{Optimizer, handles, rate_of, zeros};
use crate::data_parallel::Slice;

/// As `torch.optim.SGD` without dampening: weight decay is part of the gradient, the momentum a running sum.
pub struct Sgd {
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    slices: Vec<Slice>,
    sums: Vec<Tensor>, // none without momentum
}

impl Sgd {
    /// An optimiser for `slices` of `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> Sgd {
        let momentum = config.momentum();
        let sums = if momentum > 0.0 { zeros(parameters, &slices) } else { Vec::new() };
        Sgd { momentum, nesterov: config.nesterov(), weight_decay: config.weight_decay, slices, sums }
    }
}

impl Optimizer for Sgd {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn step(&mut self, parameters: &Parameters, learning_rate: f64, _finished_steps: u64) {
        no_grad(|| {
            for (index, slice) in self.slices.iter().enumerate() {
                let group = &parameters.groups()[slice.group];
                let [mut values, grads] = slice.values_and_grads(parameters);
                let decays = group.weight_decay && self.weight_decay > 0.0;
                let mut update = if decays { &grads + &values * self.weight_decay } else { grads };
                if let Some(sum) = self.sums.get_mut(index) {
                    let _ = sum.g_mul_scalar_(self.momentum);
                    *sum += &update;
                    update = if self.nesterov { update + &*sum * self.momentum } else { sum.shallow_clone() };
                }
                values -= update * rate_of(group, learning_rate);
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        if self.sums.is_empty() { Vec::new() } else { vec![("momentum_buffer.", handles(&self.sums))] }
    }
}
