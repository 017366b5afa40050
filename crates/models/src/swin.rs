//! The Swin transformer: attention within windows that shift from block to block, over ever fewer and wider tokens.

use std::sync::Arc;

use plan::models::{ModelSpec, SwinSpec, SwinStage, drop_path_rates};
use tch::{Kind, Tensor};

use crate::declaration::{Declarations, Slot};
use crate::layers::{LayerNorm, Linear, Mlp, WEIGHT};
use crate::masks::Masks;
use crate::network::{Dropout, Network};
use crate::parameters::Parameters;
use crate::patches::{ImageForm, Images, PatchEmbedding};
use crate::stream::Stream;
use crate::windows::{WindowAttention, Windows};

/// As PyTorch's LayerNorm has it where nothing is said.
const EPS: f64 = 1e-5;

/// A Swin transformer. Shapes: N images, H × W tokens, D features, which change from stage to stage.
pub struct Swin {
    patches: PatchEmbedding,
    patch_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    head: Linear,
    features: i64,
    drop_path_rates: Vec<f64>,
    dropout_rate: f64,
}

impl Swin {
    /// Declares the parameters, in timm's order and with its initial values; `model` is what `spec` is the architecture of.
    pub fn declare(declarations: &mut Declarations<'_>, spec: &SwinSpec, model: &ModelSpec) -> Swin {
        let (width, features) = (spec.embed_dim as i64, spec.num_features() as i64);
        let patches = PatchEmbedding::declare(declarations, "patch_embed", spec.patch_size as i64, width);
        let patch_norm = LayerNorm::with_eps(declarations, "patch_embed.norm", width, EPS);
        let stages = spec.stages(model.image_size);
        let stage = |(index, stage): (usize, &SwinStage)| Stage::declare(declarations, index, stage);
        Swin {
            patches,
            patch_norm,
            stages: stages.iter().enumerate().map(stage).collect(),
            norm: LayerNorm::with_eps(declarations, "norm", features, EPS),
            head: Linear::declare(declarations, "head.fc", features, model.num_classes as i64),
            features,
            // Two a block, that of attention first; the rates rise through all stages.
            drop_path_rates: drop_path_rates(model.drop_path, spec.depth())
                .into_iter()
                .flat_map(|rate| [rate; 2])
                .collect(),
            dropout_rate: model.drop,
        }
    }
}

impl Network for Swin {
    fn forward(&self, parameters: &Parameters, images: &Images, masks: Option<&Masks>) -> (Tensor, Option<Tensor>) {
        let [rows, columns] = self.patches.grid(images);
        let tokens = self.patch_norm.forward(parameters, &self.patches.forward(parameters, images));
        let mut stream = Stream::new(tokens.view([tokens.size()[0], rows, columns, -1])); // (N, H, W, D)
        let mut drops =
            (0..self.drop_path_rates.len()).map(|drop| Masks::of_drop_path(masks, &self.drop_path_rates, drop));
        for stage in &self.stages {
            if let Some(merging) = &stage.merging {
                stream = Stream::new(merging.forward(parameters, &stream.sum(parameters)));
            }
            for block in &stage.blocks {
                let mut drop = || drops.next().expect("two drop-paths a block");
                let (block, drops) = (Arc::clone(block), [drop(), drop()]);
                stream =
                    stream.through(parameters, move |parameters, stream| block.forward(parameters, stream, &drops));
            }
        }
        let normed = self.norm.forward(parameters, &stream.sum(parameters));
        let features = normed.mean_dim([1, 2].as_slice(), false, None::<Kind>); // (N, D)
        let features = Masks::drop_features(masks, self.dropout_rate, 0, features);
        (self.head.forward(parameters, &features), None)
    }

    fn image_form(&self, parameters: &Parameters) -> ImageForm {
        self.patches.form(parameters)
    }

    fn drop_path_rates(&self) -> &[f64] {
        &self.drop_path_rates
    }

    fn dropout(&self) -> Option<Dropout> {
        let (rate, features) = (self.dropout_rate, self.features as usize);
        (rate > 0.0).then_some(Dropout { rate, heads: 1, features })
    }
}

/// Blocks at one resolution, behind the merging that leads to it.
struct Stage {
    merging: Option<Merging>,
    blocks: Vec<Arc<Block>>,
}

impl Stage {
    fn declare(declarations: &mut Declarations<'_>, index: usize, stage: &SwinStage) -> Stage {
        let name = format!("layers.{index}");
        let width = stage.width as i64;
        let merging = (index > 0).then(|| Merging::declare(declarations, &format!("{name}.downsample"), width));
        let blocks = (0..stage.depth).map(|block| {
            let name = format!("{name}.blocks.{block}");
            let shift = if block % 2 == 0 { 0 } else { stage.shift as i64 };
            let windows = Windows { side: stage.window as i64, shift };
            let sizes = [width, stage.num_heads as i64];
            let attn = format!("{name}.attn");
            Arc::new(Block {
                norm1: LayerNorm::with_eps(declarations, &format!("{name}.norm1"), width, EPS),
                attn: WindowAttention::declare(declarations, &attn, sizes, stage.side as i64, windows),
                norm2: LayerNorm::with_eps(declarations, &format!("{name}.norm2"), width, EPS),
                mlp: Mlp::declare(declarations, &format!("{name}.mlp"), width, stage.mlp_dim as i64),
            })
        });
        Stage { merging, blocks: blocks.collect() }
    }
}

/// Every 2 × 2 tokens to one of twice the width.
struct Merging {
    norm: LayerNorm,
    reduction: Slot, // (D, 2·D)
}

impl Merging {
    /// `width` is that of its output.
    fn declare(declarations: &mut Declarations<'_>, name: &str, width: i64) -> Merging {
        Merging {
            norm: LayerNorm::with_eps(declarations, &format!("{name}.norm"), 2 * width, EPS),
            reduction: declarations.weight(format!("{name}.reduction.weight"), &[width, 2 * width], WEIGHT),
        }
    }

    /// `(N, H, W, D)` to `(N, ⌈H/2⌉, ⌈W/2⌉, 2·D)`; zeros follow an odd row or column.
    fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let (n, rows, columns, width) = x.size4().expect("(N, H, W, D)");
        let padded = match [rows % 2, columns % 2] {
            [0, 0] => x.shallow_clone(),
            [below, right] => x.constant_pad_nd([0, 0, 0, right, 0, below]),
        };
        let (rows, columns) = ((rows + 1) / 2, (columns + 1) / 2);
        let fours = padded.reshape([n, rows, 2, columns, 2, width]).permute([0, 1, 3, 4, 2, 5]);
        let merged = self.norm.for_product(parameters, &fours.reshape([n, rows, columns, 4 * width]));
        parameters.product(&merged, self.reduction, None).to_kind(x.kind())
    }
}

/// A pre-norm transformer block that attends within windows.
struct Block {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    /// `(N, H, W, D)` to the same.
    fn forward(&self, parameters: &Parameters, stream: Stream, drops: &[Option<Tensor>; 2]) -> Stream {
        let [drop1, drop2] = drops.each_ref().map(|drop| drop.as_ref().map(Tensor::shallow_clone));
        let (stream, normed) = stream.normed(parameters, &self.norm1);
        let stream = stream.add(parameters, self.attn.forward(parameters, &normed), None, drop1);
        let (stream, normed) = stream.normed(parameters, &self.norm2);
        stream.add(parameters, self.mlp.forward(parameters, &normed), None, drop2)
    }
}
