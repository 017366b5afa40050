//! Functions of one variable: the catalogue of activations, further ones and tables, with three derivatives and their tails.

mod curve;
mod formulas;
mod tails;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use activations::{Activation, Table, TableFile};

use crate::EafoError;
use crate::density::{numbers, short, split};
use crate::error::nearest;
use crate::jet::Jet;
use crate::quadrature::Tolerance;
use curve::Curve;
pub(crate) use formulas::{SELU_ALPHA, SELU_SCALE};

/// A continuous function whose slope is known.
pub trait Map: Debug {
    /// What it is called in reports and errors.
    fn name(&self) -> String;

    /// The value; the limit at ±∞.
    fn value(&self, x: f64) -> f64;

    /// The slope; one side's at a kink.
    fn slope(&self, x: f64) -> f64;

    /// `ln |slope|`, with its digits where the slope itself underflows; −∞ where the function is flat.
    fn log_slope(&self, x: f64) -> f64 {
        self.slope(x).abs().ln()
    }

    /// Where the slope or its derivative jumps, rising.
    fn kinks(&self) -> Vec<f64>;
}

/// What a function computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One of the catalogue, that a network can be trained with.
    Catalogue(Activation),
    /// `ln(1 + e^x)`.
    Softplus,
    /// `1/(1 + e^−x)`.
    Sigmoid,
    /// `tanh x`.
    Tanh,
    /// `x/(1 + |x|)`.
    Softsign,
    /// `arctan x`.
    Arctan,
    /// `−ln(1 + e^−x)`.
    LogSigmoid,
    /// `x` for x > 0, otherwise `0.01·x`.
    LeakyRelu,
    /// ELU scaled to keep mean 0 and variance 1 (Klambauer et al., 2017).
    Selu,
    /// `x·min(max(x + 3, 0), 6)/6`.
    HardSwish,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// A table, such as a correction that was derived before.
    Table,
}

const FURTHER: [(&str, Kind); 10] = [
    ("softplus", Kind::Softplus),
    ("sigmoid", Kind::Sigmoid),
    ("tanh", Kind::Tanh),
    ("softsign", Kind::Softsign),
    ("arctan", Kind::Arctan),
    ("logsigmoid", Kind::LogSigmoid),
    ("leakyrelu", Kind::LeakyRelu),
    ("selu", Kind::Selu),
    ("hardswish", Kind::HardSwish),
    ("relu6", Kind::Relu6),
];

/// A function with the values of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    kind: Kind,
    values: Vec<f64>,
    curve: Option<Arc<Curve>>,
}

impl Function {
    /// An activation of the catalogue with these parameters.
    ///
    /// # Errors
    /// [`EafoError::Text`] for another number of values; [`EafoError::Parameter`] for one outside its range.
    pub fn catalogue(activation: Activation, values: &[f64]) -> Result<Function, EafoError> {
        let parameters = activation.parameters();
        if values.len() != parameters.len() {
            let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
            let written = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let reason = format!("{} value(s) in parentheses; {activation} takes {written}", values.len());
            return Err(EafoError::Text { text: activation.name().to_owned(), reason });
        }
        for (parameter, &value) in parameters.iter().zip(values) {
            if !(parameter.min..=parameter.max).contains(&value) {
                let reason = format!("is not within {} and {}", parameter.min, parameter.max);
                return Err(EafoError::Parameter {
                    of: activation.name().to_owned(),
                    parameter: parameter.name,
                    value,
                    reason,
                });
            }
        }
        Ok(Function::of(Kind::Catalogue(activation), values.to_vec()))
    }

    const fn of(kind: Kind, values: Vec<f64>) -> Function {
        Function { kind, values, curve: None }
    }

    /// A tabulated activation. Between its nodes it is smoother than the table itself, which has no second derivative there; at the
    /// kinks that the file names it has a corner, where the table is rounded.
    pub fn table(file: &TableFile) -> Function {
        let curve = Curve::new(&file.name, &file.table, &file.kinks);
        Function { kind: Kind::Table, values: Vec::new(), curve: Some(Arc::new(curve)) }
    }

    /// The function of a text: a name, with its parameters in parentheses where they are not the catalogue's initial ones, such as
    /// `crrelu(-0.1)`, or the path of a tabulated activation, which ends in `.toml`. Case, `-` and `_` do not matter in names.
    ///
    /// # Errors
    /// [`EafoError::UnknownFunction`] with the nearest names, [`EafoError::Table`], and as [`Function::catalogue`].
    pub fn parse(text: &str) -> Result<Function, EafoError> {
        if text.trim().ends_with(".toml") {
            return Ok(Function::table(&TableFile::read(Path::new(text.trim()))?));
        }
        let (name, inside) = split(text)?;
        let plain: String = name.to_lowercase().chars().filter(|c| !matches!(c, '-' | '_')).collect();
        let values = numbers(text, inside)?;
        if let Some((_, kind)) = FURTHER.iter().find(|(known, _)| *known == plain) {
            if !values.is_empty() {
                let reason = format!("{plain} takes no parameters");
                return Err(EafoError::Text { text: text.to_owned(), reason });
            }
            return Ok(Function::of(*kind, values));
        }
        let Ok(activation) = Activation::find(&plain) else {
            let all: Vec<String> = Function::names().map(str::to_owned).collect();
            let nearest = nearest(&plain, all.iter().map(String::as_str));
            return Err(EafoError::UnknownFunction { name: name.to_owned(), nearest, all });
        };
        let values = if inside.is_none() { activation.initial_values() } else { values };
        Function::catalogue(activation, &values)
    }

