//! AdamW over the flat parameter groups.

use models::Parameters;
use tch::{Tensor, no_grad};

/// AdamW with decoupled weight decay (Loshchilov & Hutter, 2019), with the operations and their order as in PyTorch's.
pub struct AdamW {
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    moments: Vec<Moments>,
}

/// The running moments of one parameter group, 1-D and laid out as its values.
struct Moments {
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

impl AdamW {
    /// An optimiser for `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters) -> AdamW {
        let moments = parameters
            .groups()
            .iter()
            .map(|group| Moments { exp_avg: group.values.zeros_like(), exp_avg_sq: group.values.zeros_like() })
            .collect();
        let [beta1, beta2] = config.betas;
        AdamW { betas: (beta1, beta2), eps: config.eps, weight_decay: config.weight_decay, moments }
    }

    /// Takes the step that follows `finished_steps` steps, from the gradients that lie in the groups.
    pub fn step(&mut self, parameters: &Parameters, learning_rate: f64, finished_steps: u64) {
        let t = (finished_steps + 1) as f64;
        let (beta1, beta2) = self.betas;
        let second_scale = (1.0 - beta2.powf(t)).sqrt();
        no_grad(|| {
            for (group, moments) in parameters.groups().iter().zip(&mut self.moments) {
                let (mut values, grads) = (group.values.shallow_clone(), &group.grads);
                let learning_rate = learning_rate * group.lr_scale;
                let step_size = learning_rate / (1.0 - beta1.powf(t));
                if group.weight_decay {
                    let _ = values.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
                }
                let _ = moments.exp_avg.lerp_(grads, 1.0 - beta1);
                let _ = moments.exp_avg_sq.g_mul_scalar_(beta2);
                moments.exp_avg_sq += grads.square() * (1.0 - beta2);
                let denominator = (moments.exp_avg_sq.sqrt() / second_scale).g_add_scalar_(self.eps);
                values -= &moments.exp_avg / denominator * step_size;
            }
        });
    }

    /// What the optimiser remembers, as `(prefix of the names in a checkpoint, one buffer a parameter group)`.
    pub fn buffers(&self) -> [(&'static str, Vec<Tensor>); 2] {
        let first = self.moments.iter().map(|moments| moments.exp_avg.shallow_clone()).collect();
        let second = self.moments.iter().map(|moments| moments.exp_avg_sq.shallow_clone()).collect();
        [("exp_avg.", first), ("exp_avg_sq.", second)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::model;

    /// The update as the paper writes it, in f64, one number at a time.
    struct Reference {
        value: f64,
        first: f64,
        second: f64,
    }

    impl Reference {
        fn step(&mut self, grad: f64, rate: f64, decay: f64, t: i32) {
            self.value -= rate * decay * self.value;
            self.first = 0.9 * self.first + 0.1 * grad;
            self.second = 0.999 * self.second + 0.001 * grad * grad;
            let (first, second) = (self.first / (1.0 - 0.9f64.powi(t)), self.second / (1.0 - 0.999f64.powi(t)));
            self.value -= rate * first / (second.sqrt() + 1e-8);
        }
    }

    #[test]
    fn follows_the_paper_in_both_groups() {
        let model = model();
        let parameters = model.parameters();
        let config = plan::config::Optimizer { weight_decay: 0.3, ..Default::default() };
        let mut optimizer = AdamW::new(&config, parameters);
        assert_eq!(parameters.groups().len(), 2);
        let start: Vec<f64> = parameters.groups().iter().map(|group| group.values.double_value(&[3])).collect();
        let mut references: Vec<Reference> =
            start.iter().map(|&value| Reference { value, first: 0.0, second: 0.0 }).collect();
        for step in 0..20 {
            let (grad, rate) = ((step as f64 * 0.7).sin(), 1e-2 / (1.0 + step as f64));
            for (group, reference) in parameters.groups().iter().zip(&mut references) {
                let _ = group.grads.shallow_clone().fill_(grad);
                let decay = if group.weight_decay { 0.3 } else { 0.0 };
                reference.step(f64::from(grad as f32), rate, decay, step + 1);
            }
            optimizer.step(parameters, rate, step as u64);
            for (group, reference) in parameters.groups().iter().zip(&references) {
                let value = group.values.double_value(&[3]);
                assert!((value - reference.value).abs() < 1e-6, "step {step}: {value} and {}", reference.value);
            }
        }
    }
}
