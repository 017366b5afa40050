//! The correction in symbols, for functions and laws with a closed form.

use activations::Activation;

use crate::density::{Density, Family, Scaled, short};
use crate::function::{Function, Kind, SELU_ALPHA, SELU_SCALE};

/// The inverse of a function in closed form, on one branch: text and numbers side by side, so that a test can hold one to the other.
#[derive(Clone, Copy, Debug)]
pub struct Inverse {
    /// Where the formula holds, such as `x > 0`.
    pub domain: &'static str,
    /// `y`.
    pub inverse: &'static str,
    /// `y′`.
    pub slope: &'static str,
    /// `y″/y′`.
    pub bend: &'static str,
    /// `y`, `y′` and `y″/y′` at `x`, with the function's first parameter.
    pub at: fn(x: f64, parameter: f64) -> [f64; 3],
}

/// The closed form of a function's inverse; `None` where there is none, as for GELU, SiLU and Mish.
pub fn inverse(function: &Function) -> Option<Inverse> {
    let of = |domain, inverse, slope, bend, at| Some(Inverse { domain, inverse, slope, bend, at });
    match function.kind() {
        Kind::Catalogue(Activation::Identity) => of("all x", "x", "1", "0", |x, _| [x, 1.0, 0.0]),
        Kind::Catalogue(Activation::Relu) => of("x > 0", "x", "1", "0", |x, _| [x, 1.0, 0.0]),
        Kind::Catalogue(Activation::PRelu) => {
            of("x < 0, with slope a; y = x for x > 0", "x/a", "1/a", "0", |x, a| [x / a, 1.0 / a, 0.0])
        }
        Kind::Catalogue(Activation::Elu) => {
            of("−α < x < 0; y = x for x > 0", "ln(1 + x/α)", "1/(x + α)", "−1/(x + α)", |x, a| {
                [(x / a).ln_1p(), 1.0 / (x + a), -1.0 / (x + a)]
            })
        }
        Kind::Catalogue(Activation::Celu) => {
            of("−α < x < 0; y = x for x > 0", "α·ln(1 + x/α)", "α/(x + α)", "−1/(x + α)", |x, a| {
                [a * (x / a).ln_1p(), a / (x + a), -1.0 / (x + a)]
            })
        }
        Kind::LeakyRelu => of("x < 0; y = x for x > 0", "100·x", "100", "0", |x, _| [100.0 * x, 100.0, 0.0]),
        Kind::Selu => {
            of("−λα < x < 0; y = x/λ for x > 0", "ln(1 + x/λα)", "1/(x + λα)", "−1/(x + λα)", |x, _| {
                let scale = SELU_SCALE * SELU_ALPHA;
                [(x / scale).ln_1p(), 1.0 / (x + scale), -1.0 / (x + scale)]
            })
        }
        Kind::Softplus => of("x > 0", "ln(e^x − 1)", "1/(1 − e^−x)", "−1/(e^x − 1)", |x, _| {
            [x.exp_m1().ln(), -1.0 / (-x).exp_m1(), -1.0 / x.exp_m1()]
        }),
        Kind::Sigmoid => of("0 < x < 1", "ln(x/(1 − x))", "1/(x(1 − x))", "(2x − 1)/(x(1 − x))", |x, _| {
            [(x / (1.0 - x)).ln(), 1.0 / (x * (1.0 - x)), (2.0 * x - 1.0) / (x * (1.0 - x))]
        }),
        Kind::Tanh => of("−1 < x < 1", "artanh x", "1/(1 − x²)", "2x/(1 − x²)", |x, _| {
            [x.atanh(), 1.0 / (1.0 - x * x), 2.0 * x / (1.0 - x * x)]
        }),
        Kind::Arctan => of("−π/2 < x < π/2", "tan x", "1 + tan² x", "2 tan x", |x, _| {
            [x.tan(), 1.0 + x.tan().powi(2), 2.0 * x.tan()]
        }),
        Kind::Softsign => of("−1 < x < 1", "x/(1 − |x|)", "1/(1 − |x|)²", "2·sgn(x)/(1 − |x|)", |x, _| {
            let rest = 1.0 - x.abs();
            [x / rest, 1.0 / (rest * rest), 2.0 * x.signum() / rest]
        }),
        Kind::LogSigmoid => of("x < 0", "−ln(e^−x − 1)", "1/(1 − e^x)", "e^x/(1 − e^x)", |x, _| {
            [x - softplus_inverse_part(x), -1.0 / x.exp_m1(), -x.exp() / x.exp_m1()]
        }),
        _ => None,
    }
}

/// `ln(1 − e^x)` for x < 0, so that `−ln(e^−x − 1) = x − ln(1 − e^x)`.
fn softplus_inverse_part(x: f64) -> f64 {
    (-x.exp_m1()).ln()
}

/// A law's density `p(y)` and its score `p′(y)/p(y)`, as text.
fn score(law: &Scaled) -> Option<(String, String)> {
    let (m, s) = (law.location(), law.scale());
    let y = if m == 0.0 { "y".to_owned() } else { format!("(y − {})", short(m)) };
    let over = |power: i32| if s == 1.0 { String::new() } else { format!("/{}", short(s.powi(power))) };
    let p = format!("p(y) is the density {}", law.name());
    match law.family() {
        Family::Gaussian | Family::HalfNormal => Some((p, format!("−{y}{}", over(2)))),
        Family::Laplace => Some((p, format!("−sgn{y}{}", over(1)).replace("sgny", "sgn(y)"))),
        Family::Logistic => Some((p, format!("−tanh({y}/{}){}", short(2.0 * s), over(1)))),
        Family::StudentT { freedom } => {
            let below = if s == 1.0 {
                format!("({} + {y}²)", short(freedom))
            } else {
                format!("({} + {y}²)", short(freedom * s * s))
            };
            Some((p, format!("−{}·{y}/{below}", short(freedom + 1.0))))
        }
        Family::Uniform => Some((p, "0".to_owned())),
    }
}

