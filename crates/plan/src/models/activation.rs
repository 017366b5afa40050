//! Which activations a model has: the function, where its parameters start, whether they learn and decay, and in which
//! layers it is another one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use activations::{Activation, Parameter, TableFile};

use super::BadModel;
use super::layers::Layers;
use crate::config::{self, DecayRule};
use crate::error::nearest;

/// A function by its formula, or by numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// One of the catalogue.
    Formula(Activation),
    /// A tabulated one; it has no parameters.
    Table(Arc<TableFile>),
}

impl Function {
    /// Its name in the catalogue, or that in its file.
    pub fn name(&self) -> &str {
        match self {
            Function::Formula(activation) => activation.name(),
            Function::Table(file) => &file.name,
        }
    }

    /// The activation of the catalogue whose correction it is.
    pub fn base(&self) -> Option<Activation> {
        match self {
            Function::Formula(activation) => activation.base(),
            Function::Table(_) => None,
        }
    }

    /// Its parameters.
    pub fn parameters(&self) -> &'static [Parameter] {
        match self {
            Function::Formula(activation) => activation.parameters(),
            Function::Table(_) => &[],
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Activation> for Function {
    fn from(activation: Activation) -> Function {
        Function::Formula(activation)
    }
}

/// An activation with the values of its parameters. Each module of a model has parameters of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationSpec {
    /// The function.
    pub function: Function,
    /// Initial values, in the order of [`Function::parameters`].
    pub values: Vec<f64>,
    /// Whether training changes them; false where there are none.
    pub learnable: bool,
    /// Whether its correction follows the density of its layer's pre-activations; only of one that has a base.
    pub dynamic: bool,
    /// Whether they get weight decay; where unset, the rule of the optimiser decides.
    pub decay: Option<bool>,
}

impl ActivationSpec {
    /// The activation as its reference has it.
    pub fn reference(function: impl Into<Function>) -> ActivationSpec {
        let function = function.into();
        let learnable = function.parameters().iter().any(|parameter| parameter.learnable);
        let values = function.parameters().iter().map(|parameter| parameter.initial).collect();
        ActivationSpec { function, values, learnable, dynamic: false, decay: None }
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
    /// [`BadModel`] for an unknown name, a parameter that the activation has not or that is out of its range,
    /// `learnable` where nothing can learn, `dynamic` where nothing is corrected, and a table that is none or is missing.
    pub fn configured(config: &config::Activation, key: &str) -> Result<ActivationSpec, BadModel> {
        let bad = |part: &str, expected: String, found: String, nearest: Vec<String>| BadModel {
            key: format!("{key}.{part}"),
            expected,
            found,
            nearest,
        };
        let all = crate::schema::activation_names();
        let function = match (&config.table, config.name.as_str()) {
            (Some(text), config::Activation::TABULATED) => {
                let file = TableFile::parse(text, Path::new("the text")).map_err(|error| {
                    bad("table", "the text of a tabulated activation's file".to_owned(), error.to_string(), Vec::new())
                })?;
                Function::Table(Arc::new(file))
            }
            (None, config::Activation::TABULATED) => {
                let expected = "given by `file`, which names the file of a tabulated activation".to_owned();
                return Err(bad("table", expected, "nothing".to_owned(), Vec::new()));
            }
            (Some(_), name) => {
                let expected = format!("absent, since {name} has a formula");
                return Err(bad("table", expected, "a table".to_owned(), Vec::new()));
            }
            (None, name) => {
                let Ok(activation) = Activation::find(name) else {
                    let near = nearest(name, all.iter().copied());
                    return Err(bad("name", format!("one of {}", all.join(", ")), format!("\"{name}\""), near));
                };
                Function::Formula(activation)
            }
        };
        let mut spec = ActivationSpec::reference(function);
        for (name, value) in config.given() {
            let parameters = spec.function.parameters();
            let Some(index) = parameters.iter().position(|parameter| parameter.name == name) else {
                return Err(bad(name, parameters_of(&spec.function), value.to_string(), Vec::new()));
            };
            let parameter = parameters[index];
            if !(parameter.min..=parameter.max).contains(&value) {
                let expected = format!("a number from {} to {}", parameter.min, parameter.max);
                return Err(bad(name, expected, value.to_string(), Vec::new()));
            }
            spec.values[index] = value;
        }
        if config.learnable == Some(true) && !spec.learnable {
            let expected = format!("false or absent, since {} has nothing to learn", spec.function);
            return Err(bad("learnable", expected, "true".to_owned(), Vec::new()));
        }
        spec.learnable = config.learnable.unwrap_or(spec.learnable);
        spec.decay = config.decay;
        spec.dynamic = config.dynamic.unwrap_or(false);
        if spec.dynamic && spec.function.base().is_none() {
            let corrected = Activation::ALL.iter().filter(|one| one.base().is_some()).map(|one| one.name());
            let names = corrected.collect::<Vec<_>>().join(", ");
            let expected = format!("false or absent, since {} has no correction; {names} have one", spec.function);
            return Err(bad("dynamic", expected, "true".to_owned(), Vec::new()));
        }
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
    pub fn reference(function: impl Into<Function>) -> Activations {
        Activations { default: ActivationSpec::reference(function), layers: Vec::new() }
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

fn parameters_of(function: &Function) -> String {
    let names: Vec<&str> = function.parameters().iter().map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return format!("absent, since {function} has no parameters");
    }
    format!("absent, since {function} has only {}", names.join(" and "))
}
