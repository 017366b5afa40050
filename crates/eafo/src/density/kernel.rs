//! Kernel density estimates: a Gaussian around every sample.

use super::Density;
use crate::special::{self, LN_SQRT_2PI};
use crate::{EafoError, root};

/// More centres than this are gathered on a grid first.
const MOST_CENTRES: usize = 1024;

/// Beyond this many bandwidths a kernel is below rounding of its neighbours.
const REACH: f64 = 9.0;

/// A kernel density estimate with Gaussian kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    name: String,
    /// Centre and weight, by rising centre; weights sum to 1.
    centres: Vec<(f64, f64)>,
    /// Sum of the weights of all centres before each, and of all.
    before: Vec<f64>,
    bandwidth: f64,
}

impl Kernel {
    /// The estimate from samples, with Silverman's bandwidth `0.9·min(σ, IQR/1.34)·n^(−1/5)`. `of` says where they come from.
    ///
    /// More than 1,024 samples are gathered on a grid first, each shared between its two neighbours there; that widens the estimate by
    /// less than a grid's step.
    ///
    /// # Errors
    /// [`EafoError::Samples`] for fewer than two samples, one that is not finite (with its place), and samples that are all equal.
    pub fn from_samples(of: &str, samples: &[f64]) -> Result<Kernel, EafoError> {
        let sorted = crate::samples::checked(of, samples, 2)?;
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        if low == high {
            let reason = format!("all {} samples are {low}; a density needs some that differ", sorted.len());
            return Err(EafoError::Samples { of: of.to_owned(), reason });
        }
        let weight = 1.0 / sorted.len() as f64;
        let count = sorted.len() as f64;
        let range = quantile_of(&sorted, 0.75) - quantile_of(&sorted, 0.25);
        let weighted: Vec<(f64, f64)> = sorted.into_iter().map(|x| (x, weight)).collect();
        Kernel::weighted(of, weighted, count, range)
    }

    /// The estimate from the counts of a histogram, each bin's count at its middle.
    ///
    /// # Errors
    /// [`EafoError::Samples`] as [`super::Polygon::new`], or where one bin holds all.
    pub fn from_histogram(of: &str, edges: &[f64], counts: &[f64]) -> Result<Kernel, EafoError> {
        let total = super::polygon::check_histogram(of, edges, counts)?;
        let middles = edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        let centres: Vec<(f64, f64)> =
            middles.zip(counts).filter(|(_, count)| **count > 0.0).map(|(x, count)| (x, count / total)).collect();
        if centres.len() < 2 {
            let reason = "one bin holds everything; a density needs some that differ".to_owned();
            return Err(EafoError::Samples { of: of.to_owned(), reason });
        }
        let range = quantile_of_weighted(&centres, 0.75) - quantile_of_weighted(&centres, 0.25);
        // Kernels narrower than bins would show the bins.
        let widest = edges.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let kernel = Kernel::weighted(of, centres.clone(), total, range)?;
        Ok(Kernel { bandwidth: kernel.bandwidth.max(widest), ..kernel })
    }

    /// The estimate from histograms that count alike, however much each holds: edges and counts of each. Its derivative is smooth
    /// too: the bandwidth is `0.9·min(σ, IQR/1.34)·n^(−1/7)`, n being all counts together, and a bin at least.
    ///
    /// # Errors
    /// As [`Kernel::from_histogram`].
    pub fn pooled(of: &str, histograms: &[(&[f64], Vec<f64>)]) -> Result<Kernel, EafoError> {
        let (mut centres, mut all, mut widest) = (Vec::new(), 0.0, 0f64);
        for (edges, counts) in histograms {
            let total = super::polygon::check_histogram(of, edges, counts)?;
            let share = 1.0 / (total * histograms.len() as f64);
            let middles = edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
            centres.extend(middles.zip(counts).filter(|(_, count)| **count > 0.0).map(|(x, n)| (x, n * share)));
            widest = edges.windows(2).map(|pair| pair[1] - pair[0]).fold(widest, f64::max);
            all += total;
        }
        centres.sort_by(|a, b| a.0.total_cmp(&b.0));
        if centres.first().map(|(x, _)| x) == centres.last().map(|(x, _)| x) {
            let reason = "one bin holds everything; a density needs some that differ".to_owned();
            return Err(EafoError::Samples { of: of.to_owned(), reason });
        }
        let range = quantile_of_weighted(&centres, 0.75) - quantile_of_weighted(&centres, 0.25);
        let kernel = Kernel::weighted(of, centres, all, range)?;
        // `weighted` has n^(−1/5), which suits the density itself.
        let bandwidth = (kernel.bandwidth * all.max(2.0).powf(0.2 - 1.0 / 7.0)).max(widest);
        Ok(Kernel { name: format!("layers({of})"), bandwidth, ..kernel })
    }

