//! The correction η = −(p(y)·y″/y′ + p′(y)·y′) of an activation's inverse y, branch by branch, and where it can be taken.

mod activation;
mod branch;
mod file;
mod search;
mod warp;

pub use activation::{Corrected, FirstOrder, table_error, tabulate};
pub use branch::Branch;
pub use file::Form;
pub use search::{Derivation, Sign, derive, derive_with_share, derive_with_step, entropy_at};
pub use warp::{Warp, Warped};

use crate::EafoError;
use crate::density::Density;
use crate::function::{Function, Map};
use crate::pieces::{Direction, Piece, pieces};

/// More places than this where the density's slope jumps leave nothing to correct between them.
const MOST_KINKS: usize = 16;

/// The correction of a function for a density.
///
/// With `y` the inverse of the activation `f` and `p` the density of what is fed into it, the entropy of the output changes by
/// `δH = ∫ (p(y)·y″/y′ + p′(y)·y′)·η` when y becomes y + η, to first order (Sun, Wu et al., arXiv 2405.12954, with the signs worked out
/// in docs/eafo.md). Against that gradient goes `η = −(p(y)·y″/y′ + p′(y)·y′)`. Seen from the input x = y it is
/// `(p·f″/f′ − p′)/f′`, which is how it is computed.
///
/// Where f has several branches each has its own inverse; on a falling one the gradient has the other sign, and the step goes against it
/// too. Where η has no finite limit (at extrema of f, and where f″ or p′ jumps) it is *tapered*: multiplied by a factor that falls
/// smoothly to 0 there. Any factor that is not negative leaves a direction in which entropy falls.
#[derive(Debug)]
pub struct Correction<'a> {
    function: &'a Function,
    density: &'a dyn Density,
    interval: (f64, f64),
    branches: Vec<Branch>,
}

impl<'a> Correction<'a> {
    /// The correction on an interval of inputs, tapered over `taper` (in units of the input) at the interval's ends and wherever η has
    /// no finite limit.
    ///
    /// # Errors
    /// [`EafoError::Interval`] for one that is empty or outside the support; [`EafoError::NotInvertible`] where the function is flat on all
    /// of it; [`EafoError::Samples`] for a density whose slope jumps all over, which has no useful derivative.
    pub fn new(
        function: &'a Function,
        density: &'a dyn Density,
        interval: (f64, f64),
        taper: f64,
    ) -> Result<Correction<'a>, EafoError> {
        let (low, high) = interval;
        let (from, to) = density.support();
        let refuse = |reason: String| Err(EafoError::Interval { low, high, reason });
        if !(low.is_finite() && high.is_finite() && low < high) {
            return refuse("is no interval of inputs: its ends are finite and rise".to_owned());
        }
        if low < from || high > to {
            return refuse(format!("leaves the support [{from}, {to}] of {}", density.name()));
        }
        let kinks = density.kinks();
        if kinks.len() > MOST_KINKS {
            let reason = format!(
                "the slope of its density jumps at {} points, and the correction needs it; use kde(…)",
                kinks.len()
            );
            return Err(EafoError::Samples { of: density.name(), reason });
        }
        let mut branches = Vec::new();
        for piece in pieces(function, density.support(), density.deviation()) {
            if piece.direction == Direction::Flat || piece.high <= low || piece.low >= high {
                continue;
            }
            let (from, to) = (piece.low.max(low), piece.high.min(high));
            let mut ends = vec![from, to];
            ends.extend(kinks.iter().copied().filter(|kink| *kink > from && *kink < to));
            ends.sort_by(f64::total_cmp);
            for pair in ends.windows(2).filter(|pair| pair[1] - pair[0] > 1e-9) {
                branches.push(Branch::new(function, density, piece, (pair[0], pair[1])));
            }
        }
        if branches.is_empty() {
            let reason = "it is flat on the whole interval, so that there is nothing to invert".to_owned();
            return Err(EafoError::NotInvertible { function: function.name(), point: 0.5 * (low + high), reason });
        }
        branch::set_tapers(&mut branches, interval, taper);
        Ok(Correction { function, density, interval, branches })
    }

    /// That an interval which a person chose lies within one branch.
    ///
    /// # Errors
    /// [`EafoError::NotInvertible`] with the point where the function turns or is flat.
    pub fn require_inverse(
        function: &Function,
        density: &dyn Density,
        (low, high): (f64, f64),
    ) -> Result<(), EafoError> {
        let inside = |x: f64| x > low && x < high;
        let pieces = pieces(function, density.support(), density.deviation());
        let refuse =
            |point: f64, reason: String| Err(EafoError::NotInvertible { function: function.name(), point, reason });
        if let Some(flat) = pieces.iter().find(|p| p.direction == Direction::Flat && p.low < high && p.high > low) {
            let reason = format!(
                "it is flat from {} to {}, and the interval [{low}, {high}] reaches there",
                flat.low, flat.high
            );
            return refuse(flat.low.max(low), reason);
        }
        let turns = |pair: &&[Piece]| pair[0].direction != pair[1].direction && inside(pair[1].low);
        if let Some(pair) = pieces.windows(2).find(turns) {
            let reason = format!("it turns there; choose an interval on one side of it, not [{low}, {high}]");
            return refuse(pair[1].low, reason);
        }
        Ok(())
    }

    /// The function that is corrected.
    pub const fn function(&self) -> &'a Function {
        self.function
    }

    /// The density of its input.
    pub const fn density(&self) -> &'a dyn Density {
        self.density
    }

    /// The inputs that are corrected.
    pub const fn interval(&self) -> (f64, f64) {
        self.interval
    }

    /// The branches, from left to right. Where p′ jumps a branch of the function is two of these.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// η at the input `x`, that is at the argument `f(x)` of the inverse; not finite where it has no limit.
    pub fn eta(&self, x: f64) -> f64 {
        eta(self.function, self.density, x)[0]
    }

    /// What is added to the inverse for a step of 1, and its slope: η tapered, with the sign that lowers entropy; 0 outside the branches.
    pub fn direction(&self, x: f64) -> [f64; 2] {
        let at = self.branches.partition_point(|branch| branch.high() <= x);
        match self.branches.get(at).filter(|branch| branch.low() < x) {
            Some(branch) => branch.direction(self.function, self.density, x),
            None => [0.0; 2],
        }
    }
}

/// η and its slope in the input, seen from the input.
pub(crate) fn eta(function: &Function, density: &dyn Density, x: f64) -> [f64; 2] {
    let [_, f1, f2, f3] = function.jet(x).0;
    let [p, p1, p2] = density.slopes(x);
    let bend = f2 / f1;
    let over = p * bend - p1;
    let slope = p1 * bend + p * (f3 / f1 - bend * bend) - p2;
    [over / f1, (slope - over * bend) / f1]
}
