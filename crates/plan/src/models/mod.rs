//! The models by timm's names: what each is made of, and what it costs.

mod activation;
mod convolution;
mod error;
mod family;
mod layers;
mod preprocessing;
mod regnet;
mod resnet;
mod swin;
mod table;
mod tnt;
mod vit;

pub use activation::{ActivationSpec, Activations, Function};
pub use convolution::{Convolution, ConvolutionalSpec, Layout, Residual, Squeeze, Unit};
pub use error::{BadModel, UnknownModel};
pub use family::{Depth, Family, Kept, KeptByBlocks, Product, Shape, drop_path_rates};
pub use layers::Layers;
pub use preprocessing::Preprocessing;
pub use regnet::{RegNetSpec, RegNetStage};
pub use resnet::{ResNetBlock, ResNetSpec};
pub use swin::{SwinSpec, SwinStage};
pub use table::{Entry, TABLE};
pub use tnt::TntSpec;
pub use vit::VitSpec;

use crate::config;
use crate::error::nearest;

/// All that is needed to build a network.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Height and width of the input, in pixels.
    pub image_size: usize,
    /// How many classes it tells apart.
    pub num_classes: usize,
    /// Stochastic depth: the rate of the last block, rising linearly from 0 at the first.
    pub drop_path: f64,
    /// Dropout before the classifiers.
    pub drop: f64,
    /// Its activations: of the MLPs of a transformer, and of all layers that have one otherwise.
    pub activations: Activations,
    /// Its family, and the sizes that matter there.
    pub architecture: Architecture,
}

/// The families of networks, each with its sizes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// A plain vision transformer: ViT and DeiT, with and without class and distillation tokens.
    Vit(VitSpec),
    /// A transformer in transformer.
    Tnt(TntSpec),
    /// A transformer with shifted windows.
    Swin(SwinSpec),
    /// A convolutional network of residual blocks.
    Convolutional(ConvolutionalSpec),
}

impl Architecture {
    /// What the family says about itself.
    pub fn family(&self) -> &dyn Family {
        match self {
            Architecture::Vit(spec) => spec,
            Architecture::Tnt(spec) => spec,
            Architecture::Swin(spec) => spec,
            Architecture::Convolutional(spec) => spec,
        }
    }

    fn configured(self, config: &config::Model, image_size: usize) -> Result<Architecture, BadModel> {
        Ok(match self {
            Architecture::Vit(spec) => Architecture::Vit(spec.configured(config, image_size)?),
            Architecture::Tnt(spec) => Architecture::Tnt(spec.configured(config, image_size)?),
            Architecture::Swin(spec) => Architecture::Swin(spec.configured(config, image_size)?),
            Architecture::Convolutional(spec) => Architecture::Convolutional(spec.configured(config)?),
        })
    }
}

impl ModelSpec {
    /// What goes in and comes out.
    pub fn shape(&self) -> Shape {
        Shape { image_size: self.image_size, num_classes: self.num_classes }
    }

    /// The sides of any input are multiples of it, in pixels: the size of a patch.
    pub fn stride(&self) -> usize {
        self.architecture.family().stride()
    }

    /// How many numbers it learns, those of its activations included.
    pub fn parameters(&self) -> u64 {
        let family = self.architecture.family();
        family.parameters(self.shape()) + self.activations.num_learnable(&family.activations()) as u64
    }

    /// Floating-point operations of the matrix products and convolutions of one forward pass of one image; a multiply-add
    /// counts as two.
    ///
    /// Half of it is what publications call GFLOPs and timm GMACs.
    pub fn flops(&self) -> u64 {
        2 * self.architecture.family().multiply_adds(self.shape())
    }
}

/// All names, in the order of the table.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.name).collect()
}

/// The reference of this name: at its own resolution, with 1000 classes and its own activation.
///
/// # Errors
/// [`UnknownModel`] with the nearest names.
pub fn find(name: &str) -> Result<ModelSpec, UnknownModel> {
    match TABLE.iter().find(|entry| entry.name == name) {
        Some(entry) => Ok((entry.reference)()),
        None => Err(UnknownModel { name: name.to_owned(), nearest: nearest(name, names()) }),
    }
}

/// The model that a config asks for, with this many classes.
///
/// # Errors
/// [`BadModel`] for an unknown name, sizes that do not fit each other, a parameter that an activation has not, or layers
/// that the model has not.
pub fn configured(config: &config::Model, num_classes: usize) -> Result<ModelSpec, BadModel> {
    let reference = find(&config.name).map_err(|unknown| BadModel {
        key: "name".to_owned(),
        expected: format!("one of {}", names().join(", ")),
        found: format!("\"{}\"", unknown.name),
        nearest: unknown.nearest,
    })?;
    let image_size = config.image_size.unwrap_or(reference.image_size);
    let architecture = reference.architecture.configured(config, image_size)?;
    let modules = architecture.family().activations();
    Ok(ModelSpec {
        image_size,
        num_classes,
        drop_path: config.drop_path,
        drop: config.drop,
        activations: Activations::configured(config.activation.as_ref(), reference.activations, &modules)?,
        architecture,
    })
}
