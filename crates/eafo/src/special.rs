//! Special functions in f64, with their tails: the normal law, the logistic, gamma, digamma, the incomplete beta function.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `ln √(2π)`.
pub const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// The density of the standard normal law.
pub fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x - LN_SQRT_2PI).exp()
}

/// Its distribution function, with all digits in the lower tail.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The logistic function, without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + e^x)`, without overflow on either side.
pub fn softplus(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + x.max(0.0)
}

/// `1/cosh x`.
pub fn sech(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    2.0 * e / (1.0 + e * e)
}

/// `ln Γ(x)` for x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The digamma function ψ for x > 0: recurrence up to 10, then the asymptotic series (error below 1e-13).
pub fn digamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < 10.0 {
        below -= 1.0 / x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = r * (1.0 / 12.0 - r * (1.0 / 120.0 - r * (1.0 / 252.0 - r * (1.0 / 240.0 - r / 132.0))));
    below + x.ln() - 0.5 / x - series
}

/// The regularised incomplete beta function I_x(a, b), by its continued fraction (modified Lentz).
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    front.exp() / (a * beta_fraction(a, b, x))
}

/// The continued fraction whose reciprocal stands in I_x(a, b); it converges fast for x below the mean of the law.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let term = |n: usize| {
        let m = (n / 2) as f64;
        if n.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        }
    };
    let safe = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut value, mut c, mut d) = (1.0, 1.0, 0.0);
    for n in 1..1000 {
        d = 1.0 / safe(1.0 + term(n) * d);
        c = safe(1.0 + term(n) / c);
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// The entropy of a normal law with this standard deviation, in nats: `½ ln(2πe σ²)`.
pub fn normal_entropy(deviation: f64) -> f64 {
    0.5 * (2.0 * PI * std::f64::consts::E).ln() + deviation.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_has_its_known_values() {
        let euler = 0.577_215_664_901_532_9;
        for (x, expected) in
            [(1.0, -euler), (0.5, -euler - 2.0 * 2f64.ln()), (2.0, 1.0 - euler), (100.0, 4.600161852738087)]
        {
            assert!((digamma(x) - expected).abs() < 1e-13, "ψ({x}) = {}", digamma(x));
        }
    }

    #[test]
    fn the_incomplete_beta_function_has_its_closed_forms() {
        for x in [1e-12, 0.01, 0.3, 0.5, 0.77, 0.999] {
            assert!((incomplete_beta(1.0, 1.0, x) - x).abs() < 1e-14);
            assert!((incomplete_beta(3.0, 1.0, x) - x.powi(3)).abs() < 1e-14);
            assert!((incomplete_beta(0.5, 0.5, x) - 2.0 / PI * x.sqrt().asin()).abs() < 1e-13, "{x}");
        }
    }

    #[test]
    fn tails_keep_their_digits() {
        // mpmath: ncdf(-37) and log(1 + e^-40).
        assert!((normal_cdf(-37.0) / 5.725571222524577e-300 - 1.0).abs() < 1e-12, "{:e}", normal_cdf(-37.0));
        assert!((softplus(-40.0) / 4.248354255291589e-18 - 1.0).abs() < 1e-14);
        assert!((sech(300.0).ln() - (2f64.ln() - 300.0)).abs() < 1e-12);
    }
}
