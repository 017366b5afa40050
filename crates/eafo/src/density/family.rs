//! Laws with a closed form, shifted and scaled: Gaussian, half-normal, Student-t, Laplace, logistic, uniform.

use std::f64::consts::{FRAC_2_PI, LN_2, PI, SQRT_2};

use super::{Density, short};
use crate::jet::Jet;
use crate::special::{self, LN_SQRT_2PI};
use crate::{EafoError, root};

/// The shape of a law, in its standard form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// `e^(−x²/2)/√(2π)`.
    Gaussian,
    /// `√(2/π)·e^(−x²/2)` on x ≥ 0.
    HalfNormal,
    /// `∝ (1 + x²/ν)^(−(ν+1)/2)`, with ν degrees of freedom.
    StudentT {
        /// Degrees of freedom ν, more than 2.
        freedom: f64,
    },
    /// `e^(−|x|)/2`.
    Laplace,
    /// `σ(x)·σ(−x)` with the logistic function σ.
    Logistic,
    /// 1 on [0, 1].
    Uniform,
}

/// A law of a family: `location + scale·Z` with the standard `Z`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    family: Family,
    location: f64,
    scale: f64,
}

impl Scaled {
    /// The law `location + scale·Z`. For the Gaussian that is mean and standard deviation; for the uniform, lower end and width.
    ///
    /// # Errors
    /// [`EafoError::Parameter`] for a scale that is not positive, anything that is not finite, and a Student-t without a finite
    /// second moment.
    pub fn new(family: Family, location: f64, scale: f64) -> Result<Scaled, EafoError> {
        let refuse = |parameter, value, reason: &str| {
            Err(EafoError::Parameter { of: family.name().to_owned(), parameter, value, reason: reason.to_owned() })
        };
        if let Family::StudentT { freedom } = family {
            if !freedom.is_finite() {
                return refuse("nu", freedom, "is no number of degrees of freedom; use `gaussian` for the limit");
            }
            if freedom <= 2.0 {
                let reason =
                    "has no finite second moment, so the scale of its output is not defined; nu must be more than 2";
                return refuse("nu", freedom, reason);
            }
        }
        if !location.is_finite() {
            return refuse("location", location, "must be finite");
        }
        if !(scale.is_finite() && scale > 0.0) {
            return refuse("scale", scale, "must be positive and finite");
        }
        Ok(Scaled { family, location, scale })
    }

    /// The standard form of a family.
    ///
    /// # Errors
    /// As [`Scaled::new`].
    pub fn standard(family: Family) -> Result<Scaled, EafoError> {
        Scaled::new(family, 0.0, 1.0)
    }

    /// The standard normal law.
    pub const fn gaussian() -> Scaled {
        Scaled { family: Family::Gaussian, location: 0.0, scale: 1.0 }
    }

    /// The family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Where 0 of the standard form lies.
    pub const fn location(&self) -> f64 {
        self.location
    }

    /// How wide 1 of the standard form is.
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    fn standardised(&self, x: f64) -> f64 {
        (x - self.location) / self.scale
    }
}