    /// The names of all functions, those of the catalogue first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Activation::ALL.into_iter().map(Activation::name).chain(FURTHER.iter().map(|(name, _)| *name))
    }

    /// All functions, with the catalogue's initial parameters.
    pub fn all() -> Vec<Function> {
        let known = Activation::ALL
            .into_iter()
            .map(|activation| Function::of(Kind::Catalogue(activation), activation.initial_values()));
        known.chain(FURTHER.iter().map(|(_, kind)| Function::of(*kind, Vec::new()))).collect()
    }

    /// What it computes.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The activation of the catalogue that it is, if it is one.
    pub const fn activation(&self) -> Option<Activation> {
        if let Kind::Catalogue(activation) = self.kind { Some(activation) } else { None }
    }

    /// The values of its parameters.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The name without parameters.
    pub fn plain_name(&self) -> &str {
        match (self.kind, &self.curve) {
            (Kind::Catalogue(activation), _) => activation.name(),
            (_, Some(curve)) => curve.name(),
            (kind, None) => FURTHER.iter().find(|(_, other)| *other == kind).map_or("", |(name, _)| name),
        }
    }

    /// How close integrals over it can be asked to come: a table, whose third derivative jumps at every node, to 1e-4 at best.
    pub fn closeness(&self, wanted: Tolerance) -> Tolerance {
        const OF_TABLES: f64 = 1e-4;
        match self.kind {
            Kind::Table => {
                Tolerance { absolute: wanted.absolute.max(OF_TABLES), relative: wanted.relative.max(OF_TABLES) }
            }
            _ => wanted,
        }
    }

    /// The value with three derivatives; at a kink, those of the side that libtorch takes.
    pub fn jet(&self, x: f64) -> Jet {
        match &self.curve {
            Some(curve) => curve.jet(x),
            None => formulas::jet(self.kind, &self.values, x),
        }
    }
}

impl Map for Function {
    fn name(&self) -> String {
        let initial = self.activation().map(Activation::initial_values).unwrap_or_default();
        if self.values == initial {
            return self.plain_name().to_owned();
        }
        let values: Vec<String> = self.values.iter().map(|value| short(*value)).collect();
        format!("{}({})", self.plain_name(), values.join(", "))
    }

    fn value(&self, x: f64) -> f64 {
        match self.kind {
            Kind::Catalogue(activation) => activation.f(x, &self.values),
            Kind::Table => self.jet(x).value(),
            kind => formulas::limit(kind, x).unwrap_or_else(|| self.jet(x).value()),
        }
    }

    fn slope(&self, x: f64) -> f64 {
        match self.kind {
            Kind::Catalogue(activation) => activation.df(x, &self.values),
            _ => self.jet(x).0[1],
        }
    }

    fn log_slope(&self, x: f64) -> f64 {
        tails::log_slope(self.kind, &self.values, x).unwrap_or_else(|| self.slope(x).abs().ln())
    }

    fn kinks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Catalogue(activation) => activation.kinks().to_vec(),
            Kind::LeakyRelu | Kind::Selu | Kind::Softsign => vec![0.0],
            Kind::HardSwish => vec![-3.0, 3.0],
            Kind::Relu6 => vec![0.0, 6.0],
            Kind::Table => self.curve.iter().flat_map(|curve| curve.kinks()).collect(),
            Kind::Softplus | Kind::Sigmoid | Kind::Tanh | Kind::Arctan | Kind::LogSigmoid => Vec::new(),
        }
    }
}

/// A function and a multiple of a table: what a dynamic activation computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrected {
    /// The function that is corrected.
    pub base: Function,
    /// ε.
    pub epsilon: f64,
    /// What ε multiplies.
    pub correction: Table,
}

impl Map for Corrected {
    fn name(&self) -> String {
        format!("{} + {}·table", self.base.name(), short(self.epsilon))
    }

    fn value(&self, x: f64) -> f64 {
        self.base.value(x) + self.epsilon * self.correction.f(x)
    }

    fn slope(&self, x: f64) -> f64 {
        self.base.slope(x) + self.epsilon * self.correction.df(x)
    }

    /// The base's own digits beyond the table, where it adds nothing.
    fn log_slope(&self, x: f64) -> f64 {
        let added = self.epsilon * self.correction.df(x);
        if added == 0.0 { self.base.log_slope(x) } else { self.slope(x).abs().ln() }
    }

    fn kinks(&self) -> Vec<f64> {
        let mut all = self.base.kinks();
        all.extend(self.correction.kinks());
        all.sort_by(f64::total_cmp);
        all
    }
}

impl Map for Table {
    fn name(&self) -> String {
        "table".to_owned()
    }

    fn value(&self, x: f64) -> f64 {
        self.f(x)
    }

    fn slope(&self, x: f64) -> f64 {
        self.df(x)
    }

    fn kinks(&self) -> Vec<f64> {
        vec![self.x0(), self.end()]
    }
}
