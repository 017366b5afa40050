//! Lion over the flat parameter groups.

use models::Parameters;
use tch::{Tensor, no_grad};

use super::{Optimizer, decay, handles, rate_of, zeros};

/// Lion (Chen et al., 2023) as timm's `Lion`: moves every value by the learning rate, in the direction of the sign of a
/// momentum; weight decay is apart from the gradient.
pub struct Lion {
    betas: [f64; 2],
    weight_decay: f64,
    exp_avg: Vec<Tensor>,
}

impl Lion {
    /// An optimiser for `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters) -> Lion {
        Lion { betas: config.betas(), weight_decay: config.weight_decay, exp_avg: zeros(parameters) }
    }
}

impl Optimizer for Lion {
    fn step(&mut self, parameters: &Parameters, learning_rate: f64, _finished_steps: u64) {
        let [for_update, for_memory] = self.betas;
        no_grad(|| {
            for (group, exp_avg) in parameters.groups().iter().zip(&mut self.exp_avg) {
                let rate = rate_of(group, learning_rate);
                decay(group, rate * self.weight_decay);
                let update = exp_avg.lerp(&group.grads, 1.0 - for_update).sign_();
                let mut values = group.values.shallow_clone();
                values -= update * rate;
                let _ = exp_avg.lerp_(&group.grads, 1.0 - for_memory);
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg))]
    }
}
