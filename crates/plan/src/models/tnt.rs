//! Transformers in transformers: their sizes, and the arithmetic of what they cost.

use super::family::{by, divides, without};
use super::{BadModel, Depth, Family, Kept, KeptByBlocks, Shape};
use crate::config;

/// A transformer in transformer as timm 1.0.31's `TNT`, not its legacy form.
///
/// Square images of 3 channels. Each patch is cut into 4 × 4 pixels, whatever its size, by a convolution over 7 × 7 whose
/// stride is a quarter of the patch (timm's `first_stride`). A block lets the pixels of each patch attend to each other,
/// adds them to the patch, and then is that of a plain transformer. Class token, learned positions of patches and of
/// pixels; no bias on q, k and v; LayerNorm with eps 1e-5.
#[derive(Clone, Debug, PartialEq)]
pub struct TntSpec {
    /// Height and width of a patch, in image pixels; divides the image size and is a multiple of 4.
    pub patch_size: usize,
    /// Width of a patch's token.
    pub embed_dim: usize,
    /// Width of a pixel's token.
    pub inner_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads among patches; divides `embed_dim`.
    pub num_heads: usize,
    /// Attention heads among pixels; divides `inner_dim`.
    pub inner_heads: usize,
    /// Width of the MLP of patches over `embed_dim`; that of pixels is always 4 times `inner_dim`.
    pub mlp_ratio: f64,
}

impl TntSpec {
    /// Image channels: red, green, blue.
    pub const CHANNELS: usize = 3;
    /// Rows and columns of pixels in a patch.
    pub const PIXEL_GRID: usize = 4;
    /// Pixels of a patch.
    pub const NUM_PIXELS: usize = TntSpec::PIXEL_GRID * TntSpec::PIXEL_GRID;
    /// Height and width of what a pixel sees of its patch.
    pub const PIXEL_KERNEL: usize = 7;

    /// Number of patches of an image of that height and width.
    pub fn num_patches(&self, image_size: usize) -> usize {
        (image_size / self.patch_size).pow(2)
    }

    /// From one pixel to the next, in image pixels: timm's `first_stride`.
    pub fn pixel_stride(&self) -> usize {
        self.patch_size / TntSpec::PIXEL_GRID
    }

    /// Width of the MLP of patches, rounded down as in timm.
    pub fn mlp_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    /// Width of the MLP of pixels.
    pub fn inner_mlp_dim(&self) -> usize {
        4 * self.inner_dim
    }

    /// This model with what a config overrides.
    pub(super) fn configured(self, config: &config::Model, image_size: usize) -> Result<TntSpec, BadModel> {
        without(config, "TNT", &["window_size", "pool", "positions", "class_token"])?;
        let spec = TntSpec {
            patch_size: config.patch_size.unwrap_or(self.patch_size),
            embed_dim: config.embed_dim.unwrap_or(self.embed_dim),
            depth: config.depth.unwrap_or(self.depth),
            num_heads: config.num_heads.unwrap_or(self.num_heads),
            mlp_ratio: config.mlp_ratio.unwrap_or(self.mlp_ratio),
            ..self
        };
        let image = format!("the image size {image_size}");
        divides(&image, image_size, spec.patch_size, by(config.patch_size, "patch_size", "image_size"))?;
        if !spec.patch_size.is_multiple_of(TntSpec::PIXEL_GRID) {
            let expected =
                format!("a multiple of {0}, since a patch is cut into {0} × {0} pixels", TntSpec::PIXEL_GRID);
            return Err(BadModel::new("patch_size", expected, spec.patch_size.to_string()));
        }
        let width = format!("the width {}", spec.embed_dim);
        divides(&width, spec.embed_dim, spec.num_heads, by(config.num_heads, "num_heads", "embed_dim"))?;
        if spec.mlp_dim() == 0 {
            let expected = format!("at least 1/{}, so that the MLP is not empty", spec.embed_dim);
            return Err(BadModel::new("mlp_ratio", expected, spec.mlp_ratio.to_string()));
        }
        Ok(spec)
    }

    /// Inputs of a pixel's convolution.
    fn pixel_values(&self) -> u64 {
        (TntSpec::CHANNELS * TntSpec::PIXEL_KERNEL.pow(2)) as u64
    }

