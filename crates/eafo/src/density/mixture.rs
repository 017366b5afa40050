//! Mixtures of Gaussians.

use super::{Density, Family, Scaled, short};
use crate::{EafoError, root};

/// A weighted mixture of Gaussians.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    parts: Vec<(f64, Scaled)>,
}

impl Mixture {
    /// The mixture of `(weight, mean, standard deviation)`.
    ///
    /// # Errors
    /// [`EafoError::Parameter`] for weights that are not positive or do not sum to 1 (to 1e-6), and for impossible Gaussians.
    pub fn new(parts: &[(f64, f64, f64)]) -> Result<Mixture, EafoError> {
        let refuse = |parameter, value, reason: &str| {
            Err(EafoError::Parameter { of: "mixture".to_owned(), parameter, value, reason: reason.to_owned() })
        };
        if let Some(&(weight, ..)) = parts.iter().find(|(weight, ..)| !(weight.is_finite() && *weight > 0.0)) {
            return refuse("weight", weight, "must be positive");
        }
        let total: f64 = parts.iter().map(|(weight, ..)| weight).sum();
        if (total - 1.0).abs() > 1e-6 {
            return refuse("sum of weights", total, "must be 1");
        }
        let part = |&(weight, mean, deviation): &(f64, f64, f64)| {
            Ok((weight / total, Scaled::new(Family::Gaussian, mean, deviation)?))
        };
        Ok(Mixture { parts: parts.iter().map(part).collect::<Result<_, EafoError>>()? })
    }

    /// Weight and law of each part.
    pub fn parts(&self) -> &[(f64, Scaled)] {
        &self.parts
    }

    fn sum(&self, of: impl Fn(&Scaled) -> f64) -> f64 {
        self.parts.iter().map(|(weight, part)| weight * of(part)).sum()
    }
}

impl Density for Mixture {
    fn name(&self) -> String {
        let part = |(weight, part): &(f64, Scaled)| {
            format!("{}: {}, {}", short(*weight), short(part.location()), short(part.scale()))
        };
        format!("mixture({})", self.parts.iter().map(part).collect::<Vec<_>>().join("; "))
    }

    fn log_pdf(&self, x: f64) -> f64 {
        log_sum(self.parts.iter().map(|(weight, part)| weight.ln() + part.log_pdf(x)))
    }

    fn slopes(&self, x: f64) -> [f64; 3] {
        let mut total = [0.0; 3];
        for (weight, part) in &self.parts {
            let slopes = part.slopes(x);
            for (sum, slope) in total.iter_mut().zip(slopes) {
                *sum += weight * slope;
            }
        }
        total
    }

    fn cdf(&self, x: f64) -> f64 {
        self.sum(|part| part.cdf(x))
    }

    fn quantile(&self, probability: f64) -> f64 {
        if probability <= 0.0 || probability >= 1.0 {
            return if probability <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        let of_parts = || self.parts.iter().map(|(_, part)| part.quantile(probability));
        let (low, high) = (of_parts().fold(f64::INFINITY, f64::min), of_parts().fold(f64::NEG_INFINITY, f64::max));
        root::increasing(|x| (self.cdf(x) - probability, self.pdf(x)), low, high)
    }

    fn support(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }

    fn mean(&self) -> f64 {
        self.sum(Density::mean)
    }

    fn variance(&self) -> f64 {
        let mean = self.mean();
        self.sum(|part| part.variance() + (part.mean() - mean).powi(2))
    }

    fn breaks(&self) -> Vec<f64> {
        let around = |(_, part): &(f64, Scaled)| [-5.0, 0.0, 5.0].map(|by| part.location() + by * part.scale());
        self.parts.iter().flat_map(around).collect()
    }
}

/// `ln Σ e^x`, without overflow.
pub(crate) fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() {
        return most;
    }
    most + logs.map(|log| (log - most).exp()).sum::<f64>().ln()
}
