//! LAMB over the flat parameter groups.

use kernels::optimizer::Buffers;
use models::Parameters;
use tch::{Device, Kind, Tensor, no_grad};

use super::{Optimizer, bias_correction, handles, rate_of, zeros};
use crate::data_parallel::Slice;
use crate::gradients::norm;
use crate::numbers::Numbers;

/// LAMB (You et al., 2020) as timm's `Lamb`: Adam's update plus weight decay, scaled for each tensor that decays by the norm
/// of its values over that of its update. Gradients are first bounded by a norm of their own.
pub struct Lamb {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    max_grad_norm: f64,
    slices: Vec<Slice>,
    exp_avg: Vec<Tensor>,
    exp_avg_sq: Vec<Tensor>,
}

impl Lamb {
    /// An optimiser for `slices` of `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> Lamb {
        assert_eq!(slices, Slice::whole_groups(parameters), "LAMB looks at whole tensors");
        Lamb {
            betas: config.betas(),
            eps: config.eps(),
            weight_decay: config.weight_decay,
            max_grad_norm: config.max_grad_norm(),
            exp_avg: zeros(parameters, &slices),
            exp_avg_sq: zeros(parameters, &slices),
            slices,
        }
    }

    /// A step with loops of our own, which libtorch has not: two passes over memory in place of a dozen.
    fn step_in_two_passes(&self, parameters: &Parameters, numbers: &Numbers, bound: Option<Tensor>) {
        let number = |scalar: Tensor| scalar.double_value(&[]);
        let gradient_scale = bound.map_or(1.0, |bound| 1.0 / number(bound));
        for (index, group) in parameters.groups().iter().enumerate() {
            let weight_decay = if group.weight_decay { self.weight_decay } else { 0.0 };
            let rule = kernels::optimizer::Lamb {
                rate: number(rate_of(group, numbers)),
                betas: self.betas,
                weight_decay,
                eps: self.eps,
                gradient_scale,
                adapts: weight_decay > 0.0,
            };
            let buffers = Buffers {
                values: &group.values,
                grads: &group.grads,
                exp_avg: &self.exp_avg[index],
                exp_avg_sq: &self.exp_avg_sq[index],
            };
            let members = parameters.iter().filter(|parameter| parameter.group == index);
            let tensors: Vec<_> = members.map(|parameter| parameter.range.clone()).collect();
            rule.step(&buffers, &tensors, number(numbers.step()) as u64).expect("buffers of one shape on a CPU");
        }
    }

    /// Moves the moments of group `index`, and returns Adam's update from them.
    fn direction(&mut self, index: usize, grads: &Tensor, step: &Tensor) -> Tensor {
        let [beta1, beta2] = self.betas;
        let (exp_avg, exp_avg_sq) = (&mut self.exp_avg[index], &mut self.exp_avg_sq[index]);
        let _ = exp_avg.lerp_(grads, 1.0 - beta1);
        let _ = exp_avg_sq.g_mul_scalar_(beta2);
        *exp_avg_sq += grads.square() * (1.0 - beta2);
        let denominator = (exp_avg_sq.sqrt() / bias_correction(beta2, step).sqrt()).g_add_scalar_(self.eps);
        (&*exp_avg / bias_correction(beta1, step)).g_div_(&denominator)
    }
}

impl Optimizer for Lamb {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn step(&mut self, parameters: &Parameters, numbers: &Numbers) {
        no_grad(|| {
            let bound = (self.max_grad_norm > 0.0).then(|| (norm(parameters) / self.max_grad_norm).clamp_min(1.0));
            if parameters.device() == Device::Cpu && parameters.kind() == Kind::Float {
                return self.step_in_two_passes(parameters, numbers, bound);
            }
            for (index, group) in parameters.groups().iter().enumerate() {
                let bounded = bound.as_ref().map(|bound| &group.grads / bound);
                let mut update = self.direction(index, bounded.as_ref().unwrap_or(&group.grads), &numbers.step());
                let mut values = group.values.shallow_clone();
                if group.weight_decay && self.weight_decay > 0.0 {
                    update += &values * self.weight_decay;
                    adapt(parameters, index, &values, &update);
                }
                values -= update * rate_of(group, numbers);
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg)), ("exp_avg_sq.", handles(&self.exp_avg_sq))]
    }
}

/// Scales the update of each tensor of group `index` by its trust ratio, which is 1 where either norm is 0.
fn adapt(parameters: &Parameters, index: usize, values: &Tensor, update: &Tensor) {
    for parameter in parameters.iter().filter(|parameter| parameter.group == index) {
        let window = |buffer: &Tensor| buffer.narrow(0, parameter.range.start as i64, parameter.range.len() as i64);
        let mut part = window(update);
        let (weight, step) = (window(values).norm(), part.norm());
        let usable = weight.gt(0.0).logical_and(&step.gt(0.0));
        let ratio = (&weight / &step).where_self(&usable, &weight.ones_like());
        let _ = part.g_mul_(&ratio);
    }
}
