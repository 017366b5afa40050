//! The search for the step that lowers entropy most, within the steps that leave an inverse.

use super::warp::minimum;
use super::{Corrected, Correction, FirstOrder, Warp, Warped};
use crate::EafoError;
use crate::density::Density;
use crate::entropy::{Entropy, Output, Plain};
use crate::function::Function;
use crate::quadrature::Tolerance;

/// A correction with the step that lowers entropy most, and what was measured.
#[derive(Debug)]
pub struct Derivation<'a> {
    /// The correction, on the interval that was chosen.
    pub correction: Correction<'a>,
    /// The step t; 0 where the function is the worst one already and η vanishes.
    pub step: f64,
    /// Steps up to here leave an inverse.
    pub most: f64,
    /// The entropy of the output before.
    pub before: Entropy,
    /// With the exact inverse of y + t·η.
    pub after: Entropy,
    /// The sign, measured.
    pub sign: Sign,
    /// `step`, or the nearest with which the first-order form is as monotone as the function.
    pub first_order_step: f64,
    /// The entropy with the first-order form at that step.
    pub first_order: Entropy,
    /// Standard deviations of the output before and after; `None` where they are not finite.
    pub deviations: Option<(f64, f64)>,
}

/// Entropies at a small step along the correction and against it. Large steps either way may lower entropy; small ones show the sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sign {
    /// The size of the step.
    pub step: f64,
    /// Entropy at that step.
    pub along: f64,
    /// Entropy at that step in the other direction.
    pub against: f64,
}

/// Probabilities outside the interval that are tried, the widest interval first.
const TAILS: [f64; 3] = [1e-7, 1e-4, 1e-2];
/// Widths of tapers that are tried, in standard deviations.
const TAPERS: [f64; 2] = [0.25, 1.0];
/// A narrower interval must lower entropy by this much more to be taken.
const WORTH: f64 = 1e-4;
/// Steps go up to this share of those that leave an inverse: entropy falls all the way to the end of them, where the new activation is
/// vertical somewhere. So it is at most 10 times as steep as the function.
const WITHIN: f64 = 0.9;

const ROUGH: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-6 };
const FINE: Tolerance = Tolerance { absolute: 1e-10, relative: 1e-10 };

/// The correction of a function for a density with the best step, on `interval` or on the best of some.
///
/// # Errors
/// As [`Correction::new`]; [`EafoError::NotInvertible`] where an interval that was asked for holds a turn or a flat stretch; and
/// [`EafoError::Integral`].
pub fn derive<'a>(
    function: &'a Function,
    density: &'a dyn Density,
    interval: Option<(f64, f64)>,
) -> Result<Derivation<'a>, EafoError> {
    derive_with_share(function, density, interval, 1.0)
}

/// As [`derive`], with this share of the best step: 0.5 goes half the way, −0.5 as far in the other direction.
///
/// # Errors
/// As [`derive`]; [`EafoError::Parameter`] for a share that leaves no inverse.
pub fn derive_with_share<'a>(
    function: &'a Function,
    density: &'a dyn Density,
    interval: Option<(f64, f64)>,
    share: f64,
) -> Result<Derivation<'a>, EafoError> {
    let intervals = match interval {
        Some(interval) => {
            Correction::new(function, density, interval, 0.0)?;
            Correction::require_inverse(function, density, interval)?;
            vec![interval]
        }
        None => TAILS.map(|tail| bulk(density, tail)).to_vec(),
    };
    let mut best: Option<(Correction<'a>, f64, f64)> = None;
    for interval in intervals {
        for taper in TAPERS {
            let correction = Correction::new(function, density, interval, taper * density.deviation())?;
            let (step, entropy) = best_step(&correction)?;
            if best.as_ref().is_none_or(|(_, _, least)| entropy < least - WORTH) {
                best = Some((correction, step, entropy));
            }
        }
    }
    let Some((correction, step, _)) = best else { unreachable!("there is an interval and a taper") };
    let step = within(&correction, share * step)?;
    measure(correction, step)
}

