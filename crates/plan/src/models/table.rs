//! The table of models: timm's names, and what each is made of.

use activations::Activation;

use super::{
    Activations, Architecture, ConvolutionalSpec, ModelSpec, RegNetSpec, RegNetStage, ResNetBlock, ResNetSpec,
    SwinSpec, TntSpec, VitSpec,
};

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
    Entry { name: "vit_tiny_patch16_224", published_top1: None, reference: || vit(VitSpec::new(192, 3)) },
    Entry { name: "vit_small_patch16_224", published_top1: Some(76.7), reference: || vit(VitSpec::new(384, 6)) },
    Entry { name: "vit_base_patch16_224", published_top1: Some(81.07), reference: || vit(VitSpec::new(768, 12)) },
    Entry { name: "vit_large_patch16_224", published_top1: None, reference: || vit(vit_large()) },
    Entry { name: "vit_tiny_patch16_384", published_top1: None, reference: || larger(VitSpec::new(192, 3)) },
    Entry { name: "vit_small_patch16_384", published_top1: None, reference: || larger(VitSpec::new(384, 6)) },
    Entry { name: "vit_base_patch16_384", published_top1: None, reference: || larger(VitSpec::new(768, 12)) },
    Entry { name: "vit_large_patch16_384", published_top1: None, reference: || larger(vit_large()) },
    Entry { name: "deit_tiny_patch16_224", published_top1: Some(72.2), reference: || vit(VitSpec::new(192, 3)) },
    Entry { name: "deit_small_patch16_224", published_top1: Some(79.9), reference: || vit(VitSpec::new(384, 6)) },
    Entry { name: "deit_base_patch16_224", published_top1: Some(81.8), reference: || vit(VitSpec::new(768, 12)) },
    Entry { name: "deit_base_patch16_384", published_top1: Some(83.1), reference: || larger(VitSpec::new(768, 12)) },
    Entry { name: "deit_tiny_distilled_patch16_224", published_top1: Some(74.5), reference: || vit(distilled(192, 3)) },
    Entry {
        name: "deit_small_distilled_patch16_224",
        published_top1: Some(81.2),
        reference: || vit(distilled(384, 6)),
    },
    Entry {
        name: "deit_base_distilled_patch16_224",
        published_top1: Some(83.4),
        reference: || vit(distilled(768, 12)),
    },
    Entry { name: "deit_base_distilled_patch16_384", published_top1: None, reference: || larger(distilled(768, 12)) },
    Entry { name: "deit3_small_patch16_224", published_top1: Some(81.4), reference: || vit(deit3(384, 6)) },
    Entry { name: "deit3_base_patch16_224", published_top1: Some(83.8), reference: || vit(deit3(768, 12)) },
    Entry { name: "tnt_s_patch16_224", published_top1: Some(81.5), reference: tnt_small },
    Entry {
        name: "swin_tiny_patch4_window7_224",
        published_top1: Some(81.2),
        reference: || swin(96, 6, [3, 6, 12, 24]),
    },
    Entry {
        name: "swin_small_patch4_window7_224",
        published_top1: Some(83.2),
        reference: || swin(96, 18, [3, 6, 12, 24]),
    },
    Entry {
        name: "swin_base_patch4_window7_224",
        published_top1: Some(83.5),
        reference: || swin(128, 18, [4, 8, 16, 32]),
    },
    Entry { name: "resnet18", published_top1: None, reference: || resnet(ResNetBlock::Basic, [2, 2, 2, 2]) },
    Entry { name: "resnet50", published_top1: None, reference: || resnet(ResNetBlock::Bottleneck, [3, 4, 6, 3]) },
    Entry { name: "regnety_160", published_top1: Some(82.9), reference: regnet_16gf },
];

fn vit(spec: VitSpec) -> ModelSpec {
    imagenet(Architecture::Vit(spec), Activation::Gelu)
}

fn distilled(embed_dim: usize, num_heads: usize) -> VitSpec {
    VitSpec { distilled: true, ..VitSpec::new(embed_dim, num_heads) }
}

/// DeiT III: LayerScale, and positions of patches alone.
fn deit3(embed_dim: usize, num_heads: usize) -> VitSpec {
    VitSpec { layer_scale: true, token_positions: false, ..VitSpec::new(embed_dim, num_heads) }
}

fn vit_large() -> VitSpec {
    VitSpec { depth: 24, ..VitSpec::new(1024, 16) }
}

/// At 384 pixels.
fn larger(spec: VitSpec) -> ModelSpec {
    ModelSpec { image_size: 384, ..vit(spec) }
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

/// `third` blocks in the third stage.
fn swin(embed_dim: usize, third: usize, num_heads: [usize; 4]) -> ModelSpec {
    let depths = [2, 2, third, 2];
    let spec = SwinSpec { patch_size: 4, embed_dim, depths, num_heads, window_size: 7, mlp_ratio: 4.0 };
    imagenet(Architecture::Swin(spec), Activation::Gelu)
}

fn resnet(block: ResNetBlock, depths: [usize; 4]) -> ModelSpec {
    let spec = ConvolutionalSpec::ResNet(ResNetSpec { block, depths });
    imagenet(Architecture::Convolutional(spec), Activation::Relu)
}

fn regnet_16gf() -> ModelSpec {
    let stages = [(224, 2), (448, 4), (1232, 11), (3024, 1)].map(|(width, depth)| RegNetStage { width, depth });
    let spec = RegNetSpec { stem_width: 32, stages: stages.to_vec(), group_width: 112, squeeze_ratio: 0.25 };
    imagenet(Architecture::Convolutional(ConvolutionalSpec::RegNet(spec)), Activation::Relu)
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
