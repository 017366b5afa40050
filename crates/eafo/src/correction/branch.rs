//! One branch of the correction: an interval on which the function has an inverse, and how η is tapered at its ends.

use crate::correction::eta;
use crate::density::Density;
use crate::function::Function;
use crate::pieces::{Direction, Piece};

/// An interval of inputs on which the function is smooth and goes one way, with η's behaviour at its ends.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    piece: Piece,
    low: f64,
    high: f64,
    sign: f64,
    /// η just inside each end.
    limits: [f64; 2],
    /// The largest |η| well inside.
    size: f64,
    /// Widths over which η is tapered at each end; 0 where it is not.
    tapers: [f64; 2],
}

/// An η below this share of its largest is 0, and one that differs less from its neighbour continues it.
const NOTHING: f64 = 1e-5;

impl Branch {
    pub(super) fn new(function: &Function, density: &dyn Density, piece: Piece, (low, high): (f64, f64)) -> Branch {
        let sign = if piece.direction == Direction::Rising { 1.0 } else { -1.0 };
        let at = |x: f64| sign * eta(function, density, x)[0];
        let near = 1e-7 * (high - low);
        let inside = (1..200).map(|i| at(low + (high - low) * f64::from(i) / 200.0).abs());
        let size = inside.filter(|eta| eta.is_finite()).fold(0.0, f64::max);
        Branch { piece, low, high, sign, limits: [at(low + near), at(high - near)], size, tapers: [0.0; 2] }
    }

    /// Lower end of the inputs.
    pub const fn low(&self) -> f64 {
        self.low
    }

    /// Upper end of the inputs.
    pub const fn high(&self) -> f64 {
        self.high
    }

    /// Which way the function goes.
    pub const fn direction_of_function(&self) -> Direction {
        self.piece.direction
    }

    /// Widths over which η is tapered at the lower and the upper end; 0 where it is not.
    pub const fn tapers(&self) -> [f64; 2] {
        self.tapers
    }

    /// The largest |η| inside.
    pub const fn size(&self) -> f64 {
        self.size
    }

    /// Where η is not tapered.
    pub fn untouched(&self) -> (f64, f64) {
        (self.low + self.tapers[0], self.high - self.tapers[1])
    }

    pub(super) fn direction(&self, function: &Function, density: &dyn Density, x: f64) -> [f64; 2] {
        let [value, slope] = eta(function, density, x);
        let rising = taper(x - self.low, self.tapers[0]);
        let falling = taper(self.high - x, self.tapers[1]);
        let weight = rising[0] * falling[0];
        if weight == 0.0 || !value.is_finite() || !slope.is_finite() {
            return [0.0; 2];
        }
        let change = rising[1] * falling[0] - rising[0] * falling[1];
        [self.sign * weight * value, self.sign * (weight * slope + change * value)]
    }
}

/// The smoothest step of degree 5 from 0 at 0 to 1 at `width`, and its slope; 1 without a width.
fn taper(along: f64, width: f64) -> [f64; 2] {
    if width <= 0.0 || along >= width {
        return [1.0, 0.0];
    }
    let t = (along / width).max(0.0);
    [t * t * t * (10.0 + t * (6.0 * t - 15.0)), 30.0 * t * t * (1.0 - t) * (1.0 - t) / width]
}

/// Tapers each end at which η neither vanishes nor goes on in the neighbouring branch, and the ends of the interval.
pub(super) fn set_tapers(branches: &mut [Branch], interval: (f64, f64), taper: f64) {
    let largest = branches.iter().map(|branch| branch.size).fold(0.0, f64::max);
    let vanishes = |eta: f64| eta.abs() <= NOTHING * largest;
    for i in 0..branches.len() {
        let branch = branches[i];
        let left = i.checked_sub(1).map(|left| branches[left]).filter(|left| left.high == branch.low);
        let right = branches.get(i + 1).copied().filter(|right| right.low == branch.high);
        let goes_on = |own: f64, other: Option<f64>| other.is_some_and(|other| vanishes(own - other));
        let is_sound = [
            vanishes(branch.limits[0]) || goes_on(branch.limits[0], left.map(|left| left.limits[1])),
            vanishes(branch.limits[1]) || goes_on(branch.limits[1], right.map(|right| right.limits[0])),
        ];
        let is_end = [
            branch.low == interval.0 && branch.piece.low < interval.0,
            branch.high == interval.1 && branch.piece.high > interval.1,
        ];
        let most = 0.5 * (branch.high - branch.low);
        for end in 0..2 {
            branches[i].tapers[end] = if is_sound[end] && !is_end[end] { 0.0 } else { taper.min(most) };
        }
    }
}
