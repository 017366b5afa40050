//! The entropy of f(X), with atoms told apart from the continuous part.

use serde::Serialize;

use crate::density::{Density, ends, log_sum, sorted};
use crate::function::Map;
use crate::pieces::{Direction, Piece, pieces};
use crate::quadrature::{Integral, Tolerance, integrate_pieces};
use crate::{EafoError, special};

/// A value that comes with a probability of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Atom {
    /// The value.
    pub value: f64,
    /// Its probability.
    pub mass: f64,
}

/// The entropy of a law that may have atoms, in nats.
///
/// A law with atoms has no differential entropy of its own. Its parts have: the choice between the atoms and the rest is discrete, and
/// the rest, given that it was chosen, has a density.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entropy {
    /// The atoms, by rising value.
    pub atoms: Vec<Atom>,
    /// The probability of the continuous part.
    pub continuous_mass: f64,
    /// The differential entropy of the continuous part, given that it was chosen; 0 where there is none.
    pub continuous: f64,
    /// The estimated error of that number.
    pub error: f64,
}

impl Entropy {
    pub(crate) fn new(atoms: Vec<Atom>, continuous_mass: f64, continuous: f64, error: f64) -> Entropy {
        Entropy { atoms, continuous_mass, continuous, error }
    }

    /// The entropy of the choice between the atoms and the continuous part.
    pub fn discrete(&self) -> f64 {
        let masses = self.atoms.iter().map(|atom| atom.mass).chain([self.continuous_mass]);
        masses.filter(|mass| *mass > 0.0).map(|mass| -mass * mass.ln()).sum()
    }

    /// Discrete and continuous part together: `H(choice) + P(continuous)·H(value | continuous)`. Without atoms it is the differential
    /// entropy.
    pub fn mixed(&self) -> f64 {
        self.discrete() + self.continuous_mass * self.continuous
    }

    /// [`Entropy::mixed`] of the law scaled to standard deviation 1, by H(aX) = H(X) + ln a on the continuous part.
    pub fn normalised(&self, deviation: f64) -> f64 {
        self.mixed() - self.continuous_mass * deviation.ln()
    }
}

/// What is fed into a function: a density, or one seen through a change of variable.
pub trait Law {
    /// What it is called in errors.
    fn name(&self) -> String;
    /// `ln p(x)`.
    fn log_pdf(&self, x: f64) -> f64;
    /// The probability of `[low, high]`.
    fn mass(&self, low: f64, high: f64) -> f64;
    /// Where quadrature is split, support first and last.
    fn ends(&self) -> Vec<f64>;
    /// The width on which it changes.
    fn scale(&self) -> f64;
}

/// A density as it is.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a dyn Density);

impl Law for Plain<'_> {
    fn name(&self) -> String {
        self.0.name()
    }
    fn log_pdf(&self, x: f64) -> f64 {
        self.0.log_pdf(x)
    }
    fn mass(&self, low: f64, high: f64) -> f64 {
        self.0.cdf(high) - self.0.cdf(low)
    }
    fn ends(&self) -> Vec<f64> {
        ends(self.0)
    }
    fn scale(&self) -> f64 {
        self.0.deviation()
    }
}

/// A function on a law, split into its pieces: what entropy and its kin are computed from.
pub struct Output<'a> {
    map: &'a dyn Map,
    law: &'a dyn Law,
    pieces: Vec<Piece>,
}

