//! The corrected inverse as a change of the input: G(x) = x + t·η, which is y + t·η seen from x = y.

use super::Correction;
use crate::entropy::Law;
use crate::root;

/// `G(x) = x + t·η(x)`, increasing; the corrected activation is `f(G⁻¹(x))`.
#[derive(Clone, Copy, Debug)]
pub struct Warp<'a> {
    correction: &'a Correction<'a>,
    step: f64,
}

impl<'a> Correction<'a> {
    /// The steps t for which y + t·η still has an inverse: an open interval around 0.
    pub fn steps(&self) -> (f64, f64) {
        let (least, most) = self.extremes(&|x| self.direction(x)[1]);
        (
            if most > 0.0 { -1.0 / most } else { f64::NEG_INFINITY },
            if least < 0.0 { -1.0 / least } else { f64::INFINITY },
        )
    }

    /// The steps t for which the first-order form is still as monotone as the function.
    pub fn first_order_steps(&self) -> (f64, f64) {
        // The slope f′ − t·(d′f′ + d·f″), relative to f′: the sign changes where t times this is 1.
        let relative = |x: f64| {
            let ([d, slope], [_, f1, f2, _]) = (self.direction(x), self.function().jet(x).0);
            slope + if d == 0.0 { 0.0 } else { d * f2 / f1 }
        };
        let (least, most) = self.extremes(&relative);
        (if least < 0.0 { 1.0 / least } else { f64::NEG_INFINITY }, if most > 0.0 { 1.0 / most } else { f64::INFINITY })
    }

    /// The least and the most of a quantity over all branches: on a grid that is dense at their ends, then refined.
    fn extremes(&self, of: &dyn Fn(f64) -> f64) -> (f64, f64) {
        const POINTS: usize = 1200;
        let (mut least, mut most) = (0.0f64, 0.0f64);
        for branch in self.branches() {
            let (low, high) = (branch.low(), branch.high());
            let at = |i: usize| {
                let angle = std::f64::consts::PI * i as f64 / POINTS as f64;
                0.5 * (low + high) - 0.5 * (high - low) * angle.cos()
            };
            let values: Vec<f64> = (0..=POINTS).map(|i| of(at(i).clamp(low.next_up(), high.next_down()))).collect();
            for sign in [1.0, -1.0] {
                let worst =
                    (0..=POINTS).max_by(|a, b| (sign * values[*a]).total_cmp(&(sign * values[*b]))).unwrap_or(0);
                let (from, to) =
                    (at(worst.saturating_sub(1)).max(low.next_up()), at((worst + 1).min(POINTS)).min(high.next_down()));
                let (_, refined) = minimum(&|x| -sign * of(x), from, to, 60);
                let found = values[worst].max(f64::NEG_INFINITY);
                most = most.max(found).max(if sign > 0.0 { -refined } else { f64::NEG_INFINITY });
                least = least.min(found).min(if sign < 0.0 { refined } else { f64::INFINITY });
            }
        }
        (least, most)
    }
}

/// Golden-section search for the least value of `f` between two points: where it is and what it is.
pub(super) fn minimum(f: &dyn Fn(f64) -> f64, low: f64, high: f64, rounds: usize) -> (f64, f64) {
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    let (mut low, mut high) = (low, high);
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut values = inner.map(f);
    for _ in 0..rounds {
        if values[0] <= values[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            values = [f(inner[0]), values[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            values = [values[1], f(inner[1])];
        }
    }
    if values[0] <= values[1] { (inner[0], values[0]) } else { (inner[1], values[1]) }
}

impl<'a> Warp<'a> {
    /// The change of the input for a step.
    pub const fn new(correction: &'a Correction<'a>, step: f64) -> Warp<'a> {
        Warp { correction, step }
    }

    /// What is corrected.
    pub const fn correction(&self) -> &'a Correction<'a> {
        self.correction
    }

    /// The step.
    pub const fn step(&self) -> f64 {
        self.step
    }

    /// `G(x)` and its slope.
    pub fn at(&self, x: f64) -> [f64; 2] {
        let [d, slope] = self.correction.direction(x);
        [x + self.step * d, 1.0 + self.step * slope]
    }

    /// `G⁻¹(u)`, exact up to rounding.
    pub fn inverse(&self, u: f64) -> f64 {
        let (low, high) = self.correction.interval();
        if u <= low || u >= high || u.is_nan() {
            return u;
        }
        root::increasing(
            |x| {
                let [value, slope] = self.at(x);
                (value - u, slope)
            },
            low,
            high,
        )
    }
}

/// The law of `G⁻¹(X)`: what the uncorrected function has to be fed with to give the corrected function's output.
#[derive(Clone, Copy, Debug)]
pub struct Warped<'a>(pub Warp<'a>);

impl Law for Warped<'_> {
    fn name(&self) -> String {
        format!("{} corrected by a step of {}", self.0.correction.density().name(), self.0.step)
    }

    fn log_pdf(&self, x: f64) -> f64 {
        let [value, slope] = self.0.at(x);
        self.0.correction.density().log_pdf(value) + slope.max(f64::MIN_POSITIVE).ln()
    }

    fn mass(&self, low: f64, high: f64) -> f64 {
        let cdf = |x: f64| self.0.correction.density().cdf(self.0.at(x)[0]);
        cdf(high) - cdf(low)
    }

    fn ends(&self) -> Vec<f64> {
        let correction = self.0.correction;
        let (low, high) = correction.density().support();
        let mut ends: Vec<f64> =
            crate::density::ends(correction.density()).into_iter().map(|x| self.0.inverse(x)).collect();
        for branch in correction.branches() {
            let (from, to) = branch.untouched();
            ends.extend([branch.low(), from, to, branch.high()]);
        }
        crate::density::sorted(ends, low, high)
    }

    fn scale(&self) -> f64 {
        self.0.correction.density().deviation()
    }
}
