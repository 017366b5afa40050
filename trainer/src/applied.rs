//! The function that an activation of a model has become, as the mathematics of EAFO takes it.

use activations::Table;
use eafo::layers::{Applied, Nodes};
use kernels::activation::Correction;
use models::{Parameters, parameter_name};
use plan::models::{ActivationSpec, Function};

use crate::sketches::{correction, numbers};

/// The activation of `module` with what it has learned.
pub fn applied(spec: &ActivationSpec, module: &str, parameters: &Parameters) -> Applied {
    let formula = match &spec.function {
        Function::Formula(formula) => *formula,
        Function::Table(file) => {
            return Applied { name: file.name.clone(), table: Some(Nodes::from(&file.table)), ..Applied::default() };
        }
    };
    let value = |(parameter, initial): (&activations::Parameter, &f64)| {
        let learned = parameters.get(&parameter_name(module, formula, parameter.name));
        learned.map_or(*initial, |learned| learned.tensor.double_value(&[0]))
    };
    let values: Vec<f64> = formula.parameters().iter().zip(&spec.values).map(value).collect();
    let dynamic: Option<Table> = spec
        .dynamic
        .then(|| Correction::table(&numbers(&correction(parameters, module))).expect("a model keeps a table"));
    Applied {
        name: formula.name().to_owned(),
        epsilon: formula.parameters().iter().position(|one| one.name == "epsilon").map(|place| values[place]),
        parameters: values,
        table: None,
        correction: dynamic.as_ref().map(Nodes::from),
    }
}
