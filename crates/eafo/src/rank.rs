//! Activations ranked by entropy, and how far that order agrees with measured accuracy.

use serde::Serialize;

use crate::EafoError;
use crate::density::Density;
use crate::entropy::{Entropy, Output, Plain};
use crate::function::{Function, Map};
use crate::quadrature::Tolerance;

/// One function's entropy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// The function, with its parameters where they are not the initial ones.
    pub activation: String,
    /// The entropy of its output, in nats.
    pub entropy: Entropy,
    /// Discrete and continuous part together.
    pub mixed: f64,
    /// Standard deviation of its output; `None` where it is not finite.
    pub deviation: Option<f64>,
    /// The entropy of the output scaled to standard deviation 1; `None` likewise.
    pub normalised: Option<f64>,
}

/// The functions on a density, by rising scale-normalised entropy.
///
/// # Errors
/// [`EafoError::Integral`].
pub fn rank(functions: &[Function], density: &dyn Density) -> Result<Vec<Ranked>, EafoError> {
    let plain = Plain(density);
    let mut ranked = Vec::new();
    for function in functions {
        let output = Output::new(function, &plain);
        let entropy = output.entropy(function.closeness(Tolerance::default()))?;
        let of_moments = function.closeness(Tolerance { absolute: 1e-9, relative: 1e-9 });
        let deviation = output.moments(of_moments).ok().map(|(_, deviation)| deviation);
        let normalised = deviation.map(|deviation| entropy.normalised(deviation));
        ranked.push(Ranked { activation: function.name(), mixed: entropy.mixed(), entropy, deviation, normalised });
    }
    let key = |ranked: &Ranked| ranked.normalised.unwrap_or(f64::INFINITY);
    ranked.sort_by(|a, b| key(a).total_cmp(&key(b)));
    Ok(ranked)
}

/// Spearman's rank correlation of pairs, with mean ranks for ties; `None` for fewer than three pairs and where one side is constant.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let (a, b) = (ranks(pairs.iter().map(|pair| pair.0)), ranks(pairs.iter().map(|pair| pair.1)));
    let mean = 0.5 * (pairs.len() as f64 + 1.0);
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let below = (sum(&a, &a) * sum(&b, &b)).sqrt();
    (below > 0.0).then(|| sum(&a, &b) / below)
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let below = |x: f64| values.iter().filter(|other| **other < x).count() as f64;
    let equal = |x: f64| values.iter().filter(|other| **other == x).count() as f64;
    values.iter().map(|x| below(*x) + 0.5 * (equal(*x) + 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spearman_is_that_of_scipy() {
        let pairs = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)];
        // scipy.stats.spearmanr gives 0.8207826816681233.
        assert!((spearman(&pairs).unwrap() - 0.820_782_681_668_123_3).abs() < 1e-14);
        assert_eq!(spearman(&[(1.0, 9.0), (2.0, 4.0), (3.0, 1.0)]), Some(-1.0));
        assert_eq!(spearman(&pairs[..2]), None);
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn all_functions_are_ranked_by_normalised_entropy() {
        let gaussian = crate::density::parse("gaussian").unwrap();
        let ranked = rank(&Function::all(), gaussian.as_ref()).unwrap();
        assert_eq!(ranked.len(), Function::names().count());
        assert!(ranked.windows(2).all(|pair| pair[0].normalised <= pair[1].normalised));
        // Of all laws with one variance the Gaussian has the most entropy.
        assert_eq!(ranked.iter().map(|r| r.activation.as_str()).filter(|name| *name == "identity").count(), 1);
        let identity = ranked.iter().find(|ranked| ranked.activation == "identity").unwrap();
        assert!(ranked.iter().filter(|r| r.entropy.atoms.is_empty()).all(|r| r.normalised <= identity.normalised));
    }
}
