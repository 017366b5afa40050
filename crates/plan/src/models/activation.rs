//! Which activation a model has: the function, where its parameters start, and whether they learn and decay.

use activations::Activation;

use super::BadModel;
use crate::config::{self, DecayRule};
use crate::error::nearest;

/// An activation with the values of its parameters. Each module of a model has parameters of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationSpec {
    /// The function.
    pub activation: Activation,
    /// Initial values, in the order of [`Activation::parameters`].
    pub values: Vec<f64>,
    /// Whether training changes them; false where there are none.
    pub learnable: bool,
    /// Whether they get weight decay; where unset, the rule of the optimiser decides.
    pub decay: Option<bool>,
}

impl ActivationSpec {
    /// The activation as its reference has it.
    pub fn reference(activation: Activation) -> ActivationSpec {
        let learnable = activation.parameters().iter().any(|parameter| parameter.learnable);
        ActivationSpec { activation, values: activation.initial_values(), learnable, decay: None }
    }

    /// How many numbers one module of it learns.
    pub fn num_learnable(&self) -> usize {
        if self.learnable { self.values.len() } else { 0 }
    }

    /// Whether its parameters get weight decay: they have one dimension, so the rule `matrices` spares them.
    pub fn decays(&self, rule: DecayRule) -> bool {
        self.decay.unwrap_or(rule == DecayRule::All)
    }

    /// The activation that a config asks for.
    ///
    /// # Errors
    /// [`BadModel`] for an unknown name, a parameter that the activation has not or that is out of its range, and
    /// `learnable` where nothing can learn.
    pub fn configured(config: &config::Activation) -> Result<ActivationSpec, BadModel> {
        let all = crate::schema::activation_names();
        let Ok(activation) = Activation::find(&config.name) else {
            let near = nearest(&config.name, all.iter().copied());
            return Err(bad("name", format!("one of {}", all.join(", ")), format!("\"{}\"", config.name), near));
        };
        let mut spec = ActivationSpec::reference(activation);
        for (name, value) in config.given() {
            let Some(index) = activation.parameters().iter().position(|parameter| parameter.name == name) else {
                return Err(bad(name, parameters_of(activation), value.to_string(), Vec::new()));
            };
            let parameter = activation.parameters()[index];
            if !(parameter.min..=parameter.max).contains(&value) {
                let expected = format!("a number from {} to {}", parameter.min, parameter.max);
                return Err(bad(name, expected, value.to_string(), Vec::new()));
            }
            spec.values[index] = value;
        }
        if config.learnable == Some(true) && !spec.learnable {
            let expected = format!("false or absent, since {activation} has nothing to learn");
            return Err(bad("learnable", expected, "true".to_owned(), Vec::new()));
        }
        spec.learnable = config.learnable.unwrap_or(spec.learnable);
        spec.decay = config.decay;
        Ok(spec)
    }
}

fn parameters_of(activation: Activation) -> String {
    let names: Vec<&str> = activation.parameters().iter().map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return format!("absent, since {activation} has no parameters");
    }
    format!("absent, since {activation} has only {}", names.join(" and "))
}

fn bad(key: &str, expected: String, found: String, nearest: Vec<String>) -> BadModel {
    BadModel { key: format!("activation.{key}"), expected, found, nearest }
}
