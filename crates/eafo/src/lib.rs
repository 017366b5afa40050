//! The mathematics of the search for activations by entropy (EAFO, Sun, Wu et al., arXiv 2405.12954), without libtorch.
//!
//! A [`density`] says what a network's pre-activations look like, a [`function`] what is done to them. [`entropy`] measures what comes
//! out, with atoms (such as ReLU's at 0) told apart; [`worst`] is the function with the most of it, and [`correction`] the
//! step away from there. Entropies are in nats. Everything is f64, and every integral comes with an estimate of its error.
//!
//! ```
//! use eafo::{density, entropy, function::Function};
//! let softplus = Function::parse("softplus").unwrap();
//! let gaussian = density::parse("gaussian").unwrap();
//! let found = entropy::entropy_of(&softplus, gaussian.as_ref()).unwrap();
//! assert!(found.atoms.is_empty() && found.error < 1e-9);
//! ```

pub mod bayes;
pub mod correction;
pub mod density;
pub mod entropy;
mod error;
pub mod formula;
pub mod function;
pub mod jet;
pub mod layers;
pub mod pieces;
pub mod quadrature;
pub mod rank;
mod root;
pub mod samples;
pub mod sketch;
pub mod special;
pub mod tally;
pub mod worst;

pub use error::EafoError;
