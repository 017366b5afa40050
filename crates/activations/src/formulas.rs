//! What each activation computes: the function, two derivatives in x, and the derivative in each parameter.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::Activation;

impl Activation {
    /// The value at `x`.
    ///
    /// # Panics
    /// When `values` does not hold one value for each of [`Activation::parameters`]; likewise below.
    pub fn f(self, x: f64, values: &[f64]) -> f64 {
        self.check(values);
        match self {
            Activation::Identity => x,
            Activation::Relu => relu(x),
            Activation::CrRelu => relu(x) + values[0] * bump(x),
            Activation::PRelu => {
                if x > 0.0 {
                    x
                } else {
                    values[0] * x
                }
            }
            Activation::Gelu => at_infinity(x, [0.0, x]).unwrap_or_else(|| x * normal_cdf(x)),
            Activation::Elu => {
                if x > 0.0 {
                    x
                } else {
                    values[0] * x.exp_m1()
                }
            }
            Activation::Celu => {
                if x > 0.0 {
                    x
                } else {
                    values[0] * (x / values[0]).exp_m1()
                }
            }
            Activation::Silu => at_infinity(x, [0.0, x]).unwrap_or_else(|| x * sigmoid(x)),
            Activation::Mish => at_infinity(x, [0.0, x]).unwrap_or_else(|| x * softplus(x).tanh()),
            Activation::StarRelu => values[0] * relu(x) * relu(x) + values[1],
            Activation::CrGelu => Activation::Gelu.f(x, &[]) + values[0] * bump(x),
            Activation::CrSilu => Activation::Silu.f(x, &[]) + values[0] * bump(x),
            Activation::CrMish => Activation::Mish.f(x, &[]) + values[0] * bump(x),
        }
    }

    /// The first derivative in `x`.
    pub fn df(self, x: f64, values: &[f64]) -> f64 {
        self.check(values);
        match self {
            Activation::Identity => pass_nan(x, 1.0),
            Activation::Relu => step(x),
            Activation::CrRelu => step(x) + values[0] * dbump(x),
            Activation::PRelu => pass_nan(x, if x > 0.0 { 1.0 } else { values[0] }),
            Activation::Gelu => at_infinity(x, [0.0, 1.0]).unwrap_or_else(|| normal_cdf(x) + x * normal_pdf(x)),
            Activation::Elu => pass_nan(x, if x > 0.0 { 1.0 } else { values[0] * x.exp() }),
            Activation::Celu => pass_nan(x, if x > 0.0 { 1.0 } else { (x / values[0]).exp() }),
            Activation::Silu => at_infinity(x, [0.0, 1.0]).unwrap_or_else(|| {
                let s = sigmoid(x);
                s + x * s * (1.0 - s)
            }),
            Activation::Mish => at_infinity(x, [0.0, 1.0]).unwrap_or_else(|| {
                let (t, s) = (softplus(x).tanh(), sigmoid(x));
                t + x * (1.0 - t * t) * s
            }),
            Activation::StarRelu => 2.0 * values[0] * relu(x),
            Activation::CrGelu => Activation::Gelu.df(x, &[]) + values[0] * dbump(x),
            Activation::CrSilu => Activation::Silu.df(x, &[]) + values[0] * dbump(x),
            Activation::CrMish => Activation::Mish.df(x, &[]) + values[0] * dbump(x),
        }
    }

