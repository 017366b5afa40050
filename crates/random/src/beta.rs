//! Gamma and beta variates, exact for any positive shape: what mixup and CutMix draw their weights from.

use crate::Rng;

impl Rng {
    /// A share in `[0, 1]` from the distribution Beta(`a`, `b`); both greater than 0.
    ///
    /// The ratio of two gamma variates, taken in logarithms: shapes near 0 would underflow to 0/0 otherwise.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (first, second) = (self.ln_gamma_variate(a), self.ln_gamma_variate(b));
        1.0 / (1.0 + (second - first).exp())
    }

    /// The logarithm of a variate of Gamma(`shape`, 1), `shape` > 0: Marsaglia and Tsang, "A simple method for
    /// generating gamma variables", ACM TOMS 2000.
    fn ln_gamma_variate(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // Their section 6: Gamma(a) is Gamma(a + 1) · U^(1/a).
            return self.ln_gamma_variate(shape + 1.0) + (1.0 - self.uniform()).ln() / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            if (1.0 - self.uniform()).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d.ln() + v.ln();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use crate::Key;

    const DRAWS: usize = 20_000;

    fn draws(a: f64, b: f64) -> Vec<f64> {
        let mut rng = Key::root(11).child(a.to_bits()).child(b.to_bits()).rng();
        (0..DRAWS).map(|_| rng.beta(a, b)).collect()
    }

    /// Kolmogorov and Smirnov's distance to a distribution function that has a closed form.
    #[test]
    fn beta_has_the_distribution_of_the_beta() {
        type Cumulative = fn(f64) -> f64;
        let cases: [(f64, f64, Cumulative); 7] = [
            (1.0, 1.0, |x| x),
            (0.5, 0.5, |x| 2.0 / PI * x.sqrt().asin()),
            (2.0, 1.0, |x| x * x),
            (0.2, 1.0, |x| x.powf(0.2)),
            (0.01, 1.0, |x| x.powf(0.01)),
            (1.0, 0.3, |x| 1.0 - (1.0 - x).powf(0.3)),
            (2.0, 5.0, |x| 1.0 - (1.0 - x).powi(6) - 6.0 * x * (1.0 - x).powi(5)),
        ];
        for (a, b, cumulative) in cases {
            let mut sorted = draws(a, b);
            sorted.sort_by(f64::total_cmp);
            let n = DRAWS as f64;
            let distance = sorted.iter().enumerate().fold(0f64, |worst, (rank, &x)| {
                let expected = cumulative(x);
                worst.max((expected - rank as f64 / n).abs()).max(((rank + 1) as f64 / n - expected).abs())
            });
            // A right sampler exceeds this once in a thousand seeds.
            assert!(distance < 1.95 / n.sqrt(), "Beta({a}, {b}): distance {distance}");
        }
    }

    #[test]
    fn beta_has_the_moments_of_the_beta() {
        for (a, b) in [(0.8, 0.8), (0.2, 0.2), (0.05, 0.1), (3.5, 0.7), (40.0, 60.0)] {
            let draws = draws(a, b);
            let mean = draws.iter().sum::<f64>() / DRAWS as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DRAWS as f64;
            let expected = (a / (a + b), a * b / ((a + b) * (a + b) * (a + b + 1.0)));
            assert!(
                (mean - expected.0).abs() < 5.0 * (expected.1 / DRAWS as f64).sqrt(),
                "Beta({a}, {b}): mean {mean}"
            );
            assert!((variance / expected.1 - 1.0).abs() < 0.06, "Beta({a}, {b}): variance {variance}");
        }
    }

    #[test]
    fn tiny_and_huge_shapes_stay_in_range() {
        for (a, b) in [(1e-6, 1e-6), (1e-3, 1e3), (1e6, 1e6)] {
            assert!(draws(a, b).iter().all(|x| (0.0..=1.0).contains(x)), "Beta({a}, {b})");
        }
    }
}