/// The correction of a function for a density in symbols; `None` where one of them has no closed form.
///
/// `Scaled` laws are looked up by their text, since a [`Density`] does not tell its kind.
pub fn formula(function: &Function, density: &dyn Density) -> Option<String> {
    let inverse = inverse(function)?;
    let law = scaled(density)?;
    let (p, score) = score(&law)?;
    // Two signs that cancel are not written.
    let against = score.strip_prefix('−').map_or_else(|| format!("−({score})"), str::to_owned);
    let eta = match (inverse.bend, inverse.slope) {
        ("0", _) if score == "0" => "0".to_owned(),
        (bend, _) if score == "0" => format!("−p(y)·({bend})"),
        ("0", "1") => format!("p(y)·{against}"),
        ("0", slope) => format!("p(y)·{against}·({slope})"),
        (bend, slope) => format!("−p(y)·[{bend} + ({score})·{}]", in_parentheses(slope)),
    };
    Some(format!("η(x) = {eta}, where y = {} ({}) and {p}", inverse.inverse, inverse.domain))
}

fn in_parentheses(text: &str) -> String {
    if text.contains(' ') && !text.starts_with("1/(") { format!("({text})") } else { text.to_owned() }
}

fn scaled(density: &dyn Density) -> Option<Scaled> {
    let name = density.name();
    let (family, inside) = crate::density::split(&name).ok()?;
    let n = crate::density::numbers(&name, inside).ok()?;
    let standard = |family| Scaled::standard(family).ok();
    match (family, n.as_slice()) {
        ("gaussian", []) => standard(Family::Gaussian),
        ("gaussian", &[m, s]) => Scaled::new(Family::Gaussian, m, s).ok(),
        ("half-normal", []) => standard(Family::HalfNormal),
        ("half-normal", &[s]) => Scaled::new(Family::HalfNormal, 0.0, s).ok(),
        ("laplace", []) => standard(Family::Laplace),
        ("laplace", &[m, s]) => Scaled::new(Family::Laplace, m, s).ok(),
        ("logistic", []) => standard(Family::Logistic),
        ("logistic", &[m, s]) => Scaled::new(Family::Logistic, m, s).ok(),
        ("uniform", []) => standard(Family::Uniform),
        ("uniform", &[low, high]) => Scaled::new(Family::Uniform, low, high - low).ok(),
        ("student-t", &[freedom]) => standard(Family::StudentT { freedom }),
        ("student-t", &[freedom, m, s]) => Scaled::new(Family::StudentT { freedom }, m, s).ok(),
        _ => None,
    }
}

/// The first-order form in symbols, with ε in the place of −t times the law's constant: the authors' form for activations without an
/// inverse, `f(x) + ε·x·e^(−x²/2)`.
pub fn authors_form(function: &Function) -> String {
    format!("{}(x) + ε·x·e^(−x²/2)", function.plain_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::density::parse;
    use crate::function::Map;

    #[test]
    fn closed_forms_invert_and_their_derivatives_are_those_of_the_jets() {
        for function in Function::all() {
            let Some(closed) = inverse(&function) else { continue };
            let parameter = function.values().first().copied().unwrap_or(0.0);
            for x in [-2.2, -0.7, -0.1, 0.3, 1.1, 2.4] {
                let in_domain = match function.plain_name() {
                    "relu" => x > 0.0,
                    "prelu" | "elu" | "celu" | "leakyrelu" | "selu" => x < 0.0,
                    _ => true,
                };
                if !in_domain {
                    continue;
                }
                let [value, f1, f2, _] = function.jet(x).0;
                let [y, slope, bend] = (closed.at)(value, parameter);
                let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * b.abs().max(1.0);
                // y′ = 1/f′ and y″/y′ = −f″/f′².
                assert!(close(y, x), "{}: y({value}) = {y}", function.name());
                assert!(close(slope, 1.0 / f1), "{}: y′ {slope}", function.name());
                assert!(close(bend, -f2 / (f1 * f1)), "{}: y″/y′ {bend}", function.name());
            }
        }
        assert!(inverse(&Function::parse("gelu").unwrap()).is_none());
    }

    #[test]
    fn formulas_read_as_a_person_writes_them() {
        let of = |name: &str, density: &str| formula(&Function::parse(name).unwrap(), parse(density).unwrap().as_ref());
        assert_eq!(
            of("relu", "gaussian").unwrap(),
            "η(x) = p(y)·y, where y = x (x > 0) and p(y) is the density gaussian"
        );
        assert_eq!(
            of("softplus", "gaussian(1, 2)").unwrap(),
            "η(x) = −p(y)·[−1/(e^x − 1) + (−(y − 1)/4)·1/(1 − e^−x)], where y = ln(e^x − 1) (x > 0) and p(y) is the density \
             gaussian(1, 2)"
        );
        assert!(of("tanh", "student-t(5)").unwrap().contains("(−6·y/(5 + y²))"));
        assert!(of("tanh", "laplace").unwrap().contains("−sgn(y)"));
        assert_eq!(of("gelu", "gaussian"), None);
        assert!(of("selu", "gaussian").unwrap().contains("y = ln(1 + x/λα)"));
        assert!(of("tanh", "uniform(-1, 1)").unwrap().starts_with("η(x) = −p(y)·(2x/(1 − x²)), where"));
        assert!(of("relu", "uniform").unwrap().starts_with("η(x) = 0, where"));
        assert_eq!(of("relu", "mixture(0.5: -2, 1; 0.5: 2, 1)"), None);
    }
}
