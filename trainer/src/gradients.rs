//! The norm of all gradients, and clipping by it.

use models::Parameters;
use tch::{Kind, Tensor, no_grad};

/// Scales all gradients so that their common L2 norm is at most `limit`; 0 leaves them as they are.
///
/// Returns the norm before clipping, a scalar on the device. As PyTorch's `clip_grad_norm_`.
pub fn clip_by_norm(parameters: &Parameters, limit: f64) -> Tensor {
    no_grad(|| {
        let norms: Vec<Tensor> = parameters.groups().iter().map(|group| group.grads.norm()).collect();
        let norm = Tensor::stack(&norms, 0).norm();
        if limit > 0.0 {
            let scale = ((&norm + 1e-6).reciprocal() * limit).clamp_max(1.0);
            for group in parameters.groups() {
                let _ = group.grads.shallow_clone().g_mul_(&scale);
            }
        }
        norm.to_kind(Kind::Float)
    })
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
        let count: usize = parameters.groups().iter().map(|group| group.grads.numel()).sum();
        let expected = (count as f64 * 0.25).sqrt();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * b, "{a} and {b}");

        fill(0.5);
        close(clip_by_norm(parameters, 0.0).double_value(&[]), expected);
        close(clip_by_norm(parameters, 2.0).double_value(&[]), expected);
        close(clip_by_norm(parameters, 100.0).double_value(&[]), 2.0);
        close(clip_by_norm(parameters, 0.0).double_value(&[]), 2.0);
    }
}
