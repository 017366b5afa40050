//! Means, standard deviations, and differences of paired runs with their interval.

/// How much of its probability an interval covers.
pub const COVERAGE: f64 = 0.95;

/// The arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of the population that these were drawn from (divided by n − 1); `None` of fewer than two.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The mean of differences between runs that share all but one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// How many pairs there are, at least 1.
    pub pairs: usize,
    /// Their mean.
    pub mean: f64,
    /// Half the width of the interval that covers the true mean with probability [`COVERAGE`], where differences are
    /// normally distributed (Student's t); `None` of a single pair, which says nothing of its own spread.
    pub half_width: Option<f64>,
}

/// The difference that these pairs show; `None` without any.
pub fn difference(differences: &[f64]) -> Option<Difference> {
    let half_width = standard_deviation(differences).map(|deviation| {
        let pairs = differences.len();
        student_quantile(pairs - 1) * deviation / (pairs as f64).sqrt()
    });
    Some(Difference { pairs: differences.len(), mean: mean(differences)?, half_width })
}

/// The t that a variable of Student's distribution with this many degrees of freedom (at least 1) stays within, to
/// either side, with probability [`COVERAGE`].
pub fn student_quantile(degrees: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, degrees) < COVERAGE {
        high *= 2.0;
    }
    // Bisection to the last bit: the probability rises with t.
    loop {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            return high;
        }
        match within(middle, degrees) < COVERAGE {
            true => low = middle,
            false => high = middle,
        }
    }
}

/// P(|T| ≤ t), by the finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn within(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // Each term is the one before it · cos² · (k − 1)/k, with k of the parity of the degrees.
    let series = |first: usize, mut term: f64| {
        let mut sum = 0.0;
        for k in (first..degrees).step_by(2) {
            sum += term;
            term *= cosine * cosine * k as f64 / (k + 1) as f64;
        }
        sum
    };
    match degrees % 2 {
        0 => sine * series(1, 1.0),
        _ => std::f64::consts::FRAC_2_PI * (angle + sine * series(2, cosine)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn the_mean_and_deviation_of_known_numbers() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        near(mean(&values).unwrap(), 5.0);
        near(standard_deviation(&values).unwrap(), (32.0f64 / 7.0).sqrt());
        assert_eq!((mean(&[]), standard_deviation(&[3.0])), (None, None));
    }

    /// The quantiles of 0.975, of published tables, to more places (checked against the series in another language).
    #[test]
    fn student_s_quantiles_are_known() {
        let known = [
            (1, 12.706204736174694),
            (2, 4.302652729749462),
            (3, 3.1824463052837078),
            (4, 2.7764451051977934),
            (5, 2.5705818356363146),
            (9, 2.262157162798205),
            (30, 2.042272456301238),
            (100, 1.9839715185235518),
        ];
        for (degrees, expected) in known {
            near(student_quantile(degrees), expected);
        }
        assert!((student_quantile(100_000) - 1.959_963_985).abs() < 1e-4, "the normal distribution's in the end");
    }

    #[test]
    fn the_probability_within_a_distance_has_its_closed_forms() {
        for t in [0.0, 0.3, 1.0, 2.5, 40.0] {
            near(within(t, 1), 2.0 / std::f64::consts::PI * t.atan());
            near(within(t, 2), t / (2.0 + t * t).sqrt());
        }
    }

    /// Differences 1, 2, 3: mean 2, deviation 1, and 4.3027/√3 to either side.
    #[test]
    fn a_paired_difference_has_an_interval_from_two_pairs_on() {
        let three = difference(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((three.pairs, three.mean), (3, 2.0));
        near(three.half_width.unwrap(), 4.302652729749462 / 3.0f64.sqrt());
        let one = difference(&[0.7]).unwrap();
        assert_eq!(one, Difference { pairs: 1, mean: 0.7, half_width: None });
        assert_eq!(difference(&[]), None);
        near(difference(&[0.5, 0.5]).unwrap().half_width.unwrap(), 0.0);
    }
}
