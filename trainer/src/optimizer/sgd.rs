//! Stochastic gradient descent with momentum over the flat parameter groups.

use models::Parameters;
use tch::Tensor;

use super::{Optimizer, handles, rate_of, zeros};
use crate::data_parallel::Slice;
use crate::numbers::Numbers;

/// As `torch.optim.SGD` without dampening, in one pass over memory: weight decay is part of the gradient, the momentum a running sum.
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

    fn step(&mut self, parameters: &Parameters, numbers: &Numbers) {
        for (index, slice) in self.slices.iter().enumerate() {
            let group = &parameters.groups()[slice.group];
            let [values, grads] = slice.values_and_grads(parameters);
            let rule = kernels::optimizer::Sgd {
                momentum: self.momentum,
                nesterov: self.nesterov,
                weight_decay: if group.weight_decay { self.weight_decay } else { 0.0 },
            };
            let rate = rate_of(group, numbers);
            rule.step(&values, &grads, self.sums.get(index), &rate).expect("slices of one shape on one device");
        }
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        if self.sums.is_empty() { Vec::new() } else { vec![("momentum_buffer.", handles(&self.sums))] }
    }
}
