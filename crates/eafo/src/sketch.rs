//! A running histogram of a layer's pre-activations, small enough for every layer of a network in training, and the correction
//! that follows from it.

use activations::Table;
use serde::{Deserialize, Serialize};

use crate::EafoError;
use crate::density::Kernel;
use crate::entropy::{Output, Plain};
use crate::function::Map;
use crate::quadrature::Tolerance;
use crate::samples::entropy_of_counts;
use crate::special::normal_pdf;

/// Bins of a sketch.
pub const BINS: usize = 512;
/// Bins lie within −8 and 8: pre-activations behind a normalisation rarely leave that.
pub const REACH: f64 = 8.0;
/// The width of a bin.
const BIN: f64 = 2.0 * REACH / BINS as f64;
/// Cells of the table of a correction.
const CELLS: usize = 32;
/// Where that table ends, in standard deviations from the mean.
const ENDS: f64 = 4.0;
/// Fewer values than this make no density.
const FEWEST: u64 = 1000;

/// Counts of values in [`BINS`] even bins, and beyond them.
///
/// Whole numbers, so that sketches of several ranks add up to the same in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sketch {
    /// Below, in the bins, above.
    counts: Vec<u64>,
}

/// Entropies of one layer, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropies {
    /// Of the pre-activations, by the histogram.
    pub before: f64,
    /// Of what the activation makes of them, atoms and continuous part together ([`crate::entropy::Entropy::mixed`]).
    pub after: f64,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch { counts: vec![0; BINS + 2] }
    }
}

impl Sketch {
    /// Counts values; NaN counts nowhere.
    pub fn take_in(&mut self, values: &[f32]) {
        const PER_UNIT: f32 = (1.0 / BIN) as f32;
        const LAST: f32 = (BINS + 1) as f32;
        for &value in values.iter().filter(|value| !value.is_nan()) {
            // From 0, below, to BINS + 1, above.
            let place = ((value + REACH as f32) * PER_UNIT + 1.0).clamp(0.0, LAST);
            self.counts[place as usize] += 1;
        }
    }

    /// The counts: below, in the bins, above.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Adds counts in the order of [`Sketch::counts`].
    ///
    /// # Panics
    /// When there are not [`BINS`] + 2.
    pub fn add(&mut self, counts: impl ExactSizeIterator<Item = u64>) {
        assert_eq!(counts.len(), self.counts.len(), "a sketch has {} counts", self.counts.len());
        self.counts.iter_mut().zip(counts).for_each(|(own, more)| *own += more);
    }

    /// Forgets half of what was seen, so that what comes weighs more than what was.
    pub fn fade(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
    }

    /// How many values it counts.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share of values beyond the bins: of their place no more is known than that.
    pub fn outside_share(&self) -> f64 {
        (self.counts[0] + self.counts[BINS + 1]) as f64 / self.total().max(1) as f64
    }

    /// Mean and standard deviation; values beyond the bins stand at their border.
    fn moments(&self) -> (f64, f64) {
        let total = self.total() as f64;
        let at = |place: usize| -REACH + BIN * (place as f64 - 0.5);
        let mean = |of: &dyn Fn(f64) -> f64| {
            self.counts.iter().enumerate().map(|(place, &count)| count as f64 * of(at(place))).sum::<f64>() / total
        };
        let middle = mean(&|x| x);
        (middle, mean(&|x| (x - middle).powi(2)).sqrt())
    }

