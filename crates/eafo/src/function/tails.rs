//! `ln |f′|` where f′ itself underflows or loses digits: entropy needs it wherever a heavy tail still has mass.

use std::f64::consts::LN_2;

use activations::Activation;

use super::Kind;
use super::formulas::{SELU_ALPHA, SELU_SCALE};
use crate::special::{LN_SQRT_2PI, softplus};

/// `ln |f′(x)|` by a formula of its own, or `None` where the logarithm of the slope is good enough.
pub(super) fn log_slope(kind: Kind, values: &[f64], x: f64) -> Option<f64> {
    match kind {
        Kind::Softplus => Some(-softplus(-x)),
        Kind::LogSigmoid => Some(-softplus(x)),
        Kind::Sigmoid => Some(-softplus(x) - softplus(-x)),
        Kind::Tanh => Some(2.0 * (LN_2 - x.abs() - (-2.0 * x.abs()).exp().ln_1p())),
        Kind::Softsign => Some(-2.0 * x.abs().ln_1p()),
        Kind::Arctan if x.abs() > 1e100 => Some(-2.0 * x.abs().ln()),
        Kind::Arctan => Some(-(x * x).ln_1p()),
        Kind::Selu if x <= 0.0 => Some((SELU_SCALE * SELU_ALPHA).ln() + x),
        Kind::Catalogue(activation) if x < 0.0 => of_catalogue(activation, values, x),
        _ => None,
    }
}

/// Left of 0.
fn of_catalogue(activation: Activation, values: &[f64], x: f64) -> Option<f64> {
    match activation {
        Activation::Elu => Some(values[0].ln() + x),
        Activation::Celu => Some(x / values[0]),
        Activation::CrRelu if values[0] != 0.0 => Some((values[0] * (1.0 - x * x)).abs().ln() - 0.5 * x * x),
        Activation::Gelu if x < -20.0 => Some(of_gelu(x, 0.0)),
        Activation::CrGelu if x < -20.0 => Some(of_gelu(x, values[0])),
        // σ(x) and tanh(ln(1 + e^x)) are e^x there, to 1e-13 of it; the bump is far below.
        Activation::Silu | Activation::Mish | Activation::CrSilu | Activation::CrMish if x < -30.0 => {
            Some(x + (1.0 + x).abs().ln())
        }
        _ => None,
    }
}

/// `φ(x)·|x + Φ(x)/φ(x) + ε√(2π)(1 − x²)|`, with Mills' ratio by its asymptotic series (to 1e-10 below −20).
fn of_gelu(x: f64, epsilon: f64) -> f64 {
    let r = 1.0 / (x * x);
    let mills = -(1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r)))) / x;
    let factor = x + mills + epsilon * LN_SQRT_2PI.exp() * (1.0 - x * x);
    -0.5 * x * x - LN_SQRT_2PI + factor.abs().ln()
}
