//! Which activations there are: their names, their parameters, and how to find one by name.

/// A scalar activation function, without the values of its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(0, x)`.
    Relu,
    /// `max(0, x) + ε·x·e^(−x²/2)` (Sun, Wu et al., arXiv 2405.12954); ε is learnable.
    CrRelu,
    /// `x` for x > 0, otherwise `slope·x`, as `torch.nn.PReLU` with one parameter; the slope is learnable.
    PRelu,
    /// `x·Φ(x)` with the normal distribution function Φ, exact, as `torch.nn.GELU` without approximation.
    Gelu,
    /// `x` for x > 0, otherwise `α·(e^x − 1)`, as `torch.nn.ELU`; α is fixed.
    Elu,
    /// `x` for x > 0, otherwise `α·(e^(x/α) − 1)`, as `torch.nn.CELU`; α is fixed.
    Celu,
    /// `x·σ(x)` with the logistic function σ, as `torch.nn.SiLU` (Swish).
    Silu,
    /// `x·tanh(ln(1 + e^x))`, as `torch.nn.Mish`.
    Mish,
    /// `scale·max(0, x)² + bias` as timm's `StarReLU`; both are learnable.
    StarRelu,
    /// GELU with the correction of CRReLU, `x·Φ(x) + ε·x·e^(−x²/2)`; ε is learnable.
    CrGelu,
    /// SiLU with the correction of CRReLU, `x·σ(x) + ε·x·e^(−x²/2)` (the authors' CRSwish); ε is learnable.
    CrSilu,
    /// Mish with the correction of CRReLU, `x·tanh(ln(1 + e^x)) + ε·x·e^(−x²/2)`; ε is learnable.
    CrMish,
}

/// One parameter of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in configs, such as `epsilon`.
    pub name: &'static str,
    /// Its value before training, unless a config says otherwise.
    pub initial: f64,
    /// Whether training changes it. What is not learnable is a constant of the formula.
    pub learnable: bool,
    /// The smallest value that it may start from.
    pub min: f64,
    /// The largest value that it may start from.
    pub max: f64,
}

/// No activation has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no activation is named `{name}`; {}", suggest(.nearest))]
pub struct UnknownActivation {
    /// The name that was asked for.
    pub name: String,
    /// Names that look like it, best first; empty when none does.
    pub nearest: Vec<&'static str>,
}

impl Activation {
    /// Every activation, in the order of the catalogue.
    pub const ALL: [Activation; 13] = [
        Activation::Identity,
        Activation::Relu,
        Activation::CrRelu,
        Activation::PRelu,
        Activation::Gelu,
        Activation::Elu,
        Activation::Celu,
        Activation::Silu,
        Activation::Mish,
        Activation::StarRelu,
        Activation::CrGelu,
        Activation::CrSilu,
        Activation::CrMish,
    ];

    /// The activation whose correction it is: GELU of CRGELU, ReLU of CRReLU.
    pub const fn base(self) -> Option<Activation> {
        match self {
            Activation::CrRelu => Some(Activation::Relu),
            Activation::CrGelu => Some(Activation::Gelu),
            Activation::CrSilu => Some(Activation::Silu),
            Activation::CrMish => Some(Activation::Mish),
            _ => None,
        }
    }

