//! Lion over the flat parameter groups.

use models::Parameters;
use tch::{Tensor, no_grad};

use super::{Optimizer, decay, handles, rate_of, zeros};
use crate::data_parallel::Slice;
use crate::numbers::Numbers;

/// Lion (Chen et al., 2023) as timm's `Lion`: moves every value by the learning rate, in the direction of the sign of a
/// momentum; weight decay is apart from the gradient.
pub struct Lion {
    betas: [f64; 2],
    weight_decay: f64,
    slices: Vec<Slice>,
    exp_avg: Vec<Tensor>,
}

impl Lion {
    /// An optimiser for `slices` of `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> Lion {
        let exp_avg = zeros(parameters, &slices);
        Lion { betas: config.betas(), weight_decay: config.weight_decay, slices, exp_avg }
    }
}

impl Optimizer for Lion {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn step(&mut self, parameters: &Parameters, numbers: &Numbers) {
        let [for_update, for_memory] = self.betas;
        no_grad(|| {
            for (slice, exp_avg) in self.slices.iter().zip(&mut self.exp_avg) {
                let [mut values, grads] = slice.values_and_grads(parameters);
                let group = &parameters.groups()[slice.group];
                let rate = rate_of(group, numbers);
                decay(group, &mut values, &(&rate * self.weight_decay));
                let update = exp_avg.lerp(&grads, 1.0 - for_update).sign_();
                values -= update * rate;
                let _ = exp_avg.lerp_(&grads, 1.0 - for_memory);
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg))]
    }
}
