//! Swin transformers: their sizes stage by stage, and the arithmetic of what they cost.

use super::family::{by, divides, without};
use super::{BadModel, Depth, Family, Kept, KeptByBlocks, Product, Shape};
use crate::config;

/// A Swin transformer as timm's `SwinTransformer`.
///
/// Square images of 3 channels; four stages, each but the first halving rows and columns by merging 2 × 2 tokens; blocks
/// attend within windows, every second one within shifted windows; a table of learned biases by relative position; q, k and
/// v have a bias, LayerNorm has eps 1e-5; the mean of the last stage's tokens is classified.
#[derive(Clone, Debug, PartialEq)]
pub struct SwinSpec {
    /// Height and width of a patch, in pixels; divides the image size.
    pub patch_size: usize,
    /// Width of a token in the first stage; it doubles from stage to stage.
    pub embed_dim: usize,
    /// Number of blocks of each stage.
    pub depths: [usize; 4],
    /// Attention heads of each stage; each divides the width of its stage.
    pub num_heads: [usize; 4],
    /// Rows and columns of a window, in tokens; stages with fewer have one window that is as large as they are.
    pub window_size: usize,
    /// Width of the MLP over that of a token.
    pub mlp_ratio: f64,
}

/// One stage of a Swin transformer for images of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwinStage {
    /// Rows and columns of tokens.
    pub side: usize,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Rows and columns of a window.
    pub window: usize,
    /// By how many rows and columns the windows of every second block are shifted; 0 where there is but one window.
    pub shift: usize,
    /// Width of the MLP.
    pub mlp_dim: usize,
}

impl SwinStage {
    /// Tokens of an image.
    pub fn tokens(&self) -> usize {
        self.side.pow(2)
    }

    /// Tokens of all its windows: more than [`SwinStage::tokens`] where windows do not divide the stage.
    pub fn padded_tokens(&self) -> usize {
        self.side.next_multiple_of(self.window).pow(2)
    }

    /// Rows of the table of biases: one for each relative position in a window.
    pub fn relative_positions(&self) -> usize {
        (2 * self.window - 1).pow(2)
    }
}

impl SwinSpec {
    /// Image channels: red, green, blue.
    pub const CHANNELS: usize = 3;

    /// Its stages for images of that height and width.
    pub fn stages(&self, image_size: usize) -> [SwinStage; 4] {
        [0, 1, 2, 3].map(|stage| {
            let side = (image_size / self.patch_size).div_ceil(1 << stage);
            let width = self.embed_dim << stage;
            let window = self.window_size.min(side);
            SwinStage {
                side,
                width,
                depth: self.depths[stage],
                num_heads: self.num_heads[stage],
                window,
                shift: if side > window { self.window_size / 2 } else { 0 },
                mlp_dim: (width as f64 * self.mlp_ratio) as usize,
            }
        })
    }

    /// Number of blocks of all stages.
    pub fn depth(&self) -> usize {
        self.depths.iter().sum()
    }

    /// Width of a token in the last stage.
    pub fn num_features(&self) -> usize {
        self.embed_dim << 3
    }

    /// This model with what a config overrides.
    pub(super) fn configured(self, config: &config::Model, image_size: usize) -> Result<SwinSpec, BadModel> {
        without(config, "Swin", &["depth", "num_heads", "pool", "positions", "class_token"])?;
        let spec = SwinSpec {
            patch_size: config.patch_size.unwrap_or(self.patch_size),
            embed_dim: config.embed_dim.unwrap_or(self.embed_dim),
            window_size: config.window_size.unwrap_or(self.window_size),
            mlp_ratio: config.mlp_ratio.unwrap_or(self.mlp_ratio),
            ..self
        };
        let image = format!("the image size {image_size}");
        divides(&image, image_size, spec.patch_size, by(config.patch_size, "patch_size", "image_size"))?;
        let width = format!("the width {}", spec.embed_dim);
        divides(&width, spec.embed_dim, spec.num_heads[0], ["embed_dim", "num_heads"])?;
        if (spec.embed_dim as f64 * spec.mlp_ratio) < 1.0 {
            let expected = format!("at least 1/{}, so that the MLP is not empty", spec.embed_dim);
            return Err(BadModel::new("mlp_ratio", expected, spec.mlp_ratio.to_string()));
        }
        Ok(spec)
    }

    fn patch_values(&self) -> u64 {
        (SwinSpec::CHANNELS * self.patch_size * self.patch_size) as u64
    }
}

/// Parameters of one block.
fn block_parameters(stage: &SwinStage) -> u64 {
    let (dim, hidden) = (stage.width as u64, stage.mlp_dim as u64);
    let norms = 2 * 2 * dim;
    let biases = (stage.relative_positions() * stage.num_heads) as u64;
    let attention = 4 * dim * dim + 4 * dim;
    norms + biases + attention + 2 * dim * hidden + hidden + dim
}