    fn weighted(of: &str, centres: Vec<(f64, f64)>, count: f64, quartile_range: f64) -> Result<Kernel, EafoError> {
        let mean: f64 = centres.iter().map(|(x, weight)| x * weight).sum();
        let deviation = centres.iter().map(|(x, weight)| weight * (x - mean).powi(2)).sum::<f64>().sqrt();
        let spread = if quartile_range > 0.0 { deviation.min(quartile_range / 1.34) } else { deviation };
        let bandwidth = 0.9 * spread * count.max(2.0).powf(-0.2);
        if !(bandwidth.is_finite() && bandwidth > 0.0) {
            let reason = format!("their spread {spread} gives no bandwidth");
            return Err(EafoError::Samples { of: of.to_owned(), reason });
        }
        let centres = if centres.len() > MOST_CENTRES { gathered(&centres) } else { centres };
        let mut before = vec![0.0];
        for (_, weight) in &centres {
            before.push(before[before.len() - 1] + weight);
        }
        Ok(Kernel { name: format!("kde({of})"), centres, before, bandwidth })
    }

    /// The standard deviation of each kernel.
    pub const fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// The range of centres within reach of `x`.
    fn near(&self, x: f64) -> std::ops::Range<usize> {
        let reach = REACH * self.bandwidth;
        let start = self.centres.partition_point(|(centre, _)| *centre < x - reach);
        let end = self.centres.partition_point(|(centre, _)| *centre <= x + reach);
        start..end
    }
}

/// The weights on an even grid, each shared between its neighbours in proportion, which keeps the mean.
fn gathered(centres: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (low, high) = (centres[0].0, centres[centres.len() - 1].0);
    let step = (high - low) / (MOST_CENTRES - 1) as f64;
    let mut weights = vec![0.0; MOST_CENTRES];
    for (x, weight) in centres {
        let place = (x - low) / step;
        let left = (place as usize).min(MOST_CENTRES - 2);
        let share = place - left as f64;
        weights[left] += weight * (1.0 - share);
        weights[left + 1] += weight * share;
    }
    let filled = weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0);
    filled.map(|(i, weight)| (low + step * i as f64, weight)).collect()
}

fn quantile_of_weighted(centres: &[(f64, f64)], probability: f64) -> f64 {
    let mut sum = 0.0;
    let reached = |(_, weight): &&(f64, f64)| {
        sum += weight;
        sum >= probability
    };
    centres.iter().find(reached).map_or(f64::NAN, |(x, _)| *x)
}

fn quantile_of(sorted: &[f64], probability: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * probability).round() as usize]
}

impl Density for Kernel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn log_pdf(&self, x: f64) -> f64 {
        if x.is_infinite() {
            return f64::NEG_INFINITY;
        }
        let near = self.near(x);
        let log = |&(centre, weight): &(f64, f64)| {
            let z = (x - centre) / self.bandwidth;
            weight.ln() - 0.5 * z * z
        };
        let sum = if near.is_empty() {
            // The nearest on either side.
            let after = near.start.min(self.centres.len() - 1);
            let nearest = &self.centres[after.saturating_sub(1)..=after];
            super::mixture::log_sum(nearest.iter().map(log))
        } else {
            let kernels = self.centres[near].iter();
            kernels
                .map(|&(centre, weight)| weight * (-0.5 * ((x - centre) / self.bandwidth).powi(2)).exp())
                .sum::<f64>()
                .ln()
        };
        sum - LN_SQRT_2PI - self.bandwidth.ln()
    }

    fn slopes(&self, x: f64) -> [f64; 3] {
        let h = self.bandwidth;
        let mut total = [0.0; 3];
        for &(centre, weight) in &self.centres[self.near(x)] {
            let z = (x - centre) / h;
            let p = weight * special::normal_pdf(z) / h;
            total[0] += p;
            total[1] -= z / h * p;
            total[2] += (z * z - 1.0) / (h * h) * p;
        }
        total
    }

    fn cdf(&self, x: f64) -> f64 {
        let near = self.near(x);
        let below = self.before[near.start];
        below + self.centres[near].iter().map(|(c, w)| w * special::normal_cdf((x - c) / self.bandwidth)).sum::<f64>()
    }

    fn quantile(&self, probability: f64) -> f64 {
        if probability <= 0.0 || probability >= 1.0 {
            return if probability <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        let room = 40.0 * self.bandwidth;
        let (low, high) = (self.centres[0].0 - room, self.centres[self.centres.len() - 1].0 + room);
        root::increasing(|x| (self.cdf(x) - probability, self.pdf(x)), low, high)
    }

    fn support(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }

    fn mean(&self) -> f64 {
        self.centres.iter().map(|(x, weight)| x * weight).sum()
    }

    fn variance(&self) -> f64 {
        let mean = self.mean();
        self.centres.iter().map(|(x, weight)| weight * (x - mean).powi(2)).sum::<f64>() + self.bandwidth.powi(2)
    }

    fn breaks(&self) -> Vec<f64> {
        // Even steps of a few bandwidths between the outermost centres, so that no lone kernel falls between two nodes.
        let (low, high) = (self.centres[0].0, self.centres[self.centres.len() - 1].0);
        let parts = ((high - low) / (8.0 * self.bandwidth)).ceil().clamp(1.0, 64.0) as usize;
        let mut breaks: Vec<f64> = (0..=parts).map(|i| low + (high - low) * i as f64 / parts as f64).collect();
        breaks.extend([low - 6.0 * self.bandwidth, high + 6.0 * self.bandwidth]);
        breaks
    }
}
