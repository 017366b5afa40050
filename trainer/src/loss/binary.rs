//! Binary cross-entropy for each class.

use tch::{Reduction, Tensor};

use super::Targets;

/// As timm's `BinaryCrossEntropy`, of mixed targets too. DeiT III's loss is this with threshold 0 and no smoothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binary {
    /// Share of the target spread evenly over all classes, in `[0, 1)`.
    pub smoothing: f64,
    /// Targets above this become 1, all others 0; `None` leaves them as they are.
    pub threshold: Option<f64>,
    /// Whether classes are summed over rather than averaged.
    pub sum_classes: bool,
}

impl Binary {
    /// The loss of `logits` `(N, C)`, a differentiable scalar.
    pub fn of(&self, logits: &Tensor, targets: &Targets) -> Tensor {
        let mut target = targets.dense(logits.size()[1], self.smoothing); // (N, C)
        if let Some(threshold) = self.threshold {
            target = target.gt(threshold).to_kind(logits.kind());
        }
        let each = logits.binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::None); // (N, C)
        let over_classes = if self.sum_classes {
            each.sum_dim_intlist([1i64].as_slice(), false, logits.kind())
        } else {
            each.mean_dim([1i64].as_slice(), false, logits.kind())
        };
        targets.mean(&over_classes)
    }
}