    /// Width of all pixels of a patch together.
    fn joined_dim(&self) -> u64 {
        (TntSpec::NUM_PIXELS * self.inner_dim) as u64
    }
}

/// Parameters of attention and MLP with their norms: q, k and v have no bias.
fn transformer_parameters(dim: u64, hidden: u64) -> u64 {
    let norms = 2 * 2 * dim;
    let attention = 4 * dim * dim + dim;
    norms + attention + 2 * dim * hidden + hidden + dim
}

/// Multiply-adds of attention and MLP for that many tokens.
fn transformer_multiply_adds(tokens: u64, dim: u64, hidden: u64) -> u64 {
    tokens * 4 * dim * dim + 2 * tokens * tokens * dim + 2 * tokens * dim * hidden
}

impl Family for TntSpec {
    fn stride(&self) -> usize {
        self.patch_size
    }

    fn activations(&self) -> Vec<String> {
        let of_block = |block: usize| ["mlp_in", "mlp"].map(|mlp| format!("blocks.{block}.{mlp}.act"));
        (0..self.depth).flat_map(of_block).collect()
    }

    fn parameters(&self, shape: Shape) -> u64 {
        let (dim, inner, joined) = (self.embed_dim as u64, self.inner_dim as u64, self.joined_dim());
        let (patches, classes) = (self.num_patches(shape.image_size) as u64, shape.num_classes as u64);
        let tokens = dim + (patches + 1) * dim + joined;
        let pixels = self.pixel_values() * inner + inner;
        let projection = 2 * joined + joined * dim + 2 * dim;
        let block = transformer_parameters(inner, self.inner_mlp_dim() as u64)
            + projection
            + transformer_parameters(dim, self.mlp_dim() as u64);
        let head = dim * classes + classes;
        tokens + pixels + projection + dim + self.depth as u64 * block + 2 * dim + head
    }

    fn multiply_adds(&self, shape: Shape) -> u64 {
        let (dim, inner, joined) = (self.embed_dim as u64, self.inner_dim as u64, self.joined_dim());
        let (patches, classes) = (self.num_patches(shape.image_size) as u64, shape.num_classes as u64);
        let pixels = patches * joined * self.pixel_values();
        let projection = patches * joined * dim;
        let within = transformer_multiply_adds(TntSpec::NUM_PIXELS as u64, inner, self.inner_mlp_dim() as u64);
        let among = transformer_multiply_adds(patches + 1, dim, self.mlp_dim() as u64);
        pixels + projection + self.depth as u64 * (patches * within + projection + among) + dim * classes
    }

    fn kept_around_blocks(&self, shape: Shape) -> Kept {
        let image = TntSpec::CHANNELS * shape.image_size * shape.image_size;
        Kept { activated: 0, elsewhere: 2 * image as u64 }
    }

    fn kept_by_blocks(&self, shape: Shape) -> Vec<KeptByBlocks> {
        let patches = self.num_patches(shape.image_size) as u64;
        let (tokens, pixels) = (patches + 1, patches * TntSpec::NUM_PIXELS as u64);
        let (dim, inner, hidden) = (self.embed_dim as u64, self.inner_dim as u64, self.mlp_dim() as u64);
        let inner_hidden = self.inner_mlp_dim() as u64;
        // Of each transformer what a plain one keeps; between them the pixels' norm, their projection and the sum of both.
        let between = patches * self.joined_dim() + 2 * tokens * dim;
        let elsewhere = pixels * (8 * inner + inner_hidden) + between + tokens * (8 * dim + hidden);
        let kept = Kept { activated: pixels * inner_hidden + tokens * hidden, elsewhere };
        vec![KeptByBlocks { blocks: self.depth as u64, input: pixels * inner + tokens * dim, kept }]
    }

    fn depth_of(&self, parameter: &str) -> Depth {
        let mut parts = parameter.split('.');
        match (parts.next(), parts.next().and_then(|index| index.parse().ok())) {
            (Some("blocks"), Some(index)) => Depth::Block { stage: 0, index },
            (Some("norm"), _) => Depth::LastBlock,
            (Some("head"), _) => Depth::Head,
            _ => Depth::Stem,
        }
    }
}
