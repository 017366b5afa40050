//! The norm of all gradients, and the ways of clipping them.

use models::{Parameter, Parameters};
use tch::{Kind, Tensor, no_grad};

use crate::data_parallel::Slice;

/// How gradients are clipped before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Not at all.
    Off,
    /// All together, so that their common L2 norm is at most this: PyTorch's `clip_grad_norm_`.
    Norm(f64),
    /// Each number by itself, to at most this size: PyTorch's `clip_grad_value_`.
    Value(f64),
    /// Each unit (a row of a matrix, a kernel, a whole vector), so that the norm of its gradient is at most this share of the
    /// norm of its weights (Brock et al., 2021): timm's `adaptive_clip_grad`, which leaves out the last two parameters, a
    /// classifier's.
    Adaptive(f64),
}

impl Clip {
    /// What a config asks for.
    pub fn configured(config: &plan::config::Optimizer) -> Clip {
        match (config.clip_norm, config.clip_value, config.clip_adaptive) {
            (limit, _, _) if limit > 0.0 => Clip::Norm(limit),
            (_, limit, _) if limit > 0.0 => Clip::Value(limit),
            (_, _, limit) if limit > 0.0 => Clip::Adaptive(limit),
            _ => Clip::Off,
        }
    }

    /// Clips the gradients of `slices`, where `norm` is the common L2 norm of all gradients, a scalar on the device.
    pub fn apply(self, parameters: &Parameters, slices: &[Slice], norm: &Tensor) {
        let grads = || slices.iter().map(|slice| slice.of(&parameters.groups()[slice.group].grads));
        no_grad(|| match self {
            Clip::Off => {}
            Clip::Norm(limit) => {
                let scale = ((norm + 1e-6).reciprocal() * limit).clamp_max(1.0);
                grads().for_each(|mut grads| drop(grads.g_mul_(&scale)));
            }
            Clip::Value(limit) => grads().for_each(|mut grads| drop(grads.clamp_(-limit, limit))),
            Clip::Adaptive(share) => {
                let all = parameters.iter().len();
                parameters.iter().take(all.saturating_sub(2)).for_each(|one| clip_units(parameters, one, share));
            }
        });
    }
}

/// The common L2 norm of all gradients, a scalar f32 on the device.
pub fn norm(parameters: &Parameters) -> Tensor {
    let norms: Vec<Tensor> = parameters.groups().iter().map(|group| group.grads.norm()).collect();
    Tensor::stack(&norms, 0).norm().to_kind(Kind::Float)
}

/// Bounds the gradient of each unit of one parameter.
fn clip_units(parameters: &Parameters, parameter: &Parameter, share: f64) {
    let group = &parameters.groups()[parameter.group];
    let units = match *parameter.tensor.size() {
        [] | [_] => 1,
        [first, ..] => first,
    };
    let rows = |buffer: &Tensor| {
        buffer.narrow(0, parameter.range.start as i64, parameter.range.len() as i64).view([units, -1]) // (units, the rest)
    };
    let norms = |rows: &Tensor| rows.norm_scalaropt_dim(2, [1i64].as_slice(), true); // (units, 1)
    let mut grads = rows(&group.grads);
    let (limits, found) = (norms(&rows(&group.values)).clamp_min(1e-3) * share, norms(&grads));
    let scale = (&limits / found.clamp_min(1e-6)).where_self(&found.ge_tensor(&limits), &limits.ones_like());
    let _ = grads.g_mul_(&scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::model;

    #[test]
    fn the_norm_is_over_all_groups_and_bounded_by_the_limit() {
        let model = model();
        let parameters = model.parameters();
        let fill = |value: f64| {
            for group in parameters.groups() {
                let _ = group.grads.shallow_clone().fill_(value);
            }
        };
        let slices = Slice::whole_groups(parameters);
        let clipped = |clip: Clip| {
            let norm = norm(parameters);
            clip.apply(parameters, &slices, &norm);
            norm.double_value(&[])
        };
        let count: usize = parameters.groups().iter().map(|group| group.grads.numel()).sum();
        let expected = (count as f64 * 0.25).sqrt();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * b, "{a} and {b}");

        fill(0.5);
        close(clipped(Clip::Off), expected);
        close(clipped(Clip::Norm(2.0)), expected);
        close(clipped(Clip::Norm(100.0)), 2.0);
        close(clipped(Clip::Off), 2.0);
    }
}
