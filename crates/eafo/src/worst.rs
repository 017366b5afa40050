//! The worst activation between two bounds (WAFBC): the distribution function, whose output is uniform.

use crate::EafoError;
use crate::density::{Density, short};
use crate::function::Map;

/// `low + (high − low)·∫₋∞ˣ p`: of all increasing functions with these bounds the one whose output has the most entropy,
/// `ln(high − low)`.
#[derive(Clone, Copy, Debug)]
pub struct Worst<'a> {
    density: &'a dyn Density,
    low: f64,
    high: f64,
}

impl<'a> Worst<'a> {
    /// The worst activation for a density, between two bounds.
    ///
    /// # Errors
    /// [`EafoError::Interval`] for bounds that are not finite or do not rise.
    pub fn new(density: &'a dyn Density, low: f64, high: f64) -> Result<Worst<'a>, EafoError> {
        if !(low.is_finite() && high.is_finite() && low < high) {
            let reason = "is no pair of bounds: they are finite, and the first is lower".to_owned();
            return Err(EafoError::Interval { low, high, reason });
        }
        Ok(Worst { density, low, high })
    }

    /// The entropy of its output.
    pub fn entropy(&self) -> f64 {
        (self.high - self.low).ln()
    }
}

impl Map for Worst<'_> {
    fn name(&self) -> String {
        format!("wafbc({}, {})", short(self.low), short(self.high))
    }

    fn value(&self, x: f64) -> f64 {
        let cdf = if x.is_infinite() { f64::from(x > 0.0) } else { self.density.cdf(x) };
        self.low + (self.high - self.low) * cdf
    }

    fn slope(&self, x: f64) -> f64 {
        (self.high - self.low) * self.density.pdf(x)
    }

    fn log_slope(&self, x: f64) -> f64 {
        (self.high - self.low).ln() + self.density.log_pdf(x)
    }

    fn kinks(&self) -> Vec<f64> {
        self.density.kinks()
    }
}
