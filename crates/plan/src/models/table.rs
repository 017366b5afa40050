//! The table of models: timm's names, and what each is made of.

use activations::Activation;

use super::{Activations, Architecture, ConvolutionalSpec, ModelSpec, ResNetBlock, ResNetSpec, TntSpec, VitSpec};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// timm's name.
    pub name: &'static str,
    /// Top-1 on ImageNet-1K that its authors published for training on ImageNet-1K alone, in percent.
    pub published_top1: Option<f64>,
    pub(super) reference: fn() -> ModelSpec,
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
    Entry { name: "tnt_s_patch16_224", published_top1: Some(81.5), reference: tnt_small },
    Entry { name: "resnet18", published_top1: None, reference: || resnet(ResNetBlock::Basic, [2, 2, 2, 2]) },
    Entry { name: "resnet50", published_top1: None, reference: || resnet(ResNetBlock::Bottleneck, [3, 4, 6, 3]) },
];

fn vit(embed_dim: usize, num_heads: usize, distilled: bool) -> ModelSpec {
    let spec = VitSpec { patch_size: 16, embed_dim, depth: 12, num_heads, mlp_ratio: 4.0, distilled };
    imagenet(Architecture::Vit(spec), Activation::Gelu)
}

fn tnt_small() -> ModelSpec {
    let spec = TntSpec {
        patch_size: 16,
        embed_dim: 384,
        inner_dim: 24,
        depth: 12,
        num_heads: 6,
        inner_heads: 4,
        mlp_ratio: 4.0,
    };
    imagenet(Architecture::Tnt(spec), Activation::Gelu)
}

fn resnet(block: ResNetBlock, depths: [usize; 4]) -> ModelSpec {
    let spec = ConvolutionalSpec::ResNet(ResNetSpec { block, depths });
    imagenet(Architecture::Convolutional(spec), Activation::Relu)
}

/// A reference at 224 pixels with ImageNet's classes.
fn imagenet(architecture: Architecture, activation: Activation) -> ModelSpec {
    ModelSpec {
        image_size: 224,
        num_classes: 1000,
        drop_path: 0.0,
        drop: 0.0,
        activations: Activations::reference(activation),
        architecture,
    }
}