    /// Distance of the quartiles, to a bin.
    fn quartile_range(&self) -> f64 {
        let total = self.total();
        let place = |wanted: u64| {
            let mut seen = 0;
            self.counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            })
        };
        let [low, high] = [total.div_ceil(4), (3 * total).div_ceil(4)].map(|wanted| place(wanted).unwrap_or(0));
        BIN * (high - low) as f64
    }

    /// The correction that lowers the entropy of activations of these values: `−p′(x)` of their density p, scaled so that its root
    /// mean square is `σ/27^¼`, which it is of a Gaussian's `x·e^(−x²/2σ²)` (CRReLU's where σ = 1); so ε means the same in every
    /// layer. A table of 32 cells within four standard deviations of the mean, level and 0 beyond.
    ///
    /// The density is smoothed by Gaussian kernels of a bandwidth that suits its derivative, `0.9·min(σ, IQR/1.34)·n^(−1/7)`. Where
    /// values lie beyond the bins, it is taken to go on level: their border makes no cliff.
    ///
    /// `None` where fewer than 1,000 values were seen, or all in one bin.
    pub fn correction(&self) -> Option<Table> {
        let total = self.total();
        let (mean, deviation) = if total >= FEWEST { self.moments() } else { (0.0, 0.0) };
        let spread = match self.quartile_range() {
            range if range > 0.0 => deviation.min(range / 1.34),
            _ => deviation,
        };
        if spread <= 0.0 {
            return None;
        }
        let bandwidth = (0.9 * spread * (total as f64).powf(-1.0 / 7.0)).max(BIN);
        let reach = (6.0 * bandwidth / BIN).ceil() as i64;
        let share = |bin: i64| self.counts[1 + bin.clamp(0, BINS as i64 - 1) as usize] as f64 / total as f64;
        // First and second derivative of the density.
        let derivatives = |x: f64| {
            let nearest = ((x + REACH) / BIN).floor() as i64;
            let (mut first, mut second) = (0.0, 0.0);
            for bin in nearest - reach..=nearest + reach {
                let z = (x - (-REACH + BIN * (bin as f64 + 0.5))) / bandwidth;
                let p = share(bin) * normal_pdf(z) / bandwidth;
                first -= z / bandwidth * p;
                second += (z * z - 1.0) / bandwidth.powi(2) * p;
            }
            (first, second)
        };
        let x0 = mean - ENDS * deviation;
        let step = 2.0 * ENDS * deviation / CELLS as f64;
        let node = |node: usize| derivatives(x0 + step * node as f64);
        let (mut values, mut slopes): (Vec<f64>, Vec<f64>) = (0..=CELLS).map(node).unzip();
        let squares = (0..BINS as i64).map(|bin| {
            let middle = -REACH + BIN * (bin as f64 + 0.5);
            share(bin) * derivatives(middle).0.powi(2)
        });
        let factor = -deviation / 27f64.powf(0.25) / squares.sum::<f64>().sqrt();
        values.iter_mut().chain(&mut slopes).for_each(|number| *number *= factor);
        level_off(&mut values, &mut slopes);
        Table::new(x0, step, values, slopes).ok()
    }

    /// The density of what was seen, smoothed by at least a bin; values beyond the bins are left out.
    ///
    /// # Errors
    /// As [`Kernel::from_histogram`].
    pub fn density(&self, of: &str) -> Result<Kernel, EafoError> {
        Kernel::from_histogram(of, &edges(), &self.inner())
    }

    /// Entropies before and after `map`.
    ///
    /// # Errors
    /// As [`Sketch::density`], and [`EafoError::Integral`].
    pub fn entropies(&self, of: &str, map: &dyn Map) -> Result<Entropies, EafoError> {
        let density = self.density(of)?;
        let plain = Plain(&density);
        let after = Output::new(map, &plain).entropy(Tolerance { absolute: 1e-4, relative: 1e-4 })?.mixed();
        Ok(Entropies { before: entropy_of_counts(&edges(), &self.inner()), after })
    }

    fn inner(&self) -> Vec<f64> {
        self.counts[1..=BINS].iter().map(|&count| count as f64).collect()
    }
}

/// The correction that a layer starts with, CRReLU's `x·e^(−x²/2)`: that of a standard normal law.
pub fn first_correction() -> Table {
    let step = 2.0 * ENDS / CELLS as f64;
    let nodes = (0..=CELLS).map(|node| -ENDS + step * node as f64);
    let bell = |x: f64| (-0.5 * x * x).exp();
    let (mut values, mut slopes): (Vec<f64>, Vec<f64>) = nodes.map(|x| (x * bell(x), (1.0 - x * x) * bell(x))).unzip();
    level_off(&mut values, &mut slopes);
    Table::new(-ENDS, step, values, slopes).expect("finite numbers")
}