impl Family {
    /// Its name in [`super::parse`].
    pub const fn name(self) -> &'static str {
        match self {
            Family::Gaussian => "gaussian",
            Family::HalfNormal => "half-normal",
            Family::StudentT { .. } => "student-t",
            Family::Laplace => "laplace",
            Family::Logistic => "logistic",
            Family::Uniform => "uniform",
        }
    }

    fn log_pdf(self, z: f64) -> f64 {
        match self {
            Family::Gaussian => -0.5 * z * z - LN_SQRT_2PI,
            Family::HalfNormal if z < 0.0 => f64::NEG_INFINITY,
            Family::HalfNormal => -0.5 * z * z - LN_SQRT_2PI + LN_2,
            Family::StudentT { freedom: nu } => {
                let norm = special::ln_gamma(0.5 * (nu + 1.0)) - special::ln_gamma(0.5 * nu) - 0.5 * (nu * PI).ln();
                norm - 0.5 * (nu + 1.0) * log_one_plus_square(z / nu.sqrt())
            }
            Family::Laplace => -z.abs() - LN_2,
            Family::Logistic => -special::softplus(z) - special::softplus(-z),
            Family::Uniform if (0.0..=1.0).contains(&z) => 0.0,
            Family::Uniform => f64::NEG_INFINITY,
        }
    }

    /// The standard density with its first two derivatives.
    fn slopes(self, z: f64) -> [f64; 3] {
        let p = self.log_pdf(z).exp();
        match self {
            Family::Gaussian | Family::HalfNormal => [p, -z * p, (z * z - 1.0) * p],
            Family::StudentT { freedom: nu } => {
                let (weight, below) = (nu + 1.0, nu + z * z);
                let score = -weight * z / below;
                [p, score * p, p * (score * score - weight * (nu - z * z) / (below * below))]
            }
            Family::Laplace => [p, -z.signum() * p, p],
            Family::Logistic => {
                let x = Jet::variable(z);
                let [p, first, second, _] = (x.sigmoid() * (-x).sigmoid()).0;
                [p, first, second]
            }
            Family::Uniform => [p, 0.0, 0.0],
        }
    }

    fn cdf(self, z: f64) -> f64 {
        match self {
            Family::Gaussian => special::normal_cdf(z),
            Family::HalfNormal => libm::erf(z.max(0.0) / SQRT_2),
            Family::StudentT { freedom: nu } => {
                let tail = 0.5 * special::incomplete_beta(0.5 * nu, 0.5, nu / (nu + z * z));
                if z < 0.0 { tail } else { 1.0 - tail }
            }
            Family::Laplace if z < 0.0 => 0.5 * z.exp(),
            Family::Laplace => 1.0 - 0.5 * (-z).exp(),
            Family::Logistic => special::sigmoid(z),
            Family::Uniform => z.clamp(0.0, 1.0),
        }
    }

    /// The quantile, for a probability inside (0, 1).
    fn quantile(self, u: f64) -> f64 {
        match self {
            Family::Laplace if u < 0.5 => (2.0 * u).ln(),
            Family::Laplace => -(2.0 * (1.0 - u)).ln(),
            Family::Logistic => u.ln() - (-u).ln_1p(),
            Family::Uniform => u,
            Family::HalfNormal => -Family::Gaussian.quantile(0.5 * (1.0 - u)),
            Family::Gaussian | Family::StudentT { .. } if u > 0.5 => -self.quantile(1.0 - u),
            Family::Gaussian | Family::StudentT { .. } => {
                let low = root::expand(0.0, -1.0, |z| self.cdf(z) <= u);
                // On the scale of logarithms the lower tail is nearly straight, and Newton's steps are good.
                let log_excess = |z: f64| {
                    let cdf = self.cdf(z);
                    (cdf.ln() - u.ln(), (self.log_pdf(z) - cdf.ln()).exp())
                };
                root::increasing(log_excess, low, 0.0)
            }
        }
    }

    /// Mean and variance of the standard form.
    fn moments(self) -> (f64, f64) {
        match self {
            Family::Gaussian => (0.0, 1.0),
            Family::HalfNormal => (FRAC_2_PI.sqrt(), 1.0 - FRAC_2_PI),
            Family::StudentT { freedom: nu } => (0.0, nu / (nu - 2.0)),
            Family::Laplace => (0.0, 2.0),
            Family::Logistic => (0.0, PI * PI / 3.0),
            Family::Uniform => (0.5, 1.0 / 12.0),
        }
    }

    fn support(self) -> (f64, f64) {
        match self {
            Family::HalfNormal => (0.0, f64::INFINITY),
            Family::Uniform => (0.0, 1.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// `ln(1 + z²)`, where z² may overflow.
fn log_one_plus_square(z: f64) -> f64 {
    if z.abs() > 1e100 { 2.0 * z.abs().ln() } else { (z * z).ln_1p() }
}

impl Density for Scaled {
    fn name(&self) -> String {
        let (location, scale) = (short(self.location), short(self.scale));
        let standard = self.location == 0.0 && self.scale == 1.0;
        match self.family {
            Family::StudentT { freedom } if standard => format!("student-t({})", short(freedom)),
            Family::StudentT { freedom } => format!("student-t({}, {location}, {scale})", short(freedom)),
            Family::Uniform => format!("uniform({location}, {})", short(self.location + self.scale)),
            family if standard => family.name().to_owned(),
            Family::HalfNormal if self.location == 0.0 => format!("half-normal({scale})"),
            family => format!("{}({location}, {scale})", family.name()),
        }
    }

    fn log_pdf(&self, x: f64) -> f64 {
        self.family.log_pdf(self.standardised(x)) - self.scale.ln()
    }

    fn slopes(&self, x: f64) -> [f64; 3] {
        let [p, first, second] = self.family.slopes(self.standardised(x));
        let s = self.scale;
        [p / s, first / (s * s), second / (s * s * s)]
    }

    fn cdf(&self, x: f64) -> f64 {
        self.family.cdf(self.standardised(x))
    }

    fn quantile(&self, probability: f64) -> f64 {
        let (low, high) = self.support();
        if probability <= 0.0 {
            return low;
        }
        if probability >= 1.0 {
            return high;
        }
        self.location + self.scale * self.family.quantile(probability)
    }

    fn support(&self) -> (f64, f64) {
        let (low, high) = self.family.support();
        (self.location + self.scale * low, self.location + self.scale * high)
    }

    fn mean(&self) -> f64 {
        self.location + self.scale * self.family.moments().0
    }

    fn variance(&self) -> f64 {
        self.scale * self.scale * self.family.moments().1
    }

    fn breaks(&self) -> Vec<f64> {
        vec![self.location]
    }

    fn kinks(&self) -> Vec<f64> {
        if self.family == Family::Laplace { vec![self.location] } else { Vec::new() }
    }
}
