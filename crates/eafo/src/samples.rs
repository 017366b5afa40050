//! Entropy from samples: by the distances to nearest neighbours (Kozachenko–Leonenko) and by a histogram.

use crate::entropy::{Atom, Entropy};
use crate::{EafoError, special};

/// More samples with one value than this share are an atom there rather than a coincidence of rounding.
const ATOM_SHARE: f64 = 1e-3;

/// The samples, sorted, if there are at least `fewest` and all are finite.
///
/// # Errors
/// [`EafoError::Samples`] with the place of the first that is not finite.
pub fn checked(of: &str, samples: &[f64], fewest: usize) -> Result<Vec<f64>, EafoError> {
    let refuse = |reason: String| Err(EafoError::Samples { of: of.to_owned(), reason });
    if samples.len() < fewest {
        return refuse(format!("{} sample(s) where at least {fewest} are needed", samples.len()));
    }
    if let Some(i) = samples.iter().position(|x| !x.is_finite()) {
        return refuse(format!("sample {i} is {}; samples are finite numbers", samples[i]));
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted)
}

/// The estimate of Kozachenko and Leonenko from the distance of each sample to its `neighbour`-th nearest (3 is a good choice):
/// `ψ(n) − ψ(k) + ln 2 + mean ln ε`. Values that many samples share are atoms, and told apart.
///
/// # Errors
/// [`EafoError::Samples`] for too few samples, and for one that is not finite.
pub fn entropy_by_neighbours(of: &str, samples: &[f64], neighbour: usize) -> Result<Entropy, EafoError> {
    let neighbour = neighbour.max(1);
    let sorted = checked(of, samples, neighbour + 2)?;
    let total = sorted.len() as f64;
    let (atoms, rest) = part_atoms(sorted, neighbour);
    if rest.len() < neighbour + 2 {
        return Ok(Entropy::new(atoms, 0.0, 0.0, 0.0));
    }
    let count = rest.len() as f64;
    // Samples that share a value by rounding are at least a rounding apart.
    let least = rest.iter().fold(0.0f64, |most, x| most.max(x.abs())) * f64::EPSILON;
    let logs: f64 = (0..rest.len()).map(|i| distance(&rest, i, neighbour).max(least).ln()).sum();
    let nats = special::digamma(count) - special::digamma(neighbour as f64) + 2f64.ln() + logs / count;
    Ok(Entropy::new(atoms, count / total, nats, f64::NAN))
}

/// The estimate from a histogram with bins of the width of Freedman and Diaconis: `−Σ p ln(p/width)`.
///
/// # Errors
/// As [`histogram`].
pub fn entropy_by_histogram(of: &str, samples: &[f64]) -> Result<Entropy, EafoError> {
    let sorted = checked(of, samples, 2)?;
    let total = sorted.len() as f64;
    let (atoms, rest) = part_atoms(sorted, 3);
    if rest.len() < 2 {
        return Ok(Entropy::new(atoms, 0.0, 0.0, 0.0));
    }
    let (edges, counts) = histogram(of, &rest)?;
    Ok(Entropy::new(atoms, rest.len() as f64 / total, entropy_of_counts(&edges, &counts), f64::NAN))
}

/// The differential entropy of a histogram, in nats.
pub fn entropy_of_counts(edges: &[f64], counts: &[f64]) -> f64 {
    let total: f64 = counts.iter().sum();
    let part = |(count, pair): (&f64, &[f64])| {
        let share = count / total;
        if share > 0.0 { -share * (share / (pair[1] - pair[0])).ln() } else { 0.0 }
    };
    counts.iter().zip(edges.windows(2)).map(part).sum()
}

/// Edges and counts of a histogram whose bins have the width of Freedman and Diaconis, `2·IQR·n^(−1/3)`, at most 4,096 of them.
///
/// # Errors
/// [`EafoError::Samples`] for fewer than two samples, one that is not finite, and samples that are all equal.
pub fn histogram(of: &str, samples: &[f64]) -> Result<(Vec<f64>, Vec<f64>), EafoError> {
    let sorted = checked(of, samples, 2)?;
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    if low == high {
        let reason = format!("all {} samples are {low}; a histogram needs some that differ", sorted.len());
        return Err(EafoError::Samples { of: of.to_owned(), reason });
    }
    let last = (sorted.len() - 1) as f64;
    let at = |probability: f64| sorted[(last * probability).round() as usize];
    let width = 2.0 * (at(0.75) - at(0.25)) * (sorted.len() as f64).powf(-1.0 / 3.0);
    let bins = if width > 0.0 { ((high - low) / width).ceil().clamp(1.0, 4096.0) } else { 64.0 } as usize;
    let edge = |i: usize| if i == bins { high } else { low + (high - low) * i as f64 / bins as f64 };
    let mut counts = vec![0.0; bins];
    for x in &sorted {
        let bin = ((x - low) / (high - low) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1.0;
    }
    Ok(((0..=bins).map(edge).collect(), counts))
}

/// Values that many share, and the samples that are left.
fn part_atoms(sorted: Vec<f64>, neighbour: usize) -> (Vec<Atom>, Vec<f64>) {
    let total = sorted.len() as f64;
    let fewest = (neighbour + 1).max((ATOM_SHARE * total).ceil() as usize);
    let (mut atoms, mut rest) = (Vec::new(), Vec::new());
    for run in sorted.chunk_by(|a, b| a == b) {
        if run.len() > fewest {
            atoms.push(Atom { value: run[0], mass: run.len() as f64 / total });
        } else {
            rest.extend_from_slice(run);
        }
    }
    (atoms, rest)
}

/// The distance of sample `i` to its `k`-th nearest: a window of `k + 1` neighbours in order holds those.
fn distance(sorted: &[f64], i: usize, k: usize) -> f64 {
    let first = i.saturating_sub(k);
    let last = i.min(sorted.len() - 1 - k);
    let reach = |start: usize| (sorted[i] - sorted[start]).max(sorted[start + k] - sorted[i]);
    (first..=last).map(reach).fold(f64::INFINITY, f64::min)
}