/// `(1 − rate)·old + rate·new`, at the nodes of `new`.
pub fn blend(old: &Table, new: &Table, rate: f64) -> Table {
    let both = |old: f64, new: &f64| (1.0 - rate) * old + rate * new;
    let nodes = |node: usize| new.x0() + new.step() * node as f64;
    let of = |(node, (value, slope)): (usize, (&f64, &f64))| {
        (both(old.f(nodes(node)), value), both(old.df(nodes(node)), slope))
    };
    let (mut values, mut slopes): (Vec<f64>, Vec<f64>) =
        new.values().iter().zip(new.slopes()).enumerate().map(of).unzip();
    level_off(&mut values, &mut slopes);
    Table::new(new.x0(), new.step(), values, slopes).expect("means of finite numbers")
}

/// Ends a table at 0, without a slope.
fn level_off(values: &mut [f64], slopes: &mut [f64]) {
    for numbers in [values, slopes] {
        let last = numbers.len() - 1;
        (numbers[0], numbers[last]) = (0.0, 0.0);
    }
}

fn edges() -> Vec<f64> {
    (0..=BINS).map(|edge| -REACH + BIN * edge as f64).collect()
}

/// The counts with spaces between.
impl From<Sketch> for String {
    fn from(sketch: Sketch) -> String {
        sketch.counts.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<String> for Sketch {
    type Error = String;

    fn try_from(text: String) -> Result<Sketch, String> {
        let counts: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
        match counts {
            Ok(counts) if counts.len() == BINS + 2 => Ok(Sketch { counts }),
            Ok(counts) => Err(format!("{} counts instead of {}", counts.len(), BINS + 2)),
            Err(error) => Err(format!("a count that is none: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::density::{Density, Family, Scaled, parse};
    use crate::function::Function;

    /// As if `total` values of the density had been seen.
    fn sketch(density: &dyn Density, total: f64) -> Sketch {
        let mut cdfs = vec![0.0];
        cdfs.extend(edges().iter().map(|edge| density.cdf(*edge)));
        cdfs.push(1.0);
        let mut sketch = Sketch::default();
        let counts: Vec<u64> = cdfs.windows(2).map(|pair| ((pair[1] - pair[0]) * total).round() as u64).collect();
        sketch.add(counts.into_iter());
        sketch
    }

    #[test]
    fn values_are_counted_in_their_bins() {
        let mut sketch = Sketch::default();
        sketch.take_in(&[f32::NAN, f32::NEG_INFINITY, -8.01, -8.0, -1e-6, 0.0, 0.03, 7.99, 8.0, f32::INFINITY]);
        let filled: Vec<(usize, u64)> =
            sketch.counts().iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0, 2), (1, 1), (256, 1), (257, 2), (512, 1), (513, 2)]);
        sketch.fade();
        assert_eq!(sketch.total(), 3);
    }

    #[test]
    fn of_a_gaussian_the_correction_is_crrelu_s_in_its_own_scale() {
        for deviation in [0.25, 1.0, 2.0] {
            let gaussian = Scaled::new(Family::Gaussian, 0.0, deviation).unwrap();
            let table = sketch(&gaussian, 1e7).correction().unwrap();
            for i in -30..=30 {
                let z = f64::from(i) / 10.0;
                let (found, expected) = (table.f(z * deviation), deviation * z * (-0.5 * z * z).exp());
                assert!((found - expected).abs() < 0.03 * deviation, "σ = {deviation}, z = {z}: {found}, {expected}");
            }
            assert!(table.f(-20.0).abs() < 1e-3 * deviation && table.df(20.0) == 0.0);
        }
        let first = first_correction();
        for i in -50..=50 {
            let x = f64::from(i) / 10.0;
            assert!((first.f(x) - x * (-0.5 * x * x).exp()).abs() < 1.5e-3, "{x}: {}", first.f(x));
        }
    }

    #[test]
    fn a_mixture_is_followed_where_no_gaussian_is() {
        let mixture = parse("mixture(0.5: -2, 0.5; 0.5: 2, 0.5)").unwrap();
        let table = sketch(mixture.as_ref(), 1e7).correction().unwrap();
        let scale = table.f(1.5) / -mixture.slopes(1.5)[1];
        assert!(scale > 0.0 && table.f(-1.5) > 0.0 && table.f(1.5) < 0.0 && table.f(2.5) > 0.0, "{scale}");
        for x in [-3.0, -2.5, -2.0, -1.5, -1.0, 0.0, 1.2, 2.7] {
            let expected = -scale * mixture.slopes(x)[1];
            assert!((table.f(x) - expected).abs() < 0.15, "c({x}) = {} instead of {expected}", table.f(x));
        }
        let nodes = (-800..800).map(|i| f64::from(i) / 100.0 + 0.005);
        let square: f64 = nodes.map(|x| 0.01 * mixture.pdf(x) * table.f(x).powi(2)).sum();
        assert!((square.sqrt() - mixture.deviation() / 27f64.powf(0.25)).abs() < 0.02, "{}", square.sqrt());
    }

    #[test]
    fn what_lies_beyond_the_bins_makes_no_cliff() {
        let wide = Scaled::new(Family::Gaussian, 0.0, 6.0).unwrap();
        let table = sketch(&wide, 1e7).correction().unwrap();
        let most = |from: i32, to: i32| (from..to).map(|i| table.f(f64::from(i) / 4.0).abs()).fold(0.0, f64::max);
        assert!(most(24, 120) <= 1.2 * most(0, 24), "{} beyond {}", most(24, 120), most(0, 24));
        assert_eq!((table.f(40.0), table.df(40.0)), (0.0, 0.0));
    }

    #[test]
    fn too_little_is_no_density() {
        assert_eq!(Sketch::default().correction(), None);
        let mut sketch = Sketch::default();
        sketch.take_in(&[0.5; 5000]);
        assert_eq!(sketch.correction(), None);
        let mut sketch = Sketch::default();
        sketch.take_in(&[0.1, 0.2, 0.3]);
        assert_eq!(sketch.correction(), None);
    }

    #[test]
    fn blends_lie_between() {
        let (old, new) = (first_correction(), sketch(&Scaled::standard(Family::Logistic).unwrap(), 1e6));
        let new = new.correction().unwrap();
        let both = blend(&old, &new, 0.25);
        for x in [-3.0, 0.1, 1.3, 2.2, 20.0] {
            let expected = 0.75 * old.f(x) + 0.25 * new.f(x);
            assert!((both.f(x) - expected).abs() < 2e-3, "{x}: {} instead of {expected}", both.f(x));
        }
    }

    #[test]
    fn entropies_are_those_of_the_density() {
        let gaussian = Scaled::new(Family::Gaussian, 0.0, 1.5).unwrap();
        let found = sketch(&gaussian, 1e7).entropies("layer", &Function::parse("relu").unwrap()).unwrap();
        let known = crate::special::normal_entropy(1.5);
        assert!((found.before - known).abs() < 1e-3, "{found:?}, {known}");
        // Half of the mass is an atom; the rest is a half-normal of entropy H − ln 2.
        let after = std::f64::consts::LN_2 + 0.5 * (known - std::f64::consts::LN_2);
        assert!((found.after - after).abs() < 0.01, "{found:?}, {after}");
    }

    #[test]
    fn it_comes_back_from_text() {
        let sketch = sketch(&Scaled::standard(Family::Laplace).unwrap(), 1e5);
        let text = serde_json::to_string(&sketch).unwrap();
        assert_eq!(serde_json::from_str::<Sketch>(&text).unwrap(), sketch);
        let error = serde_json::from_str::<Sketch>("\"1 2 3\"").unwrap_err().to_string();
        assert!(error.contains("3 counts instead of 514"), "{error}");
    }
}
