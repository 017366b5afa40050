//! The histogram of one layer of a trained network, counted batch by batch.

use crate::EafoError;
use crate::function::Map;
use crate::layers::{Applied, Histogram, Layer};

/// Bins of a histogram.
const BINS: usize = 512;
/// How far bins reach, in standard deviations of the first batch around its mean.
const REACH: f64 = 10.0;
/// A unit whose slopes are all smaller than this is dead.
const FLAT: f64 = 1e-6;
/// Points at which a unit's slope is looked at.
const POINTS: usize = 256;

/// Counts, moments and the range of each unit of what an activation was applied to.
///
/// Bins are those of the first batch: 512 within ten standard deviations of its mean.
#[derive(Clone, Debug)]
pub struct Tally {
    name: String,
    /// The first edge, and the width of a bin.
    grid: (f64, f64),
    /// Below, in the bins, above.
    counts: Vec<u64>,
    /// Sums of the first four powers of the distance from `origin`, over all values.
    powers: [f64; 4],
    origin: f64,
    /// The smallest and the largest value of each unit.
    ranges: Vec<(f32, f32)>,
}

impl Tally {
    /// Begins with the first values of the layer `name`, a row of `units` a place.
    ///
    /// # Errors
    /// [`EafoError::Samples`] where values are no finite numbers, or all the same.
    pub fn new(name: &str, values: &[f32], units: usize) -> Result<Tally, EafoError> {
        let refused = |reason: &str| EafoError::Samples { of: name.to_owned(), reason: reason.to_owned() };
        if units == 0 || values.is_empty() {
            return Err(refused("nothing was seen of it"));
        }
        check(name, values, units)?;
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        if variance <= 0.0 {
            return Err(refused(&format!("all of its values are {mean}: no activation does anything with them")));
        }
        let width = 2.0 * REACH * variance.sqrt() / BINS as f64;
        let mut tally = Tally {
            name: name.to_owned(),
            grid: (mean - REACH * variance.sqrt(), width),
            counts: vec![0; BINS + 2],
            powers: [0.0; 4],
            origin: mean,
            ranges: vec![(f32::INFINITY, f32::NEG_INFINITY); units],
        };
        tally.add(values);
        Ok(tally)
    }

    /// Counts further values, in rows of as many units.
    ///
    /// # Errors
    /// [`EafoError::Samples`] where values are no finite numbers.
    pub fn take_in(&mut self, values: &[f32]) -> Result<(), EafoError> {
        check(&self.name, values, self.ranges.len())?;
        self.add(values);
        Ok(())
    }

    fn add(&mut self, values: &[f32]) {
        let (first, width) = self.grid;
        for row in values.chunks(self.ranges.len()) {
            // Powers of a row first: sums of much alike lose less.
            let mut powers = [0.0; 4];
            for (&value, range) in row.iter().zip(&mut self.ranges) {
                *range = (range.0.min(value), range.1.max(value));
                let value = f64::from(value);
                let place = ((value - first) / width + 1.0).clamp(0.0, (BINS + 1) as f64);
                self.counts[place as usize] += 1;
                let from = value - self.origin;
                let mut power = 1.0;
                for sum in &mut powers {
                    power *= from;
                    *sum += power;
                }
            }
            self.powers.iter_mut().zip(powers).for_each(|(all, row)| *all += row);
        }
    }

    /// What was counted, of a layer whose activation is `applied`.
    ///
    /// # Errors
    /// As [`Applied::map`].
    pub fn layer(self, applied: Applied) -> Result<Layer, EafoError> {
        let map = applied.map()?;
        let count = self.counts.iter().sum::<u64>() as f64;
        let [first, second, third, fourth] = self.powers.map(|sum| sum / count);
        let variance = second - first * first;
        let central = fourth - 4.0 * first * third + 6.0 * first * first * second - 3.0 * first.powi(4);
        let dead = self.ranges.iter().filter(|range| is_flat(&*map, **range)).count();
        let (low, width) = self.grid;
        Ok(Layer {
            name: self.name,
            activation: applied,
            mean: self.origin + first,
            variance,
            kurtosis: central / (variance * variance),
            units: Some(self.ranges.len() as u64),
            dead_units: Some(dead as u64),
            histogram: Histogram {
                edges: (0..=BINS).map(|edge| low + width * edge as f64).collect(),
                counts: self.counts[1..=BINS].to_vec(),
                below: self.counts[0],
                above: self.counts[BINS + 1],
            },
        })
    }
}

