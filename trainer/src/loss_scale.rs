//! The factor of the loss that keeps gradients of products in f16 from vanishing, and what is done where it was too large.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// PyTorch's `GradScaler`, with its initial values: the loss is multiplied by a factor before backward, and gradients are divided
/// by it afterwards. A step whose gradients are not finite is left out, and the factor halved; after many good steps in a row it
/// is doubled.
///
/// Every rank looks at the same gradient norm, so all have the same factor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    factor: f64,
    /// Steps since the factor last changed, all of them good.
    good_steps: u64,
}

/// Where the factor starts.
const INITIAL: f64 = 65536.0;
/// So many good steps in a row double it.
const PATIENCE: u64 = 2000;
/// Gradients that overflow at this factor would do so without any.
const LEAST: f64 = 1.0;
/// f32 itself ends at 2¹²⁸.
const MOST: f64 = (1_u128 << 100) as f64;

impl Default for LossScale {
    fn default() -> LossScale {
        LossScale { factor: INITIAL, good_steps: 0 }
    }
}

/// The loss that backward starts from: multiplied by the factor, where there is one.
pub fn scaled(loss: &Tensor, scale: Option<LossScale>) -> Tensor {
    scale.map_or_else(|| loss.shallow_clone(), |scale| loss * scale.factor)
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Take,
    /// Its gradients overflowed because of the factor: nothing is updated.
    LeaveOut,
}

impl LossScale {
    /// What the loss is multiplied by.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Looks at the norm of the gradients of a step, and changes the factor for the next one.
    ///
    /// Where even the least factor gives gradients that are not finite, the step is taken all the same: whoever watches for
    /// divergence sees it.
    pub fn judge(&mut self, gradient_norm: f64) -> Verdict {
        if gradient_norm.is_finite() {
            self.good_steps += 1;
            if self.good_steps == PATIENCE {
                *self = LossScale { factor: (2.0 * self.factor).min(MOST), good_steps: 0 };
            }
            return Verdict::Take;
        }
        if self.factor <= LEAST {
            return Verdict::Take;
        }
        *self = LossScale { factor: (self.factor / 2.0).max(LEAST), good_steps: 0 };
        Verdict::LeaveOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_an_overflow_and_doubles_after_many_good_steps() {
        let mut scale = LossScale::default();
        assert_eq!((scale.judge(f64::INFINITY), scale.factor()), (Verdict::LeaveOut, 32768.0));
        assert_eq!((scale.judge(f64::NAN), scale.factor()), (Verdict::LeaveOut, 16384.0));
        for step in 1..PATIENCE {
            assert_eq!((scale.judge(1.0), scale.factor()), (Verdict::Take, 16384.0), "step {step}");
        }
        assert_eq!((scale.judge(1.0), scale.factor()), (Verdict::Take, 32768.0));
    }

    /// An overflow starts the count of good steps anew.
    #[test]
    fn good_steps_count_in_a_row() {
        let mut scale = LossScale::default();
        for _ in 1..PATIENCE {
            scale.judge(1.0);
        }
        scale.judge(f64::NAN);
        for _ in 1..PATIENCE {
            scale.judge(1.0);
        }
        assert_eq!(scale.factor(), 32768.0);
    }

    #[test]
    fn an_overflow_without_any_factor_is_a_divergence() {
        let mut scale = LossScale::default();
        (0..16).for_each(|_| assert_eq!(scale.judge(f64::NAN), Verdict::LeaveOut));
        assert_eq!((scale.factor(), scale.judge(f64::NAN)), (1.0, Verdict::Take));
    }
}
