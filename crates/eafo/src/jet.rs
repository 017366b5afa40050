//! Automatic derivatives: a number together with its first three derivatives in one variable (forward mode).

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::special;

/// A value and its first three derivatives.
///
/// Derivatives follow by the rules of Leibniz and Faà di Bruno, so they are exact up to rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jet(pub [f64; 4]);

impl Jet {
    /// The variable itself, at `x`.
    pub const fn variable(x: f64) -> Jet {
        Jet([x, 1.0, 0.0, 0.0])
    }

    /// A number that does not depend on the variable.
    pub const fn constant(value: f64) -> Jet {
        Jet([value, 0.0, 0.0, 0.0])
    }

    /// The value.
    pub const fn value(self) -> f64 {
        self.0[0]
    }

    /// `g` of this, for a function `g` whose value and derivatives here are `outer`.
    pub fn chain(self, outer: [f64; 4]) -> Jet {
        let [_, u1, u2, u3] = self.0;
        let [g0, g1, g2, g3] = outer;
        Jet([g0, g1 * u1, g2 * u1 * u1 + g1 * u2, g3 * u1 * u1 * u1 + 3.0 * g2 * u1 * u2 + g1 * u3])
    }

    /// `e` to this power.
    pub fn exp(self) -> Jet {
        self.chain([self.value().exp(); 4])
    }

    /// `e` to this power, less 1, without loss of digits around 0.
    pub fn exp_m1(self) -> Jet {
        let e = self.value().exp();
        self.chain([self.value().exp_m1(), e, e, e])
    }

    /// The natural logarithm.
    pub fn ln(self) -> Jet {
        let r = 1.0 / self.value();
        self.chain([self.value().ln(), r, -r * r, 2.0 * r * r * r])
    }

    /// This to a constant power.
    pub fn powf(self, n: f64) -> Jet {
        let x = self.value();
        let power = |k: f64| x.powf(n - k);
        self.chain([power(0.0), n * power(1.0), n * (n - 1.0) * power(2.0), n * (n - 1.0) * (n - 2.0) * power(3.0)])
    }

    /// `1/this`.
    pub fn recip(self) -> Jet {
        let r = 1.0 / self.value();
        self.chain([r, -r * r, 2.0 * r * r * r, -6.0 * r * r * r * r])
    }

    /// The hyperbolic tangent; its derivatives do not vanish before they underflow.
    pub fn tanh(self) -> Jet {
        let t = self.value().tanh();
        let d = special::sech(self.value()).powi(2);
        self.chain([t, d, -2.0 * t * d, d * (4.0 * t * t - 2.0 * d)])
    }

    /// The logistic function `1/(1 + e^−x)`.
    pub fn sigmoid(self) -> Jet {
        let (s, c) = (special::sigmoid(self.value()), special::sigmoid(-self.value()));
        let d = s * c;
        self.chain([s, d, d * (c - s), d * ((c - s) * (c - s) - 2.0 * d)])
    }

    /// `ln(1 + e^x)`.
    pub fn softplus(self) -> Jet {
        let (s, c) = (special::sigmoid(self.value()), special::sigmoid(-self.value()));
        self.chain([special::softplus(self.value()), s, s * c, s * c * (c - s)])
    }

    /// The arc tangent.
    pub fn atan(self) -> Jet {
        let x = self.value();
        let d = 1.0 / (1.0 + x * x);
        self.chain([x.atan(), d, -2.0 * x * d * d, (6.0 * x * x - 2.0) * d * d * d])
    }

    /// The normal distribution function Φ.
    pub fn normal_cdf(self) -> Jet {
        let x = self.value();
        let d = special::normal_pdf(x);
        self.chain([special::normal_cdf(x), d, -x * d, (x * x - 1.0) * d])
    }
}

impl Add for Jet {
    type Output = Jet;
    fn add(self, other: Jet) -> Jet {
        Jet(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for Jet {
    type Output = Jet;
    fn sub(self, other: Jet) -> Jet {
        Jet(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
}

impl Neg for Jet {
    type Output = Jet;
    fn neg(self) -> Jet {
        Jet(self.0.map(|d| -d))
    }
}

impl Mul for Jet {
    type Output = Jet;
    fn mul(self, other: Jet) -> Jet {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (self.0, other.0);
        Jet([
            a0 * b0,
            a1 * b0 + a0 * b1,
            a2 * b0 + 2.0 * a1 * b1 + a0 * b2,
            a3 * b0 + 3.0 * a2 * b1 + 3.0 * a1 * b2 + a0 * b3,
        ])
    }
}

impl Div for Jet {
    type Output = Jet;
    #[expect(clippy::suspicious_arithmetic_impl, reason = "a quotient is the product with the reciprocal")]
    fn div(self, other: Jet) -> Jet {
        self * other.recip()
    }
}

impl Add<f64> for Jet {
    type Output = Jet;
    fn add(self, number: f64) -> Jet {
        self + Jet::constant(number)
    }
}

impl Mul<f64> for Jet {
    type Output = Jet;
    fn mul(self, number: f64) -> Jet {
        Jet(self.0.map(|d| d * number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Named = (&'static str, fn(Jet) -> Jet);

    #[test]
    fn every_rule_agrees_with_differences() {
        let functions: [Named; 12] = [
            ("exp", Jet::exp),
            ("exp_m1", Jet::exp_m1),
            ("ln", |x| (x * x + 1.0).ln()),
            ("powf", |x| (x * x + 1.0).powf(-1.7)),
            ("recip", |x| (x * x + 0.5).recip()),
            ("tanh", Jet::tanh),
            ("sigmoid", Jet::sigmoid),
            ("softplus", Jet::softplus),
            ("atan", Jet::atan),
            ("normal_cdf", Jet::normal_cdf),
            ("quotient", |x| x.sigmoid() / (x.exp() + 2.0)),
            ("product", |x| x * x.tanh() * 3.0 - -x),
        ];
        let h = 1e-3;
        for (name, function) in functions {
            for x in [-2.3, -0.4, 0.1, 0.9, 2.7] {
                let at = |x| function(Jet::variable(x)).0;
                for order in 0..3 {
                    let near = |by: f64| at(x + by * h)[order];
                    let slope = (8.0 * (near(1.0) - near(-1.0)) - (near(2.0) - near(-2.0))) / (12.0 * h);
                    let error = (at(x)[order + 1] - slope).abs() / slope.abs().max(1.0);
                    assert!(error < 1e-8, "{name}, derivative {} at {x}: {error:e}", order + 1);
                }
            }
        }
    }
}