    /// Its name in configs and tables: lower case, without separators.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Relu => "relu",
            Activation::CrRelu => "crrelu",
            Activation::PRelu => "prelu",
            Activation::Gelu => "gelu",
            Activation::Elu => "elu",
            Activation::Celu => "celu",
            Activation::Silu => "silu",
            Activation::Mish => "mish",
            Activation::StarRelu => "starrelu",
            Activation::CrGelu => "crgelu",
            Activation::CrSilu => "crsilu",
            Activation::CrMish => "crmish",
        }
    }

    /// Its parameters, in the order in which [`Activation::f`] takes their values.
    pub const fn parameters(self) -> &'static [Parameter] {
        match self {
            Activation::CrRelu | Activation::CrGelu | Activation::CrSilu | Activation::CrMish => {
                &[Parameter { name: "epsilon", initial: 0.01, learnable: true, min: -100.0, max: 100.0 }]
            }
            Activation::PRelu => {
                &[Parameter { name: "slope", initial: 0.25, learnable: true, min: -100.0, max: 100.0 }]
            }
            Activation::Elu | Activation::Celu => {
                &[Parameter { name: "alpha", initial: 1.0, learnable: false, min: 0.001, max: 100.0 }]
            }
            Activation::StarRelu => &[
                Parameter { name: "scale", initial: 1.0, learnable: true, min: -100.0, max: 100.0 },
                Parameter { name: "bias", initial: 0.0, learnable: true, min: -100.0, max: 100.0 },
            ],
            Activation::Identity | Activation::Relu | Activation::Gelu | Activation::Silu | Activation::Mish => &[],
        }
    }

    /// The initial values of its parameters.
    pub fn initial_values(self) -> Vec<f64> {
        self.parameters().iter().map(|parameter| parameter.initial).collect()
    }

    /// Where the function or its first derivative jumps; finite differences mean nothing next to these points.
    pub const fn kinks(self) -> &'static [f64] {
        match self {
            Activation::Identity
            | Activation::Gelu
            | Activation::Silu
            | Activation::Mish
            | Activation::CrGelu
            | Activation::CrSilu
            | Activation::CrMish => &[],
            Activation::Relu
            | Activation::CrRelu
            | Activation::PRelu
            | Activation::Elu
            | Activation::Celu
            | Activation::StarRelu => &[0.0],
        }
    }

    /// The activation of this name; case, `-` and `_` do not matter.
    ///
    /// # Errors
    /// [`UnknownActivation`] with the names that look most like it.
    pub fn find(name: &str) -> Result<Activation, UnknownActivation> {
        let plain = plain(name);
        Activation::ALL.into_iter().find(|activation| activation.name() == plain).ok_or_else(|| {
            let mut near: Vec<(f64, &'static str)> = Activation::ALL
                .iter()
                .map(|activation| (strsim::jaro_winkler(&plain, activation.name()), activation.name()))
                .filter(|&(likeness, _)| likeness > 0.7)
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let nearest = near.into_iter().take(3).map(|(_, name)| name).collect();
            UnknownActivation { name: name.to_owned(), nearest }
        })
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

fn suggest(nearest: &[&'static str]) -> String {
    if nearest.is_empty() {
        let all: Vec<_> = Activation::ALL.iter().map(|activation| activation.name()).collect();
        return format!("there are {}", all.join(", "));
    }
    format!("did you mean {}?", nearest.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_activation() {
        for activation in Activation::ALL {
            assert_eq!(Activation::find(activation.name()), Ok(activation));
        }
        assert_eq!(Activation::find("CRReLU"), Ok(Activation::CrRelu));
        assert_eq!(Activation::find("star_relu"), Ok(Activation::StarRelu));
        assert_eq!(Activation::find("CRGELU"), Ok(Activation::CrGelu));
    }

    #[test]
    fn an_unknown_name_is_told_its_neighbours() {
        let error = Activation::find("crelu").unwrap_err();
        assert_eq!(error.nearest.first(), Some(&"crrelu"));
        assert!(error.to_string().contains("did you mean crrelu"), "{error}");
        let error = Activation::find("zzz").unwrap_err();
        assert!(error.nearest.is_empty());
        assert!(error.to_string().contains("identity, relu, crrelu"), "{error}");
    }

    #[test]
    fn initial_values_lie_in_their_ranges() {
        for parameter in Activation::ALL.iter().flat_map(|activation| activation.parameters()) {
            assert!((parameter.min..=parameter.max).contains(&parameter.initial), "{}", parameter.name);
        }
    }
}
