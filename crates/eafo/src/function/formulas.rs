//! The formula of each function on jets, so that all of its derivatives are exact.

use activations::Activation;

use super::Kind;
use crate::jet::Jet;

/// Constants of SELU (Klambauer et al., 2017).
pub(crate) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

/// The function and three derivatives at a finite `x`.
pub(super) fn jet(kind: Kind, values: &[f64], at: f64) -> Jet {
    let x = Jet::variable(at);
    match kind {
        Kind::Catalogue(activation) => catalogue(activation, values, x),
        Kind::Softplus => x.softplus(),
        Kind::Sigmoid => x.sigmoid(),
        Kind::Tanh => x.tanh(),
        Kind::Softsign if at > 0.0 => x / (x + 1.0),
        Kind::Softsign => x / (-x + 1.0),
        Kind::Arctan => x.atan(),
        Kind::LogSigmoid => -(-x).softplus(),
        Kind::LeakyRelu => pieces(at, x, x * 0.01),
        Kind::Selu => pieces(at, x * SELU_SCALE, x.exp_m1() * (SELU_SCALE * SELU_ALPHA)),
        Kind::HardSwish if at <= -3.0 => Jet::constant(0.0),
        Kind::HardSwish if at >= 3.0 => x,
        Kind::HardSwish => x * (x + 3.0) * (1.0 / 6.0),
        Kind::Relu6 if at >= 6.0 => Jet::constant(6.0),
        Kind::Relu6 => pieces(at, x, Jet::constant(0.0)),
        // A table has no formula: its curve is asked instead.
        Kind::Table => Jet::constant(f64::NAN),
    }
}

fn catalogue(activation: Activation, values: &[f64], x: Jet) -> Jet {
    let at = x.value();
    let relu = pieces(at, x, Jet::constant(0.0));
    let bump = || x * (x * x * -0.5).exp();
    let gelu = || x * x.normal_cdf();
    let silu = || x * x.sigmoid();
    let mish = || x * x.softplus().tanh();
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu,
        Activation::CrRelu => relu + bump() * values[0],
        Activation::PRelu => pieces(at, x, x * values[0]),
        Activation::Gelu => gelu(),
        Activation::Elu => pieces(at, x, x.exp_m1() * values[0]),
        Activation::Celu => pieces(at, x, (x * (1.0 / values[0])).exp_m1() * values[0]),
        Activation::Silu => silu(),
        Activation::Mish => mish(),
        Activation::StarRelu => relu * relu * values[0] + values[1],
        Activation::CrGelu => gelu() + bump() * values[0],
        Activation::CrSilu => silu() + bump() * values[0],
        Activation::CrMish => mish() + bump() * values[0],
    }
}

/// `above` for x > 0, `below` otherwise: 0 belongs to the left, as in libtorch.
fn pieces(at: f64, above: Jet, below: Jet) -> Jet {
    if at > 0.0 { above } else { below }
}

/// The limits of what is not in the catalogue at ±∞; `None` at finite points.
pub(super) fn limit(kind: Kind, x: f64) -> Option<f64> {
    let [low, high] = match kind {
        Kind::Softplus | Kind::HardSwish => [0.0, f64::INFINITY],
        Kind::Sigmoid => [0.0, 1.0],
        Kind::Tanh | Kind::Softsign => [-1.0, 1.0],
        Kind::Arctan => [-std::f64::consts::FRAC_PI_2, std::f64::consts::FRAC_PI_2],
        Kind::LogSigmoid => [f64::NEG_INFINITY, 0.0],
        Kind::Relu6 => [0.0, 6.0],
        Kind::Selu => [-SELU_SCALE * SELU_ALPHA, f64::INFINITY],
        Kind::LeakyRelu | Kind::Catalogue(_) | Kind::Table => [f64::NEG_INFINITY, f64::INFINITY],
    };
    x.is_infinite().then_some(if x > 0.0 { high } else { low })
}
