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
