//! Networks built from the table of models in `plan`.
//!
//! A [`Model`] is a network and its [`Parameters`], which lie in flat buffers and bear timm's names. All randomness comes
//! from outside: initial values from a key, drop-path and dropout as [`Masks`].

mod activation;
mod declaration;
mod error;
mod exchange;
mod initial;
mod layers;
mod masks;
mod model;
mod parameters;
mod pretrained;
mod vit;
mod weights;

pub use error::ModelError;
pub use exchange::{from_safetensors, to_safetensors};
pub use masks::{Masks, Mode};
pub use model::{Dropout, Model, Output};
pub use parameters::{Group, Parameter, Parameters};
pub use pretrained::{Misfit, Report};
pub use weights::Weights;
