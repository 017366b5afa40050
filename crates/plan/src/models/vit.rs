//! Plain vision transformers: their sizes, and the arithmetic of what they cost.

use super::family::{by, divides, without};
use super::{BadModel, Depth, Family, Kept, KeptByBlocks, Product, Shape};
use crate::config::{self, Pool, Positions};

/// A vision transformer as timm's `VisionTransformer`, or `VisionTransformerDistilled` where it is distilled.
///
/// Square images of 3 channels; pre-norm blocks with a bias on q, k and v; LayerNorm with eps 1e-6; a linear classifier of
/// the class token or of the mean of the patches, and one of the distillation token.
#[derive(Clone, Debug, PartialEq)]
pub struct VitSpec {
    /// Height and width of a patch, in pixels; divides the image size.
    pub patch_size: usize,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of the MLP over `embed_dim`.
    pub mlp_ratio: f64,
    /// Whether there is a class token; it must be there where it is what is classified, and where there is a distillation
    /// token.
    pub class_token: bool,
    /// Whether there is a distillation token with a classifier of its own.
    pub distilled: bool,
    /// What is classified; the class token where there is a distillation token.
    pub pool: Pool,
    /// Where position embeddings come from.
    pub positions: Positions,
    /// Whether class and distillation tokens have learned positions as well; otherwise patches alone (timm's
    /// `no_embed_class`).
    pub token_positions: bool,
    /// Whether what a branch of a block adds is scaled, each feature by a number that is learned (LayerScale, arXiv 2103.17239).
    pub layer_scale: bool,
}

impl VitSpec {
    /// Image channels: red, green, blue.
    pub const CHANNELS: usize = 3;

    /// One of that width with that many heads, and in all else as in the paper: patches of 16 pixels, 12 blocks, MLPs 4
    /// times as wide, a class token, learned positions.
    pub fn new(embed_dim: usize, num_heads: usize) -> VitSpec {
        VitSpec {
            patch_size: 16,
            embed_dim,
            depth: 12,
            num_heads,
            mlp_ratio: 4.0,
            class_token: true,
            distilled: false,
            pool: Pool::Token,
            positions: Positions::Learned,
            token_positions: true,
            layer_scale: false,
        }
    }

    /// Number of patches of an image of that height and width.
    pub fn num_patches(&self, image_size: usize) -> usize {
        (image_size / self.patch_size).pow(2)
    }

    /// Tokens before the patches: the class token, and the distillation token where there is one.
    pub fn num_prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + usize::from(self.distilled)
    }

    /// Classifiers: one, and that of the distillation token where there is one.
    pub fn num_classifiers(&self) -> usize {
        1 + usize::from(self.distilled)
    }

    /// Position embeddings, learned or not.
    pub fn num_positions(&self, image_size: usize) -> usize {
        let of_tokens = if self.token_positions { self.num_prefix_tokens() } else { 0 };
        of_tokens + self.num_patches(image_size)
    }

    /// All tokens.
    pub fn num_tokens(&self, image_size: usize) -> usize {
        self.num_prefix_tokens() + self.num_patches(image_size)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.embed_dim / self.num_heads
    }

    /// Width of the MLP, rounded down as in timm.
    pub fn mlp_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    /// This model with what a config overrides.
    pub(super) fn configured(self, config: &config::Model, image_size: usize) -> Result<VitSpec, BadModel> {
        without(config, "ViT", &["window_size"])?;
        let positions = config.positions.unwrap_or(self.positions);
        let spec = VitSpec {
            patch_size: config.patch_size.unwrap_or(self.patch_size),
            embed_dim: config.embed_dim.unwrap_or(self.embed_dim),
            depth: config.depth.unwrap_or(self.depth),
            num_heads: config.num_heads.unwrap_or(self.num_heads),
            mlp_ratio: config.mlp_ratio.unwrap_or(self.mlp_ratio),
            class_token: config.class_token.unwrap_or(self.class_token),
            distilled: self.distilled,
            pool: config.pool.unwrap_or(self.pool),
            positions,
            token_positions: self.token_positions && positions == Positions::Learned,
            layer_scale: self.layer_scale,
        };
        let image = format!("the image size {image_size}");
        divides(&image, image_size, spec.patch_size, by(config.patch_size, "patch_size", "image_size"))?;
        let width = format!("the width {}", spec.embed_dim);
        divides(&width, spec.embed_dim, spec.num_heads, by(config.num_heads, "num_heads", "embed_dim"))?;
        if spec.mlp_dim() == 0 {
            let expected = format!("at least 1/{}, so that the MLP is not empty", spec.embed_dim);
            return Err(BadModel::new("mlp_ratio", expected, spec.mlp_ratio.to_string()));
        }
        spec.check_tokens()?;
        Ok(spec)
    }

    /// Refuses what tokens, pool and positions cannot be at the same time.
    fn check_tokens(&self) -> Result<(), BadModel> {
        let refuse = |key: &str, expected: &str, found: String| Err(BadModel::new(key, expected.to_owned(), found));
        let quoted = |name: &str| format!("\"{name}\"");
        if self.distilled && self.pool != Pool::Token {
            return refuse("pool", "\"token\", since the model is distilled", quoted(self.pool.name()));
        }
        if self.distilled && self.positions != Positions::Learned {
            return refuse("positions", "\"learned\", since the model is distilled", quoted(self.positions.name()));
        }
        if !self.class_token && self.distilled {
            return refuse("class_token", "true, since the model is distilled", "false".to_owned());
        }
        if !self.class_token && self.pool == Pool::Token {
            return refuse("class_token", "true, unless `model.pool` is \"avg\"", "false".to_owned());
        }
        if self.positions == Positions::SinCos2d && (self.embed_dim < 8 || !self.embed_dim.is_multiple_of(4)) {
            let expected = "a multiple of 4 from 8 on, for sines and cosines of rows and columns";
            return refuse("embed_dim", expected, self.embed_dim.to_string());
        }
        Ok(())
    }

    fn patch_values(&self) -> u64 {
        (VitSpec::CHANNELS * self.patch_size * self.patch_size) as u64
    }
}

