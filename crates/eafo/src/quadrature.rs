//! Adaptive quadrature with an error estimate: Gauss–Kronrod 7/15, halving the worst interval first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::EafoError;

/// An integral and a bound on its error, by the difference of the two rules as QUADPACK scales it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Integral {
    /// The value.
    pub value: f64,
    /// The estimated error.
    pub error: f64,
}

/// How precise an integral must be: absolutely or relatively, whichever is easier.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Absolute.
    pub absolute: f64,
    /// Relative.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { absolute: 1e-11, relative: 1e-11 }
    }
}

/// At most this many halvings.
const MOST_PARTS: usize = 3000;

/// A part with less error, and narrower than the second number of the whole, holds rounding rather than structure.
const NOISE: f64 = 1e-10;
const NARROW: f64 = 1e-7;

/// An integral that is known less well, relative to its value or 1, is an error; twice what was asked for is none.
const WORST: f64 = 1e-6;

// Nodes in (0, 1], from the outermost to the middle, with Kronrod's weights; every second node is one of Gauss'.
const NODES: [f64; 8] = [
    0.991_455_371_120_812_6,
    0.949_107_912_342_758_5,
    0.864_864_423_359_769_1,
    0.741_531_185_599_394_4,
    0.586_087_235_467_691_1,
    0.405_845_151_377_397_2,
    0.207_784_955_007_898_47,
    0.0,
];
const KRONROD: [f64; 8] = [
    0.022_935_322_010_529_224,
    0.063_092_092_629_978_55,
    0.104_790_010_322_250_18,
    0.140_653_259_715_525_92,
    0.169_004_726_639_267_9,
    0.190_350_578_064_785_41,
    0.204_432_940_075_298_89,
    0.209_482_141_084_727_83,
];
const GAUSS: [f64; 4] =
    [0.129_484_966_168_869_7, 0.279_705_391_489_276_67, 0.381_830_050_505_118_9, 0.417_959_183_673_469_4];

struct Part {
    low: f64,
    high: f64,
    value: f64,
    error: f64,
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Part {}
impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Part) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Part {
    fn cmp(&self, other: &Part) -> Ordering {
        self.error.total_cmp(&other.error)
    }
}

/// The integral of `f` over `[low, high]`, either of which may be infinite. `scale` is the width on which `f` changes: infinite
/// ends are brought to finite ones by `x = anchor ± scale·u/(1 − u)`.
///
/// Ends are never evaluated, so that integrable singularities may stand there; put them there with [`integrate_pieces`].
///
/// # Errors
/// [`EafoError::Integral`] where `f` is not a number or infinite (with the point), or where the tolerance is not reached.
pub fn integrate(
    what: &str,
    f: &dyn Fn(f64) -> f64,
    (low, high): (f64, f64),
    scale: f64,
    tolerance: Tolerance,
) -> Result<Integral, EafoError> {
    let (infinite_low, infinite_high) = (low == f64::NEG_INFINITY, high == f64::INFINITY);
    if infinite_low && infinite_high {
        let left = integrate(what, f, (low, 0.0), scale, tolerance)?;
        let right = integrate(what, f, (0.0, high), scale, tolerance)?;
        return Ok(Integral { value: left.value + right.value, error: left.error + right.error });
    }
    if !infinite_low && !infinite_high {
        return adaptive(what, f, (low, high), (low, high), tolerance);
    }
    let anchor = if infinite_low { high } else { low };
    let direction = if infinite_low { -1.0 } else { 1.0 };
    let mapped = |u: f64| {
        let rest = 1.0 - u;
        let value = f(anchor + direction * scale * u / rest);
        // A density wins over the Jacobian in its far tail, where both may have left the range of numbers.
        if value == 0.0 { 0.0 } else { value * scale / (rest * rest) }
    };
    adaptive(what, &mapped, (0.0, 1.0), (low, high), tolerance)
}

/// The integral over the intervals between neighbouring `ends`, which rise.
///
/// # Errors
/// As [`integrate`].
pub fn integrate_pieces(
    what: &str,
    f: &dyn Fn(f64) -> f64,
    ends: &[f64],
    scale: f64,
    tolerance: Tolerance,
) -> Result<Integral, EafoError> {
    let mut total = Integral::default();
    for pair in ends.windows(2).filter(|pair| pair[0] < pair[1]) {
        let part = integrate(what, f, (pair[0], pair[1]), scale, tolerance)?;
        total.value += part.value;
        total.error += part.error;
    }
    Ok(total)
}

