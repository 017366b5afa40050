//! The weights of all results along one side, as fixed-point numbers in the order in which a backend reads them.

use crate::axis::{Axis, cubic, triangle};
use crate::backend::Passes;
use crate::{Backend, Kernel};

/// Binary places of a weight: PIL's for bytes, which leave room for the sum of 255 times all weights in 32 bits.
pub(crate) const PLACES: u32 = 22;

/// What a sum begins with, so that cutting its places off rounds it.
pub(crate) const HALF: i32 = 1 << (PLACES - 1);

/// A distance at which every kernel is zero.
const FAR: f64 = 9.0;

/// Where the runs of pixels that a backend reads may lie; they are longer than what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Pulled back until they end within the row, where it is long enough.
    Inside,
    /// From the first pixel that counts on.
    FromFirst,
}

/// All weights along one side.
#[derive(Debug, Default)]
pub(crate) struct Table {
    made_for: Option<(Axis, Backend)>,
    /// Per result, where its run of pixels begins; whole fours of results, the last ones repeated.
    firsts: Vec<u32>,
    /// Per result, how many pixels of its run are there: those behind count for nothing.
    counts: Vec<u32>,
    /// (results, run): the weights in the backend's layout.
    weights: Vec<i32>,
    /// Pixels of every run.
    run: usize,
    /// No run ends behind this pixel.
    end: usize,
    /// (results, run): distances from the result, and then weights.
    exact: Vec<f64>,
}

/// As PIL rounds: half away from zero.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PLACES);
    (scaled + 0.5f64.copysign(scaled)) as i32
}

/// Turns (results, run) distances into fixed-point weights; each backend compiles it for its own instructions.
///
/// PIL divides by the sum. A product with its inverse is as good after rounding to 22 places.
#[inline(always)]
pub(crate) fn weigh(kernel: Kernel, run: usize, distances: &mut [f64], weights: &mut [i32]) {
    match kernel {
        Kernel::Triangle => distances.iter_mut().for_each(|value| *value = triangle(*value)),
        Kernel::Cubic => distances.iter_mut().for_each(|value| *value = cubic(*value)),
    }
    for run in distances.chunks_exact_mut(run) {
        let sum: f64 = run.iter().sum();
        let inverse = if sum == 0.0 { 1.0 } else { 1.0 / sum };
        run.iter_mut().for_each(|weight| *weight *= inverse);
    }
    for (weight, exact) in weights.iter_mut().zip(distances) {
        *weight = fixed(*exact);
    }
}

impl Table {
    /// Makes the table of an axis for a backend, unless it is the one already here.
    pub(crate) fn make(&mut self, axis: Axis, passes: Passes, runs: Runs) {
        if self.made_for == Some((axis, passes.backend())) {
            return;
        }
        self.made_for = None;
        let steps = axis.steps();
        self.firsts.clear();
        self.counts.clear();
        for result in 0..axis.results {
            let [first, end] = steps.bounds(result);
            self.firsts.push(first);
            self.counts.push(end - first);
        }
        self.run = (self.counts.iter().copied().max().unwrap_or(1) as usize).next_multiple_of(passes.group());
        let padded = self.firsts.len().next_multiple_of(4);
        self.exact.clear();
        self.exact.resize(padded * self.run, FAR);
        let last_first = match runs {
            Runs::Inside if self.run <= axis.pixels as usize => axis.pixels - self.run as u32,
            Runs::Inside | Runs::FromFirst => axis.pixels,
        };
        let places = self.exact.chunks_exact_mut(self.run).zip(&mut self.firsts).zip(&mut self.counts);
        for (result, ((distances, first), count)) in (0..).zip(places) {
            let skipped = first.saturating_sub(last_first);
            let counting = &mut distances[skipped as usize..(skipped + *count) as usize];
            counting.iter_mut().zip(steps.distances(result, *first)).for_each(|(place, distance)| *place = distance);
            *first -= skipped;
            *count += skipped;
        }
        self.weights.clear();
        self.weights.resize(padded * self.run, 0);
        passes.weigh(axis.kernel, self.run, &mut self.exact, &mut self.weights);
        let last = self.firsts.last().copied().unwrap_or(0);
        self.firsts.resize(padded, last);
        self.end = last as usize + self.run;
        self.made_for = Some((axis, passes.backend()));
    }

    /// Pixels of every run, whole groups of the backend.
    pub(crate) fn run(&self) -> usize {
        self.run
    }

    /// No run ends behind this pixel.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// Per result, where its run begins; whole fours of results. None begins behind a later one.
    pub(crate) fn firsts(&self) -> &[u32] {
        &self.firsts
    }

    /// Per result, how many pixels of its run are there.
    pub(crate) fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// (results, run): the weights in the backend's layout, for as many results as there are firsts.
    pub(crate) fn weights(&self) -> &[i32] {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain table has the weights of the reference, rounded, where their pixels are.
    #[test]
    fn weights_are_those_of_the_reference() {
        let (mut table, mut exact) = (Table::default(), Vec::new());
        let passes = Passes::of(Backend::Portable).expect("for every processor");
        for kernel in [Kernel::Triangle, Kernel::Cubic] {
            for (pixels, start, length, results) in [
                (300, 0.0, 300.0, 224),
                (40, 3.7, 30.1, 224),
                (1, 0.0, 1.0, 7),
                (5000, 1.5, 4001.25, 3),
                (8, 0.0, 8.0, 1),
            ] {
                let axis = Axis { kernel, pixels, start, length, results };
                table.make(axis, passes, Runs::Inside);
                assert!(table.end() <= pixels as usize);
                for result in 0..results {
                    let first = axis.weights(result, &mut exact);
                    let at = result as usize;
                    let skipped = (first - table.firsts()[at]) as usize;
                    assert_eq!(skipped + exact.len(), table.counts()[at] as usize);
                    let run = &table.weights()[at * table.run()..][..table.run()];
                    let expected: Vec<i32> = exact.iter().map(|&weight| fixed(weight)).collect();
                    assert_eq!(run[skipped..][..exact.len()], expected, "{axis:?}, {result}");
                    assert_eq!(run.iter().sum::<i32>(), expected.iter().sum());
                }
            }
        }
    }
}
