//! Which activations a model has: the function, where its parameters start, whether they learn and decay, and in which
//! layers it is another one.

use activations::Activation;

use super::BadModel;
use super::layers::Layers;
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

    /// The activation that a config asks for under `key`, the key below `model`.
    ///
    /// # Errors
    /// [`BadModel`] for an unknown name, a parameter that the activation has not or that is out of its range, and
    /// `learnable` where nothing can learn.
    pub fn configured(config: &config::Activation, key: &str) -> Result<ActivationSpec, BadModel> {
        let bad = |part: &str, expected: String, found: String, nearest: Vec<String>| BadModel {
            key: format!("{key}.{part}"),
            expected,
            found,
            nearest,
        };
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

/// The activations of a model: one for all of its modules, and others for some of its layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    /// Where nothing else is said.
    pub default: ActivationSpec,
    /// For the modules of these layers; no module belongs to two of them.
    pub layers: Vec<(Layers, ActivationSpec)>,
}

impl Activations {
    /// The same activation everywhere, as its reference has it.
    pub fn reference(activation: Activation) -> Activations {
        Activations { default: ActivationSpec::reference(activation), layers: Vec::new() }
    }

    /// The activation of the module of this name, such as `blocks.3.mlp.act`.
    pub fn of(&self, module: &str) -> &ActivationSpec {
        let other = self.layers.iter().find(|(layers, _)| layers.contain(module));
        other.map_or(&self.default, |(_, spec)| spec)
    }

    /// How many numbers these modules learn.
    pub fn num_learnable(&self, modules: &[String]) -> usize {
        modules.iter().map(|module| self.of(module).num_learnable()).sum()
    }

    /// The activations that a config asks for in a model with these modules; `own` is the model's own.
    ///
    /// # Errors
    /// As [`ActivationSpec::configured`]; and for layers that hold no activation, or that two entries claim.
    pub fn configured(
        config: Option<&config::Activations>,
        own: Activations,
        modules: &[String],
    ) -> Result<Activations, BadModel> {
        let Some(config) = config else { return Ok(own) };
        let default = ActivationSpec::configured(&config.default, config.key_of_default())?;
        let mut layers: Vec<(Layers, ActivationSpec)> = Vec::new();
        for (pattern, activation) in &config.layers {
            let key = format!("activation.{pattern}");
            let named = Layers::parse(pattern).filter(|named| modules.iter().any(|module| named.contain(module)));
            let Some(named) = named else {
                let expected = format!("layers of the model that hold an activation: {}", Layers::known(modules));
                let nearest = Layers::nearest(pattern, modules);
                return Err(BadModel { key, expected, found: format!("\"{pattern}\""), nearest });
            };
            let claimed =
                |module: &&String| named.contain(module) && layers.iter().any(|(other, _)| other.contain(module));
            if let Some(module) = modules.iter().find(claimed) {
                let expected = "layers that no other entry names".to_owned();
                return Err(BadModel::new(&key, expected, format!("{module}, which two entries name")));
            }
            layers.push((named, ActivationSpec::configured(activation, &key)?));
        }
        Ok(Activations { default, layers })
    }
}

fn parameters_of(activation: Activation) -> String {
    let names: Vec<&str> = activation.parameters().iter().map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return format!("absent, since {activation} has no parameters");
    }
    format!("absent, since {activation} has only {}", names.join(" and "))
}
