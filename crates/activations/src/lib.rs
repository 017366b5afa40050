//! The catalogue of scalar activations in plain Rust: the reference for everything else.
//!
//! An [`Activation`] is a name with a formula: `f(x)`, its first two derivatives, and `∂f/∂θ` for each of its parameters.
//! All of it is f64 and slow on purpose; kernels and models are tested against it.
//!
//! ```
//! use activations::Activation;
//! let crrelu = Activation::find("crrelu").unwrap();
//! let epsilon = crrelu.initial_values();
//! assert_eq!(crrelu.f(0.0, &epsilon), 0.0);
//! assert!((crrelu.f(1.0, &epsilon) - (1.0 + 0.01 * (-0.5f64).exp())).abs() < 1e-15);
//! ```
//!
//! A [`Table`] is an activation without a formula, kept as numbers, and a [`TableFile`] the TOML file that holds one.
//!
//! At a kink `df` takes the value of libtorch's backward pass, and `d2f` the second derivative on the side which that
//! value belongs to. At ±∞ every function takes its limit, where a literal reading of the formula would give ∞·0; NaN
//! stays NaN.

mod catalogue;
mod formulas;
mod table;
mod table_file;

pub use catalogue::{Activation, Parameter, UnknownActivation};
pub use table::{BadTable, Table};
pub use table_file::{TableFile, TableFileError};