impl Family for VitSpec {
    fn stride(&self) -> usize {
        self.patch_size
    }

    fn activations(&self) -> Vec<String> {
        (0..self.depth).map(|block| format!("blocks.{block}.mlp.act")).collect()
    }

    fn parameters(&self, shape: Shape) -> u64 {
        let dim = self.embed_dim as u64;
        let (hidden, classes, prefix) =
            (self.mlp_dim() as u64, shape.num_classes as u64, self.num_prefix_tokens() as u64);
        let linear = |inputs: u64, outputs: u64| inputs * outputs + outputs;
        let norm = 2 * dim;
        let positions = match self.positions {
            Positions::Learned => self.num_positions(shape.image_size) as u64 * dim,
            Positions::SinCos2d => 0,
        };
        let embedding = linear(self.patch_values(), dim) + prefix * dim + positions;
        let attention = linear(dim, 3 * dim) + linear(dim, dim);
        let mlp = linear(dim, hidden) + linear(hidden, dim);
        let scales = if self.layer_scale { 2 * dim } else { 0 };
        let heads = self.num_classifiers() as u64 * linear(dim, classes);
        embedding + self.depth as u64 * (2 * norm + attention + mlp + scales) + norm + heads
    }

    fn multiply_adds(&self, shape: Shape) -> u64 {
        let dim = self.embed_dim as u64;
        let (tokens, hidden) = (self.num_tokens(shape.image_size) as u64, self.mlp_dim() as u64);
        let embedding = self.num_patches(shape.image_size) as u64 * self.patch_values() * dim;
        let projections = tokens * dim * 4 * dim;
        let attention = 2 * tokens * tokens * dim;
        let mlp = 2 * tokens * dim * hidden;
        let heads = self.num_classifiers() as u64 * dim * shape.num_classes as u64;
        embedding + self.depth as u64 * (projections + attention + mlp) + heads
    }

    fn products(&self, shape: Shape) -> Vec<Product> {
        Product::of_blocks(self.num_tokens(shape.image_size), self.embed_dim, self.mlp_dim(), self.depth).into()
    }

    fn kept_around_blocks(&self, shape: Shape) -> Kept {
        let (tokens, dim) = (self.num_tokens(shape.image_size) as u64, self.embed_dim as u64);
        let image = (VitSpec::CHANNELS * shape.image_size * shape.image_size) as u64;
        Kept { activated: 0, elsewhere: 2 * image + 2 * tokens * dim }
    }

    fn kept_by_blocks(&self, shape: Shape) -> Vec<KeptByBlocks> {
        let (tokens, dim) = (self.num_tokens(shape.image_size) as u64, self.embed_dim as u64);
        let hidden = self.mlp_dim() as u64;
        // In a block: both sums and both norms' outputs, q, k, v, what attention gives; what the MLP's second layer takes; and
        // what is scaled.
        let scaled = if self.layer_scale { 2 * dim } else { 0 };
        let kept = Kept { activated: tokens * hidden, elsewhere: tokens * (8 * dim + hidden + scaled) };
        // The sum so far, and the branch that is still to be added.
        vec![KeptByBlocks { blocks: self.depth as u64, input: 2 * tokens * dim, kept }]
    }

    fn depth_of(&self, parameter: &str) -> Depth {
        let mut parts = parameter.split('.');
        match (parts.next(), parts.next().and_then(|index| index.parse().ok())) {
            (Some("blocks"), Some(index)) => Depth::Block { stage: 0, index },
            (Some("cls_token" | "dist_token" | "pos_embed" | "patch_embed"), _) => Depth::Stem,
            (Some("norm"), _) => Depth::LastBlock,
            _ => Depth::Head,
        }
    }
}