/// Refuses values that are no finite numbers, with the first one's unit.
fn check(name: &str, values: &[f32], units: usize) -> Result<(), EafoError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => {
            let reason = format!("unit {} was given {}; the weights are damaged", place % units, values[place]);
            Err(EafoError::Samples { of: name.to_owned(), reason })
        }
    }
}

/// Whether `map` has no slope from the smallest to the largest value of a unit.
fn is_flat(map: &dyn Map, (low, high): (f32, f32)) -> bool {
    let (low, high) = (f64::from(low), f64::from(high));
    let at = |point: usize| low + (high - low) * point as f64 / (POINTS - 1) as f64;
    (0..POINTS).all(|point| map.slope(at(point)).abs() < FLAT)
}

#[cfg(test)]
mod tests {
    use random::Key;

    use super::*;

    fn relu() -> Applied {
        Applied { name: "relu".to_owned(), ..Applied::default() }
    }

    #[test]
    fn batches_together_have_the_moments_and_the_dead_units_of_all() {
        let mut draws = Key::root(3).rng();
        let mut normal = || draws.normal();
        // Two units that live, and one that never leaves ReLU's flat side.
        let mut batch = |rows: usize| -> Vec<f32> {
            (0..rows).flat_map(|_| [normal(), 1.0 + 2.0 * normal(), -5.0 - normal().abs()]).map(|x| x as f32).collect()
        };
        let batches = [batch(100), batch(3000), batch(7)];
        let mut tally = Tally::new("act", &batches[0], 3).unwrap();
        batches[1..].iter().for_each(|values| tally.take_in(values).unwrap());
        let layer = tally.layer(relu()).unwrap();
        let all: Vec<f64> = batches.iter().flatten().map(|&value| f64::from(value)).collect();
        let mean = |of: &dyn Fn(f64) -> f64| all.iter().map(|&x| of(x)).sum::<f64>() / all.len() as f64;
        let middle = mean(&|x| x);
        let variance = mean(&|x| (x - middle).powi(2));
        let kurtosis = mean(&|x| (x - middle).powi(4)) / variance.powi(2);
        assert!((layer.mean - middle).abs() < 1e-12, "{layer:?}");
        assert!((layer.variance / variance - 1.0).abs() < 1e-12 && (layer.kurtosis / kurtosis - 1.0).abs() < 1e-10);
        assert_eq!((layer.units, layer.dead_units), (Some(3), Some(1)));
        let histogram = &layer.histogram;
        assert_eq!(histogram.counts.iter().sum::<u64>() + histogram.below + histogram.above, all.len() as u64);
        // A bin counts what lies between its edges.
        let bin = 300;
        let inside = all.iter().filter(|x| (histogram.edges[bin]..histogram.edges[bin + 1]).contains(*x)).count();
        assert_eq!(histogram.counts[bin], inside as u64);
        layer.reading().unwrap();
    }

    #[test]
    fn what_makes_no_histogram_is_told_with_layer_and_unit() {
        let told = |values: &[f32]| Tally::new("blocks.1.mlp.act", values, 2).unwrap_err().to_string();
        assert!(told(&[]).contains("blocks.1.mlp.act: nothing was seen"));
        assert!(told(&[0.5; 6]).contains("all of its values are 0.5"));
        assert!(told(&[0.0, 1.0, 2.0, f32::NAN]).contains("unit 1 was given NaN"));
        let mut tally = Tally::new("act", &[0.0, 1.0, 2.0, 3.0], 2).unwrap();
        assert!(tally.take_in(&[f32::INFINITY, 1.0]).unwrap_err().to_string().contains("unit 0 was given inf"));
    }
}
