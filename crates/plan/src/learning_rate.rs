//! The learning rate of each step.

use std::f64::consts::PI;

use crate::config::DecayShape;

/// A linear warm-up followed by a shape that began at step 0.
///
/// The semantics of timm's schedulers with `t_in_epochs=False` and `warmup_prefix=False`: cosine, line and drops count the
/// warm-up's steps too, so that the first step after the warm-up lies a little below the peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// The rate at step 0, where there is a warm-up.
    pub start: f64,
    /// The rate that the warm-up rises to.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole curve, those of the warm-up included.
    pub total_steps: u64,
    /// What follows the warm-up.
    pub shape: Shape,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Half a cosine from the peak at step 0 to `end`: timm's `CosineLRScheduler` of one cycle.
    Cosine {
        /// The rate at the end, and ever after.
        end: f64,
    },
    /// A line from the peak at step 0 to `end`: timm's `PolyLRScheduler` of power 1.
    Linear {
        /// The rate at the end, and ever after.
        end: f64,
    },
    /// The peak.
    Constant,
    /// A drop at every multiple of `every_steps`: timm's `StepLRScheduler`.
    Step {
        /// Steps from one drop to the next; a fraction of a step is kept.
        every_steps: f64,
        /// What each drop multiplies the rate by.
        factor: f64,
    },
    /// The peak until `decay_steps` before the end, then down to `end`: timm's `WSDLRScheduler`.
    WarmupStableDecay {
        /// The rate at the end, and ever after.
        end: f64,
        /// Steps in which the rate falls.
        decay_steps: u64,
        /// How it falls.
        decay: DecayShape,
    },
}

/// Keeps a drop after 0.3 epochs of 1000 steps at step 300, though 0.3 is no binary fraction.
const STEP_ALLOWANCE: f64 = 1e-9;

impl Curve {
    /// The rate with which step `step` (counted from 0) moves the parameters.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            let slope = (self.peak - self.start) / self.warmup_steps as f64;
            return self.start + step as f64 * slope;
        }
        let done = step.min(self.total_steps) as f64 / self.total_steps as f64;
        let between = |end: f64, share: f64| end + (self.peak - end) * share;
        match self.shape {
            Shape::Cosine { end } if step >= self.total_steps => end,
            Shape::Cosine { end } => {
                let phase = PI * step as f64 / self.total_steps as f64;
                end + 0.5 * (self.peak - end) * (1.0 + phase.cos())
            }
            Shape::Linear { end } => between(end, 1.0 - done),
            Shape::Constant => self.peak,
            Shape::Step { every_steps, factor } => {
                self.peak * factor.powf((step as f64 / every_steps + STEP_ALLOWANCE).floor())
            }
            Shape::WarmupStableDecay { end, decay_steps, decay } => {
                let begin = self.total_steps.saturating_sub(decay_steps);
                let share = step.saturating_sub(begin).min(decay_steps) as f64 / decay_steps.max(1) as f64;
                match decay {
                    DecayShape::Linear => between(end, 1.0 - share),
                    DecayShape::OneMinusSqrt => between(end, 1.0 - share.sqrt()),
                }
            }
        }
    }
}
