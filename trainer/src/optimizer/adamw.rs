//! AdamW over the flat parameter groups.

use models::Parameters;
use tch::{Tensor, no_grad};

use super::{Optimizer, decay, handles, rate_of, zeros};

/// AdamW with decoupled weight decay (Loshchilov & Hutter, 2019), with the operations and their order as in PyTorch's.
pub struct AdamW {
    adam: Adam,
    weight_decay: f64,
    exp_avg: Vec<Tensor>,
    exp_avg_sq: Vec<Tensor>,
}

/// The update of Adam without any weight decay.
pub(super) struct Adam {
    betas: [f64; 2],
    eps: f64,
}

impl AdamW {
    /// An optimiser for `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters) -> AdamW {
        let (exp_avg, exp_avg_sq) = (zeros(parameters), zeros(parameters));
        AdamW { adam: Adam::new(config), weight_decay: config.weight_decay, exp_avg, exp_avg_sq }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, parameters: &Parameters, learning_rate: f64, finished_steps: u64) {
        no_grad(|| {
            let moments = self.exp_avg.iter_mut().zip(&mut self.exp_avg_sq);
            for (group, (exp_avg, exp_avg_sq)) in parameters.groups().iter().zip(moments) {
                let rate = rate_of(group, learning_rate);
                decay(group, rate * self.weight_decay);
                let mut values = group.values.shallow_clone();
                self.adam.update(&mut values, &group.grads, exp_avg, exp_avg_sq, rate, finished_steps);
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg)), ("exp_avg_sq.", handles(&self.exp_avg_sq))]
    }
}

impl Adam {
    pub fn new(config: &plan::config::Optimizer) -> Adam {
        Adam { betas: config.betas(), eps: config.eps() }
    }

    /// Moves `values` and both moments, all laid out alike.
    pub fn update(
        &self,
        values: &mut Tensor,
        grads: &Tensor,
        exp_avg: &mut Tensor,
        exp_avg_sq: &mut Tensor,
        rate: f64,
        finished_steps: u64,
    ) {
        let t = (finished_steps + 1) as f64;
        let [beta1, beta2] = self.betas;
        let step_size = rate / (1.0 - beta1.powf(t));
        let second_scale = (1.0 - beta2.powf(t)).sqrt();
        let _ = exp_avg.lerp_(grads, 1.0 - beta1);
        let _ = exp_avg_sq.g_mul_scalar_(beta2);
        *exp_avg_sq += grads.square() * (1.0 - beta2);
        let denominator = (exp_avg_sq.sqrt() / second_scale).g_add_scalar_(self.eps);
        *values -= &*exp_avg / denominator * step_size;
    }
}
