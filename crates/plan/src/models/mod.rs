//! The table of models: timm's names, what each is made of, and what it costs.

mod activation;
mod preprocessing;
mod vit;

pub use activation::ActivationSpec;
pub use preprocessing::Preprocessing;
pub use vit::VitSpec;

use crate::config;
use crate::error::nearest;

/// All that is needed to build a network, by family.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelSpec {
    /// A plain vision transformer: ViT and DeiT, with or without a distillation token.
    Vit(VitSpec),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// timm's name.
    pub name: &'static str,
    /// Top-1 on ImageNet-1K that its authors published for training on ImageNet-1K alone, in percent.
    pub published_top1: Option<f64>,
    reference: fn() -> ModelSpec,
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model is named `{name}`{}", if .nearest.is_empty() { String::new() } else { format!("; did you mean {}?", .nearest.join(" or ")) })]
pub struct UnknownModel {
    /// The name that was asked for.
    pub name: String,
    /// Names that look like it, best first.
    pub nearest: Vec<String>,
}

/// A model that cannot be built, by the key of `[model]` that is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` must be {expected}; found {found}")]
pub struct BadModel {
    /// The key below `model`, such as `num_heads` or `activation.alpha`.
    pub key: String,
    /// What it takes.
    pub expected: String,
    /// What it holds.
    pub found: String,
    /// Names that look like the one found, best first.
    pub nearest: Vec<String>,
}

/// The table, smallest first within a family.
pub const TABLE: &[Entry] = &[
    Entry { name: "vit_tiny_patch16_224", published_top1: None, reference: || vit(192, 3, false) },
    Entry { name: "vit_small_patch16_224", published_top1: None, reference: || vit(384, 6, false) },
    Entry { name: "vit_base_patch16_224", published_top1: None, reference: || vit(768, 12, false) },
    Entry { name: "deit_tiny_patch16_224", published_top1: Some(72.2), reference: || vit(192, 3, false) },
    Entry { name: "deit_small_patch16_224", published_top1: Some(79.9), reference: || vit(384, 6, false) },
    Entry { name: "deit_base_patch16_224", published_top1: Some(81.8), reference: || vit(768, 12, false) },
    Entry { name: "deit_tiny_distilled_patch16_224", published_top1: Some(74.5), reference: || vit(192, 3, true) },
    Entry { name: "deit_small_distilled_patch16_224", published_top1: Some(81.2), reference: || vit(384, 6, true) },
    Entry { name: "deit_base_distilled_patch16_224", published_top1: Some(83.4), reference: || vit(768, 12, true) },
];

fn vit(embed_dim: usize, num_heads: usize, distilled: bool) -> ModelSpec {
    ModelSpec::Vit(VitSpec {
        image_size: 224,
        patch_size: 16,
        embed_dim,
        depth: 12,
        num_heads,
        mlp_ratio: 4.0,
        num_classes: 1000,
        distilled,
        drop_path: 0.0,
        drop: 0.0,
        activation: ActivationSpec::reference(activations::Activation::Gelu),
    })
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
/// [`BadModel`] for an unknown name, sizes that do not fit each other, or a parameter that the activation has not.
pub fn configured(config: &config::Model, num_classes: usize) -> Result<ModelSpec, BadModel> {
    let reference = find(&config.name).map_err(|unknown| BadModel {
        key: "name".to_owned(),
        expected: format!("one of {}", names().join(", ")),
        found: format!("\"{}\"", unknown.name),
        nearest: unknown.nearest,
    })?;
    match reference {
        ModelSpec::Vit(spec) => spec.configured(config, num_classes).map(ModelSpec::Vit),
    }
}

/// How many numbers the model learns, those of its activations included.
pub fn parameters(spec: &ModelSpec) -> u64 {
    match spec {
        ModelSpec::Vit(spec) => spec.parameters(),
    }
}

/// Floating-point operations of the matrix products of one forward pass of one image; a multiply-add counts as two.
///
/// Half of it is what publications call GFLOPs and timm GMACs.
pub fn flops(spec: &ModelSpec) -> u64 {
    match spec {
        ModelSpec::Vit(spec) => 2 * spec.multiply_adds(),
    }
}

impl ModelSpec {
    /// Height and width of the input, in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            ModelSpec::Vit(spec) => spec.image_size,
        }
    }

    /// Height and width of a patch, in pixels: they divide those of any input.
    pub fn patch_size(&self) -> usize {
        match self {
            ModelSpec::Vit(spec) => spec.patch_size,
        }
    }

    /// How many classes it tells apart.
    pub fn num_classes(&self) -> usize {
        match self {
            ModelSpec::Vit(spec) => spec.num_classes,
        }
    }

    /// The activation of its MLPs.
    pub fn activation(&self) -> &ActivationSpec {
        match self {
            ModelSpec::Vit(spec) => &spec.activation,
        }
    }
}
