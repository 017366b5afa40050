//! Probability densities on the line: what every density can tell, and how one is written.

mod family;
mod kernel;
mod mixture;
mod polygon;
mod text;

use std::fmt::Debug;

pub use family::{Family, Scaled};
pub use kernel::Kernel;
pub use mixture::Mixture;
pub(crate) use mixture::log_sum;
pub use polygon::Polygon;
pub use text::{NAMES, parse, parse_mixture, read_samples};
pub(crate) use text::{numbers, split};

use crate::EafoError;
use crate::quadrature::{Integral, Tolerance, integrate_pieces};

/// The law of a real number with a continuous density and a finite variance.
pub trait Density: Debug + Send + Sync {
    /// The text that [`parse`] reads back, such as `gaussian(0, 2)`; a description where the density came from samples.
    fn name(&self) -> String;

    /// `ln p(x)`, with its digits in both tails; −∞ outside the support.
    fn log_pdf(&self, x: f64) -> f64;

    /// `p(x)`.
    fn pdf(&self, x: f64) -> f64 {
        self.log_pdf(x).exp()
    }

    /// `p`, `p′` and `p″` at `x`; one side's where they jump.
    fn slopes(&self, x: f64) -> [f64; 3];

    /// The probability of being at most `x`, to 1e-12 absolutely and with its digits in the lower tail.
    fn cdf(&self, x: f64) -> f64;

    /// The `x` with `cdf(x) = probability`, for a probability in (0, 1); the support's ends at 0 and 1.
    fn quantile(&self, probability: f64) -> f64;

    /// The smallest interval that holds all of it.
    fn support(&self) -> (f64, f64);

    /// The mean.
    fn mean(&self) -> f64;

    /// The variance.
    fn variance(&self) -> f64;

    /// Points where `p` or `p′` jumps or around which `p` is sharp, rising; quadrature is split there.
    fn breaks(&self) -> Vec<f64>;

    /// Points inside the support where `p′` jumps, so that the correction does.
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The standard deviation.
    fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    /// A draw, by inversion.
    fn sample(&self, rng: &mut random::Rng) -> f64 {
        // In (0, 1): 0 would be the end of the support, which may be infinite.
        self.quantile(rng.uniform() + 0.5 / (1u64 << 53) as f64)
    }
}

/// Ends of the intervals over which quadrature of anything under `density` is split: support, breaks and some quantiles.
pub fn ends(density: &dyn Density) -> Vec<f64> {
    let (low, high) = density.support();
    let mut ends = density.breaks();
    ends.extend([1e-6, 0.5, 1.0 - 1e-6].map(|probability| density.quantile(probability)));
    ends.extend([low, high]);
    sorted(ends, low, high)
}

/// `points` within `[low, high]`, rising, each once.
pub(crate) fn sorted(mut points: Vec<f64>, low: f64, high: f64) -> Vec<f64> {
    points.retain(|x| (low..=high).contains(x));
    points.sort_by(f64::total_cmp);
    points.dedup();
    points
}

/// The differential entropy `−∫ p ln p`, in nats.
///
/// # Errors
/// [`EafoError::Integral`] where it cannot be integrated.
pub fn entropy(density: &dyn Density) -> Result<Integral, EafoError> {
    let integrand = |x| {
        let log = density.log_pdf(x);
        if log == f64::NEG_INFINITY { 0.0 } else { -log.exp() * log }
    };
    let what = format!("−p ln p of {}", density.name());
    integrate_pieces(&what, &integrand, &ends(density), density.deviation(), Tolerance::default())
}

/// A number as short as it reads back.
pub(crate) fn short(value: f64) -> String {
    format!("{value}")
}