/// Multiply-adds of one block.
fn block_multiply_adds(stage: &SwinStage) -> u64 {
    let (dim, hidden) = (stage.width as u64, stage.mlp_dim as u64);
    let (tokens, padded, area) = (stage.tokens() as u64, stage.padded_tokens() as u64, stage.window.pow(2) as u64);
    padded * 4 * dim * dim + 2 * padded * area * dim + 2 * tokens * dim * hidden
}

impl Family for SwinSpec {
    fn stride(&self) -> usize {
        self.patch_size
    }

    fn activations(&self) -> Vec<String> {
        let of_stage = |(stage, &depth): (usize, &usize)| {
            (0..depth).map(move |block| format!("layers.{stage}.blocks.{block}.mlp.act"))
        };
        self.depths.iter().enumerate().flat_map(of_stage).collect()
    }

    fn parameters(&self, shape: Shape) -> u64 {
        let (dim, features, classes) = (self.embed_dim as u64, self.num_features() as u64, shape.num_classes as u64);
        let embedding = self.patch_values() * dim + dim + 2 * dim;
        let stages = self.stages(shape.image_size);
        let blocks: u64 = stages.iter().map(|stage| stage.depth as u64 * block_parameters(stage)).sum();
        // LayerNorm of the four tokens merged, and a linear map without a bias.
        let merging = |stage: &SwinStage| {
            let merged = 2 * stage.width as u64;
            2 * merged + merged * stage.width as u64
        };
        let mergings: u64 = stages[1..].iter().map(merging).sum();
        embedding + blocks + mergings + 2 * features + features * classes + classes
    }

    fn multiply_adds(&self, shape: Shape) -> u64 {
        let stages = self.stages(shape.image_size);
        let embedding = stages[0].tokens() as u64 * self.patch_values() * self.embed_dim as u64;
        let blocks: u64 = stages.iter().map(|stage| stage.depth as u64 * block_multiply_adds(stage)).sum();
        let merging = |stage: &SwinStage| (stage.tokens() * 2 * stage.width * stage.width) as u64;
        let mergings: u64 = stages[1..].iter().map(merging).sum();
        embedding + blocks + mergings + (self.num_features() * shape.num_classes) as u64
    }

    fn products(&self, shape: Shape) -> Vec<Product> {
        let of_stage =
            |stage: SwinStage| Product::of_blocks(stage.side * stage.side, stage.width, stage.mlp_dim, stage.depth);
        self.stages(shape.image_size).into_iter().flat_map(of_stage).collect()
    }

    fn kept_around_blocks(&self, shape: Shape) -> Kept {
        let stages = self.stages(shape.image_size);
        let image = (SwinSpec::CHANNELS * shape.image_size * shape.image_size) as u64;
        let first = stages[0].tokens() as u64 * self.embed_dim as u64;
        // Four tokens joined, and their norm's output.
        let merged: usize = stages[1..].iter().map(|stage| 2 * stage.tokens() * 2 * stage.width).sum();
        Kept { activated: 0, elsewhere: 2 * image + 2 * first + merged as u64 }
    }

    fn kept_by_blocks(&self, shape: Shape) -> Vec<KeptByBlocks> {
        let of_stage = |stage: SwinStage| {
            let (dim, hidden) = (stage.width as u64, stage.mlp_dim as u64);
            let (tokens, padded) = (stage.tokens() as u64, stage.padded_tokens() as u64);
            // As in a plain transformer, but that windows are copies, padded where they do not divide the image.
            let elsewhere = tokens * (4 * dim + hidden) + padded * 6 * dim;
            let kept = Kept { activated: tokens * hidden, elsewhere };
            KeptByBlocks { blocks: stage.depth as u64, input: 2 * tokens * dim, kept }
        };
        self.stages(shape.image_size).into_iter().map(of_stage).collect()
    }

    fn depth_of(&self, parameter: &str) -> Depth {
        let parts: Vec<&str> = parameter.split('.').collect();
        let number = |place: usize| parts.get(place).and_then(|part| part.parse().ok());
        match (parts[0], number(1), parts.get(2)) {
            ("patch_embed", ..) => Depth::Stem,
            // timm counts the merging of patches with the first block that follows it.
            ("layers", Some(stage), Some(&"downsample")) => Depth::Block { stage, index: 0 },
            ("layers", Some(stage), _) => Depth::Block { stage, index: number(3).unwrap_or(0) },
            ("norm", ..) => Depth::LastBlock,
            _ => Depth::Head,
        }
    }
}