fn adaptive(
    what: &str,
    f: &dyn Fn(f64) -> f64,
    (low, high): (f64, f64),
    (named_low, named_high): (f64, f64),
    tolerance: Tolerance,
) -> Result<Integral, EafoError> {
    let failed =
        |reason: String| EafoError::Integral { what: what.to_owned(), low: named_low, high: named_high, reason };
    let rule = |low: f64, high: f64| {
        apply(f, low, high).map_err(|x| failed(format!("meets a value that is not finite at {x} of [{low}, {high}]")))
    };
    let mut parts = BinaryHeap::from([rule(low, high)?]);
    let (mut value, mut error) =
        (parts.peek().map_or(0.0, |part| part.value), parts.peek().map_or(0.0, |part| part.error));
    // What rounding leaves, around singularities above all, is no smaller in halves: it is put aside, and counted.
    let mut settled = Integral::default();
    while error > tolerance.absolute.max(tolerance.relative * value.abs()) {
        let Some(worst) = parts.pop() else { break };
        let middle = 0.5 * (worst.low + worst.high);
        let is_noise = worst.error < NOISE && worst.high - worst.low < NARROW * (high - low);
        if is_noise || middle <= worst.low || middle >= worst.high {
            settled.value += worst.value;
            settled.error += worst.error;
        } else if parts.len() > MOST_PARTS {
            return Err(failed(format!("is {value} ± {error:.1e} and comes no closer around {middle}")));
        } else {
            parts.push(rule(worst.low, middle)?);
            parts.push(rule(middle, worst.high)?);
        }
        // Summed anew, so that no rounding gathers.
        (value, error) = parts.iter().fold((0.0, 0.0), |(v, e), part| (v + part.value, e + part.error));
    }
    let (value, error) = (value + settled.value, error + settled.error);
    if error > WORST.max(2.0 * tolerance.relative) * value.abs().max(1.0) {
        return Err(failed(format!("is known as {value} ± {error:.1e} only")));
    }
    Ok(Integral { value, error })
}

/// Both rules on one interval, or the point where `f` has no finite value.
fn apply(f: &dyn Fn(f64) -> f64, low: f64, high: f64) -> Result<Part, f64> {
    let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
    let at = |x: f64| {
        let value = f(x);
        if value.is_finite() { Ok(value) } else { Err(x) }
    };
    let middle = at(centre)?;
    let (mut kronrod, mut gauss, mut size) = (middle * KRONROD[7], middle * GAUSS[3], middle.abs() * KRONROD[7]);
    let mut values = [(middle, middle); 8];
    for i in 0..7 {
        let (left, right) = (at(centre - half * NODES[i])?, at(centre + half * NODES[i])?);
        values[i] = (left, right);
        kronrod += (left + right) * KRONROD[i];
        size += (left.abs() + right.abs()) * KRONROD[i];
        if i % 2 == 1 {
            gauss += (left + right) * GAUSS[i / 2];
        }
    }
    let mean = 0.5 * kronrod;
    let spread: f64 = (0..8)
        .map(|i| {
            KRONROD[i] * ((values[i].0 - mean).abs() + (values[i].1 - mean).abs()) * if i == 7 { 0.5 } else { 1.0 }
        })
        .sum();
    let difference = (kronrod - gauss).abs() * half;
    let spread = spread * half;
    let scaled = if spread > 0.0 { spread * (200.0 * difference / spread).powf(1.5).min(1.0) } else { difference };
    // No estimate is better than what rounding leaves.
    let error = scaled.max(4.0 * f64::EPSILON * size * half * 0.1);
    Ok(Part { low, high, value: kronrod * half, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn over(f: impl Fn(f64) -> f64, low: f64, high: f64) -> Integral {
        integrate("a test", &f, (low, high), 1.0, Tolerance::default()).unwrap()
    }

    #[test]
    fn the_rules_are_exact_for_polynomials() {
        for degree in 0..=22 {
            let part = apply(&|x| x.powi(degree), 0.0, 1.0).unwrap_or_else(|_| panic!("finite"));
            assert!((part.value - 1.0 / f64::from(degree + 1)).abs() < 2e-16 * 8.0, "degree {degree}");
        }
        let gauss: f64 = 2.0 * (GAUSS[0] + GAUSS[1] + GAUSS[2]) + GAUSS[3];
        assert!((gauss - 2.0).abs() < 1e-15);
    }

    #[test]
    fn errors_are_within_their_estimates() {
        let cases: [(Integral, f64); 6] = [
            (over(f64::exp, 0.0, 1.0), std::f64::consts::E - 1.0),
            (over(|x| x.ln(), 0.0, 1.0), -1.0),
            (over(|x| 1.0 / x.sqrt(), 0.0, 1.0), 2.0),
            (over(|x| (-0.5 * x * x).exp(), f64::NEG_INFINITY, f64::INFINITY), (2.0 * PI).sqrt()),
            (over(|x| 1.0 / (1.0 + x * x), 1.0, f64::INFINITY), PI / 4.0),
            (over(|x| (50.0 * x).sin().abs(), 0.0, PI), 2.0),
        ];
        for (i, (found, expected)) in cases.into_iter().enumerate() {
            let error = (found.value - expected).abs();
            assert!(
                error <= found.error.max(1e-14) && error < 1e-9,
                "case {i}: off by {error:e}, said {:e}",
                found.error
            );
        }
    }

    #[test]
    fn what_cannot_be_integrated_names_the_point() {
        let nan = integrate("f", &|x| if x > 0.9 { f64::NAN } else { 1.0 }, (0.0, 1.0), 1.0, Tolerance::default());
        let text = nan.unwrap_err().to_string();
        assert!(text.contains("the integral of f over [0, 1]") && text.contains("at 0.9"), "{text}");
        let diverging = integrate("1/x", &|x| 1.0 / x, (0.0, 1.0), 1.0, Tolerance::default());
        assert!(diverging.is_err());
    }
}