    /// The second derivative in `x`.
    pub fn d2f(self, x: f64, values: &[f64]) -> f64 {
        self.check(values);
        match self {
            Activation::Identity | Activation::Relu | Activation::PRelu => pass_nan(x, 0.0),
            Activation::CrRelu => values[0] * d2bump(x),
            Activation::Gelu => polynomial_times_gaussian(x, 2.0 - x * x) / (2.0 * PI).sqrt(),
            Activation::Elu => pass_nan(x, if x > 0.0 { 0.0 } else { values[0] * x.exp() }),
            Activation::Celu => pass_nan(x, if x > 0.0 { 0.0 } else { (x / values[0]).exp() / values[0] }),
            Activation::Silu => at_infinity(x, [0.0, 0.0]).unwrap_or_else(|| {
                let s = sigmoid(x);
                let ds = s * (1.0 - s);
                2.0 * ds + x * ds * (1.0 - 2.0 * s)
            }),
            Activation::Mish => at_infinity(x, [0.0, 0.0]).unwrap_or_else(|| {
                let (t, s) = (softplus(x).tanh(), sigmoid(x));
                let dt = (1.0 - t * t) * s;
                let d2t = -2.0 * t * dt * s + (1.0 - t * t) * s * (1.0 - s);
                2.0 * dt + x * d2t
            }),
            Activation::StarRelu => 2.0 * values[0] * step(x),
            Activation::CrGelu => Activation::Gelu.d2f(x, &[]) + values[0] * d2bump(x),
            Activation::CrSilu => Activation::Silu.d2f(x, &[]) + values[0] * d2bump(x),
            Activation::CrMish => Activation::Mish.d2f(x, &[]) + values[0] * d2bump(x),
        }
    }

    /// The derivative in the parameter `index` of [`Activation::parameters`], whether learnable or not.
    ///
    /// # Panics
    /// Also when there is no such parameter.
    pub fn df_dparameter(self, index: usize, x: f64, values: &[f64]) -> f64 {
        self.check(values);
        match (self, index) {
            (Activation::CrRelu | Activation::CrGelu | Activation::CrSilu | Activation::CrMish, 0) => bump(x),
            (Activation::PRelu, 0) => pass_nan(x, if x > 0.0 { 0.0 } else { x }),
            (Activation::Elu, 0) => pass_nan(x, if x > 0.0 { 0.0 } else { x.exp_m1() }),
            (Activation::Celu, 0) => {
                let scaled = x / values[0];
                at_infinity(x, [-1.0, 0.0])
                    .unwrap_or_else(|| pass_nan(x, if x > 0.0 { 0.0 } else { scaled.exp_m1() - scaled * scaled.exp() }))
            }
            (Activation::StarRelu, 0) => relu(x) * relu(x),
            (Activation::StarRelu, 1) => pass_nan(x, 1.0),
            _ => panic!("{} has no parameter {index}", self.name()),
        }
    }

    fn check(self, values: &[f64]) {
        let expected = self.parameters().len();
        assert_eq!(values.len(), expected, "{} takes {expected} parameter values", self.name());
    }
}

/// The limits `[at −∞, at +∞]` where `x` is infinite.
fn at_infinity(x: f64, limits: [f64; 2]) -> Option<f64> {
    x.is_infinite().then(|| if x > 0.0 { limits[1] } else { limits[0] })
}

/// `value`, unless `x` is NaN: then NaN, which comparisons would hide.
fn pass_nan(x: f64, value: f64) -> f64 {
    if x.is_nan() { x } else { value }
}

fn relu(x: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { x }
}

fn step(x: f64) -> f64 {
    pass_nan(x, if x > 0.0 { 1.0 } else { 0.0 })
}

/// `x·e^(−x²/2)`, the correction of CRReLU and of its relatives.
fn bump(x: f64) -> f64 {
    at_infinity(x, [0.0, 0.0]).unwrap_or_else(|| x * (-0.5 * x * x).exp())
}

fn dbump(x: f64) -> f64 {
    polynomial_times_gaussian(x, 1.0 - x * x)
}

fn d2bump(x: f64) -> f64 {
    polynomial_times_gaussian(x, x * (x * x - 3.0))
}

/// `polynomial·e^(−x²/2)`, where the second factor wins once it has underflowed and the first may have overflowed.
fn polynomial_times_gaussian(x: f64, polynomial: f64) -> f64 {
    let gaussian = (-0.5 * x * x).exp();
    if gaussian == 0.0 { 0.0 } else { polynomial * gaussian }
}

/// The logistic function, without overflow on either side.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + e^x)`, without overflow on either side.
fn softplus(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + relu(x)
}

fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}
