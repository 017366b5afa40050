//! The Bayes error of classes on a line, before and after an activation: the premise of the search, examined.

use serde::Serialize;

use crate::EafoError;
use crate::density::{Density, Mixture};
use crate::entropy::{Entropy, Output, Plain};
use crate::function::{Function, Map};
use crate::pieces::Direction;
use crate::quadrature::Tolerance;

/// Entropy and Bayes error of a mixture whose parts are classes, before and after an activation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examination {
    /// The activation.
    pub activation: String,
    /// Differential entropy of the input, in nats.
    pub entropy_before: f64,
    /// Entropy of the output.
    pub entropy_after: Entropy,
    /// The same with the output scaled to standard deviation 1, less the same of the input: `None` where that is not finite.
    pub normalised_change: Option<f64>,
    /// The least share of errors of any classifier that sees the input.
    pub error_before: f64,
    /// The least share of errors of any classifier that sees the output.
    pub error_after: f64,
}

/// Examines a function on classes, one a part of the mixture.
///
/// A function with an inverse cannot change the Bayes error, whatever it does to entropy; what merges values raises it or leaves it.
///
/// # Errors
/// [`EafoError::Integral`].
pub fn examine(function: &Function, classes: &Mixture) -> Result<Examination, EafoError> {
    let plain = Plain(classes);
    let tolerance = Tolerance { absolute: 1e-9, relative: 1e-9 };
    let identity = Function::parse("identity")?;
    let before = Output::new(&identity, &plain);
    let after = Output::new(function, &plain);
    let (entropy_before, entropy_after) = (before.entropy(tolerance)?.mixed(), after.entropy(tolerance)?);
    let rough = Tolerance { absolute: 1e-8, relative: 1e-8 };
    let normalised_change = after
        .moments(rough)
        .ok()
        .map(|(_, deviation)| entropy_after.normalised(deviation) - (entropy_before - classes.deviation().ln()));
    Ok(Examination {
        activation: function.name(),
        entropy_before,
        entropy_after,
        normalised_change,
        error_before: error(&identity, classes, &before)?,
        error_after: error(function, classes, &after)?,
    })
}

/// `1 − E[max over classes of P(class | output)]`: quadrature over what moves, class by class over what is flat.
fn error(map: &dyn Map, classes: &Mixture, output: &Output<'_>) -> Result<f64, EafoError> {
    let share = |weight: f64, part: &dyn Density, preimages: &[f64]| -> f64 {
        preimages
            .iter()
            .map(|x| weight * (part.log_pdf(*x) - map.log_slope(*x) - anchor(map, classes, preimages)).exp())
            .sum()
    };
    let best = |piece: usize, x: f64| {
        let preimages = output.preimages(piece, x);
        let shares: Vec<f64> = classes.parts().iter().map(|(weight, part)| share(*weight, part, &preimages)).collect();
        shares.iter().fold(0.0, |most: f64, share| most.max(*share)) / shares.iter().sum::<f64>()
    };
    let tolerance = Tolerance { absolute: 1e-9, relative: 1e-9 };
    let moving = output.expect("the Bayes error", &best, tolerance)?.value;
    let mut right = moving;
    for atom in output.atoms() {
        let flat = output.pieces().iter().filter(|piece| {
            let value = if piece.high.is_finite() { piece.at_high } else { piece.at_low };
            piece.direction == Direction::Flat && value == atom.value
        });
        let flat: Vec<_> = flat.collect();
        let mass = |(weight, part): &(f64, crate::density::Scaled)| {
            flat.iter().map(|piece| weight * (part.cdf(piece.high) - part.cdf(piece.low))).sum::<f64>()
        };
        right += classes.parts().iter().map(mass).fold(0.0, f64::max);
    }
    Ok((1.0 - right).max(0.0))
}

/// The largest logarithm among the terms, so that none overflows.
fn anchor(map: &dyn Map, classes: &Mixture, preimages: &[f64]) -> f64 {
    let terms = preimages.iter().map(|x| classes.log_pdf(*x) - map.log_slope(*x));
    let most = terms.fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special::normal_cdf;

    fn two(apart: f64) -> Mixture {
        Mixture::new(&[(0.5, -apart, 1.0), (0.5, apart, 1.0)]).unwrap()
    }

    fn examined(name: &str, classes: &Mixture) -> Examination {
        examine(&Function::parse(name).unwrap(), classes).unwrap()
    }

    #[test]
    fn two_gaussians_have_their_closed_form() {
        for apart in [0.5, 1.0, 2.0] {
            let found = examined("identity", &two(apart));
            assert!((found.error_before - normal_cdf(-apart)).abs() < 1e-8, "{found:?}");
            assert!((found.error_after - found.error_before).abs() < 1e-9);
        }
    }

    #[test]
    fn what_has_an_inverse_leaves_the_error_and_what_merges_raises_it() {
        let classes = Mixture::new(&[(0.3, -2.0, 0.7), (0.5, 0.0, 1.0), (0.2, 2.5, 0.5)]).unwrap();
        for name in ["softplus", "tanh", "sigmoid", "prelu"] {
            let found = examined(name, &classes);
            assert!((found.error_after - found.error_before).abs() < 1e-7, "{name}: {found:?}");
            assert!((found.entropy_after.mixed() - found.entropy_before).abs() > 0.1, "{name} changes entropy");
        }
        for name in ["relu", "gelu"] {
            let found = examined(name, &classes);
            assert!(found.error_after > found.error_before + 1e-4, "{name}: {found:?}");
        }
    }

    #[test]
    fn relu_on_two_classes_has_its_closed_form() {
        // Below 0 the class at −1 is guessed, above 0 the class at 1, as without ReLU: nothing is lost.
        let found = examined("relu", &two(1.0));
        assert!((found.error_after - normal_cdf(-1.0)).abs() < 1e-8, "{found:?}");
        // Moved to the left, the border falls where ReLU has merged everything: all in it go to the first class.
        let left = Mixture::new(&[(0.5, -3.0, 1.0), (0.5, -1.0, 1.0)]).unwrap();
        let expected = 0.5 * normal_cdf(1.0) + 0.5 * (1.0 - normal_cdf(3.0));
        let found = examined("relu", &left);
        assert!((found.error_after - expected).abs() < 1e-8, "{found:?}, {expected}");
        // |x| of classes that mirror each other tells nothing.
        assert!((examined("prelu(-1)", &two(2.0)).error_after - 0.5).abs() < 1e-8);
    }
}
