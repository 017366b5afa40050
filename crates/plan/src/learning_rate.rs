//! The learning rate of each step.

use std::f64::consts::PI;

/// A linear warm-up followed by half a cosine that began at step 0.
///
/// The semantics of timm's `CosineLRScheduler` with `t_in_epochs=False`, `warmup_prefix=False` and one cycle: the cosine
/// counts the warm-up's steps too, so that the first step after the warm-up lies a little below the peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmupCosine {
    /// The rate at step 0, where there is a warm-up.
    pub start: f64,
    /// The rate that the warm-up rises to and the cosine falls from.
    pub peak: f64,
    /// The rate at the end, and ever after.
    pub end: f64,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole curve, those of the warm-up included.
    pub total_steps: u64,
}

impl WarmupCosine {
    /// The rate with which step `step` (counted from 0) moves the parameters.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            let slope = (self.peak - self.start) / self.warmup_steps as f64;
            return self.start + step as f64 * slope;
        }
        if step >= self.total_steps {
            return self.end;
        }
        let phase = PI * step as f64 / self.total_steps as f64;
        self.end + 0.5 * (self.peak - self.end) * (1.0 + phase.cos())
    }
}