impl<'a> Output<'a> {
    /// The output of `map` when its input has this law.
    pub fn new(map: &'a dyn Map, law: &'a dyn Law) -> Output<'a> {
        let ends = law.ends();
        let pieces = pieces(map, (ends[0], ends[ends.len() - 1]), law.scale());
        Output { map, law, pieces }
    }

    /// The pieces of the function on the support.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The atoms: a flat piece each, those of one value together.
    pub fn atoms(&self) -> Vec<Atom> {
        let mut atoms: Vec<Atom> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| piece.direction == Direction::Flat) {
            let value = if piece.high.is_finite() { piece.at_high } else { piece.at_low };
            let mass = self.law.mass(piece.low, piece.high);
            match atoms.iter_mut().find(|atom| atom.value == value) {
                Some(atom) => atom.mass += mass,
                None => atoms.push(Atom { value, mass }),
            }
        }
        atoms.retain(|atom| atom.mass > 0.0);
        atoms.sort_by(|a, b| a.value.total_cmp(&b.value));
        atoms
    }

    /// The pieces that are not flat.
    fn moving(&self) -> impl Iterator<Item = (usize, &Piece)> {
        self.pieces.iter().enumerate().filter(|(_, piece)| piece.direction != Direction::Flat)
    }

    /// All preimages of `f(x)` for an `x` of piece `own`, that one first.
    pub(crate) fn preimages(&self, own: usize, x: f64) -> Vec<f64> {
        let value = self.map.value(x);
        let others = self.moving().filter(|(i, _)| *i != own).filter_map(|(_, piece)| piece.inverse(self.map, value));
        std::iter::once(x).chain(others).collect()
    }

    /// `ln q(f(x))`, the density of the output at the value that it takes at `x` in piece `own`.
    fn log_density(&self, own: usize, x: f64) -> f64 {
        let of = |x: f64| self.law.log_pdf(x) - self.map.log_slope(x);
        if self.moving().all(|(i, piece)| i == own || !piece.reaches(self.map.value(x))) {
            return of(x);
        }
        let logs: Vec<f64> = self.preimages(own, x).into_iter().map(of).collect();
        log_sum(logs.iter().copied())
    }

    /// `∫ p(x)·g(piece, x) dx` over all pieces that are not flat.
    ///
    /// # Errors
    /// [`EafoError::Integral`].
    pub(crate) fn expect(
        &self,
        what: &str,
        g: &dyn Fn(usize, f64) -> f64,
        tolerance: Tolerance,
    ) -> Result<Integral, EafoError> {
        let what = format!("{what} for {} on {}", self.map.name(), self.law.name());
        let mut total = Integral::default();
        for (i, piece) in self.moving() {
            let integrand = |x: f64| {
                let p = self.law.log_pdf(x).exp();
                if p == 0.0 { 0.0 } else { p * g(i, x) }
            };
            let part = integrate_pieces(&what, &integrand, &self.ends_of(i, piece), self.law.scale(), tolerance)?;
            total.value += part.value;
            total.error += part.error;
        }
        Ok(total)
    }

    /// Where quadrature over a piece is split: at ends of the law, and where another piece's image begins or ends.
    fn ends_of(&self, own: usize, piece: &Piece) -> Vec<f64> {
        let mut all = self.law.ends();
        all.extend([piece.low, piece.high]);
        for (_, other) in self.moving().filter(|(i, _)| *i != own) {
            all.extend([other.at_low, other.at_high].into_iter().filter_map(|value| piece.inverse(self.map, value)));
        }
        sorted(all, piece.low, piece.high)
    }

    /// The entropy of the output.
    ///
    /// # Errors
    /// [`EafoError::Integral`].
    pub fn entropy(&self, tolerance: Tolerance) -> Result<Entropy, EafoError> {
        let atoms = self.atoms();
        let mass = 1.0 - atoms.iter().map(|atom| atom.mass).sum::<f64>();
        if mass <= 1e-15 {
            return Ok(Entropy::new(atoms, 0.0, 0.0, 0.0));
        }
        let part = self.expect("the entropy", &|i, x| -self.log_density(i, x), tolerance)?;
        Ok(Entropy::new(atoms, mass, part.value / mass + mass.ln(), part.error / mass))
    }

    /// Mean and standard deviation of the output, atoms included.
    ///
    /// # Errors
    /// [`EafoError::Integral`] where they are not finite.
    pub fn moments(&self, tolerance: Tolerance) -> Result<(f64, f64), EafoError> {
        let atoms = self.atoms();
        let of_atoms = |g: &dyn Fn(f64) -> f64| atoms.iter().map(|atom| atom.mass * g(atom.value)).sum::<f64>();
        let mean = self.expect("the mean", &|_, x| self.map.value(x), tolerance)?.value + of_atoms(&|v| v);
        let square = |v: f64| (v - mean) * (v - mean);
        let variance =
            self.expect("the variance", &|_, x| square(self.map.value(x)), tolerance)?.value + of_atoms(&square);
        Ok((mean, variance.sqrt()))
    }
}

/// The entropy of `map(X)` where `X` has this density.
///
/// # Errors
/// [`EafoError::Integral`] where it cannot be integrated.
pub fn entropy_of(map: &dyn Map, density: &dyn Density) -> Result<Entropy, EafoError> {
    Output::new(map, &Plain(density)).entropy(Tolerance::default())
}

/// The standard deviation of `map(X)`.
///
/// # Errors
/// [`EafoError::Integral`] where it is not finite.
pub fn deviation_of(map: &dyn Map, density: &dyn Density) -> Result<f64, EafoError> {
    Output::new(map, &Plain(density))
        .moments(Tolerance { absolute: 1e-9, relative: 1e-9 })
        .map(|(_, deviation)| deviation)
}

/// The entropy of a normal law with the same standard deviation, the most that any law with it has.
pub fn most_with(deviation: f64) -> f64 {
    special::normal_entropy(deviation)
}