/// As [`derive`] on the widest interval, or the one that is asked for, but with this step, of either sign.
///
/// # Errors
/// As [`derive`]; [`EafoError::Parameter`] for a step that leaves no inverse.
pub fn derive_with_step<'a>(
    function: &'a Function,
    density: &'a dyn Density,
    interval: Option<(f64, f64)>,
    step: f64,
) -> Result<Derivation<'a>, EafoError> {
    if let Some(interval) = interval {
        Correction::new(function, density, interval, 0.0)?;
        Correction::require_inverse(function, density, interval)?;
    }
    let interval = interval.unwrap_or_else(|| bulk(density, TAILS[0]));
    let correction = Correction::new(function, density, interval, TAPERS[0] * density.deviation())?;
    let step = within(&correction, step)?;
    measure(correction, step)
}

/// The step, if it leaves an inverse.
fn within(correction: &Correction<'_>, step: f64) -> Result<f64, EafoError> {
    let (least, most) = correction.steps();
    if step > least && step < most {
        return Ok(step);
    }
    let reason = format!("leaves no inverse; it must be between {least} and {most}");
    Err(EafoError::Parameter { of: "correction".to_owned(), parameter: "step", value: step, reason })
}

/// The interval without this much of the mass on either side; an end of the support that is finite is kept.
fn bulk(density: &dyn Density, tail: f64) -> (f64, f64) {
    let (low, high) = density.support();
    let end = |end: f64, probability: f64| if end.is_finite() { end } else { density.quantile(probability) };
    (end(low, tail), end(high, 1.0 - tail))
}

fn entropy(correction: &Correction<'_>, step: f64, tolerance: Tolerance) -> Result<Entropy, EafoError> {
    let tolerance = correction.function().closeness(tolerance);
    Output::new(correction.function(), &Warped(Warp::new(correction, step))).entropy(tolerance)
}

/// The entropy of the output of the exact corrected activation with a step that leaves an inverse, to about 1e-6.
///
/// # Errors
/// [`EafoError::Integral`].
pub fn entropy_at(correction: &Correction<'_>, step: f64) -> Result<Entropy, EafoError> {
    entropy(correction, step, ROUGH)
}

/// The step of the least entropy, and that entropy: a scan, then golden section around its best.
fn best_step(correction: &Correction<'_>) -> Result<(f64, f64), EafoError> {
    const POINTS: usize = 10;
    let most = correction.steps().1 * WITHIN;
    let largest = correction.branches().iter().map(|branch| branch.size()).fold(0.0, f64::max);
    if !most.is_finite() || largest < 1e-9 {
        return Ok((0.0, entropy(correction, 0.0, ROUGH)?.mixed()));
    }
    let at = |i: usize| most * i as f64 / POINTS as f64;
    let mut least = (0, f64::INFINITY);
    for i in 0..=POINTS {
        let found = entropy(correction, at(i), ROUGH)?.mixed();
        if found < least.1 {
            least = (i, found);
        }
    }
    let objective = |step: f64| entropy(correction, step, ROUGH).map_or(f64::INFINITY, |found| found.mixed());
    let (low, high) = (at(least.0.saturating_sub(1)), at((least.0 + 1).min(POINTS)));
    let (step, found) = minimum(&objective, low, high, 14);
    Ok(if found < least.1 { (step, found) } else { (at(least.0), least.1) })
}

fn measure(correction: Correction<'_>, step: f64) -> Result<Derivation<'_>, EafoError> {
    let (least, most) = correction.steps();
    let [fine, rough] = [FINE, ROUGH].map(|tolerance| correction.function().closeness(tolerance));
    let before = Output::new(correction.function(), &Plain(correction.density())).entropy(fine)?;
    let after = entropy(&correction, step, FINE)?;
    let small = 0.02 * most.min(-least);
    let small = if step != 0.0 && small.is_finite() { small } else { 0.0 };
    let sign = Sign {
        step: small,
        along: entropy(&correction, small, FINE)?.mixed(),
        against: entropy(&correction, -small, FINE)?.mixed(),
    };
    let (lowest, highest) = correction.first_order_steps();
    let first_order_step = step.clamp(lowest * WITHIN, highest * WITHIN);
    let first = FirstOrder(Warp::new(&correction, first_order_step));
    let plain = Plain(correction.density());
    let first_order = Output::new(&first, &plain).entropy(rough)?;
    let deviation = |map| Output::new(map, &plain).moments(rough).map(|(_, deviation)| deviation).ok();
    let corrected = Corrected(Warp::new(&correction, step));
    let deviations = deviation(correction.function()).zip(deviation(&corrected));
    Ok(Derivation { step, most, before, after, sign, first_order_step, first_order, deviations, correction })
}
