//! Networks built from the table of models in `plan`.
//!
//! A [`Model`] is a network and its [`Parameters`], which lie in flat buffers and bear timm's names. All randomness comes
//! from outside: initial values from a key, drop-path and dropout as [`Masks`].

mod activation;
mod convolution;
mod declaration;
mod error;
mod exchange;
mod initial;
mod layers;
mod masks;
mod model;
mod network;
mod parameters;
mod patches;
mod positions;
mod pretrained;
mod residual;
mod stream;
mod swin;
mod tnt;
mod vit;
mod watching;
mod weights;
mod windows;

pub use activation::{correction_name, parameter_name};
pub use declaration::Grouping;
pub use error::ModelError;
pub use exchange::{from_safetensors, to_safetensors};
pub use masks::{Masks, Mode};
pub use model::{Model, Output};
pub use network::Dropout;
pub use parameters::{Group, Parameter, Parameters};
pub use patches::{ImageForm, Images};
pub use pretrained::{Misfit, Report};
pub use watching::Preactivations;
pub use weights::Weights;
