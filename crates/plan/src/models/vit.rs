//! Plain vision transformers: their sizes, and the arithmetic of what they cost.

use super::{ActivationSpec, BadModel};
use crate::config;

/// A vision transformer as timm's `VisionTransformer`, or `VisionTransformerDistilled` where it is distilled.
///
/// Square images of 3 channels; pre-norm blocks with a bias on q, k and v; LayerNorm with eps 1e-6; class token, learned
/// position embedding of all tokens, one linear classifier for each prefix token.
#[derive(Clone, Debug, PartialEq)]
pub struct VitSpec {
    /// Height and width of the input, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels; divides `image_size`.
    pub patch_size: usize,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of the MLP over `embed_dim`.
    pub mlp_ratio: f64,
    /// Outputs of a classifier.
    pub num_classes: usize,
    /// Whether there is a distillation token with a classifier of its own.
    pub distilled: bool,
    /// Stochastic depth: the rate of the last block, rising linearly from 0 at the first.
    pub drop_path: f64,
    /// Dropout before the classifiers.
    pub drop: f64,
    /// The activation of the MLPs.
    pub activation: ActivationSpec,
}

impl VitSpec {
    /// Image channels: red, green, blue.
    pub const CHANNELS: usize = 3;

    /// Number of patches.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Tokens before the patches: the class token, and the distillation token where there is one.
    pub fn num_prefix_tokens(&self) -> usize {
        1 + usize::from(self.distilled)
    }

    /// All tokens.
    pub fn num_tokens(&self) -> usize {
        self.num_prefix_tokens() + self.num_patches()
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.embed_dim / self.num_heads
    }

    /// Width of the MLP, rounded down as in timm.
    pub fn mlp_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    /// Drop-path rate of each block: evenly spaced from 0 to `drop_path`, as timm's `calculate_drop_path_rates`.
    pub fn drop_path_rates(&self) -> Vec<f64> {
        let last = (self.depth - 1).max(1) as f64;
        (0..self.depth).map(|block| self.drop_path * block as f64 / last).collect()
    }

    /// How many numbers it learns.
    pub(super) fn parameters(&self) -> u64 {
        let dim = self.embed_dim as u64;
        let (hidden, classes, prefix) =
            (self.mlp_dim() as u64, self.num_classes as u64, self.num_prefix_tokens() as u64);
        let linear = |inputs: u64, outputs: u64| inputs * outputs + outputs;
        let norm = 2 * dim;
        let embedding = linear(self.patch_values(), dim) + prefix * dim + self.num_tokens() as u64 * dim;
        let attention = linear(dim, 3 * dim) + linear(dim, dim);
        let mlp = linear(dim, hidden) + linear(hidden, dim) + self.activation.num_learnable() as u64;
        let heads = prefix * linear(dim, classes);
        embedding + self.depth as u64 * (2 * norm + attention + mlp) + norm + heads
    }

    /// Multiply-adds of the matrix products of one forward pass of one image.
    pub(super) fn multiply_adds(&self) -> u64 {
        let dim = self.embed_dim as u64;
        let (tokens, hidden) = (self.num_tokens() as u64, self.mlp_dim() as u64);
        let embedding = self.num_patches() as u64 * self.patch_values() * dim;
        let projections = tokens * dim * 4 * dim;
        let attention = 2 * tokens * tokens * dim;
        let mlp = 2 * tokens * dim * hidden;
        let heads = self.num_prefix_tokens() as u64 * dim * self.num_classes as u64;
        embedding + self.depth as u64 * (projections + attention + mlp) + heads
    }

    /// This model with what a config overrides.
    pub(super) fn configured(self, config: &config::Model, num_classes: usize) -> Result<VitSpec, BadModel> {
        let spec = VitSpec {
            image_size: config.image_size.unwrap_or(self.image_size),
            patch_size: config.patch_size.unwrap_or(self.patch_size),
            embed_dim: config.embed_dim.unwrap_or(self.embed_dim),
            depth: config.depth.unwrap_or(self.depth),
            num_heads: config.num_heads.unwrap_or(self.num_heads),
            mlp_ratio: config.mlp_ratio.unwrap_or(self.mlp_ratio),
            num_classes,
            distilled: self.distilled,
            drop_path: config.drop_path,
            drop: config.drop,
            activation: match &config.activation {
                Some(activation) => ActivationSpec::configured(activation)?,
                None => self.activation,
            },
        };
        let image = format!("the image size {}", spec.image_size);
        divides(&image, spec.image_size, spec.patch_size, by(config.patch_size, "patch_size", "image_size"))?;
        let width = format!("the width {}", spec.embed_dim);
        divides(&width, spec.embed_dim, spec.num_heads, by(config.num_heads, "num_heads", "embed_dim"))?;
        if spec.mlp_dim() == 0 {
            let expected = format!("at least 1/{}, so that the MLP is not empty", spec.embed_dim);
            return Err(bad("mlp_ratio", expected, spec.mlp_ratio.to_string()));
        }
        Ok(spec)
    }

    fn patch_values(&self) -> u64 {
        (VitSpec::CHANNELS * self.patch_size * self.patch_size) as u64
    }
}

/// Which of two keys to blame: the divisor where the config gives it, otherwise what it should divide.
fn by(divisor: Option<usize>, key: &'static str, other: &'static str) -> [&'static str; 2] {
    if divisor.is_some() { [key, key] } else { [other, key] }
}

fn divides(what: &str, whole: usize, part: usize, [blamed, divisor]: [&'static str; 2]) -> Result<(), BadModel> {
    if part != 0 && whole.is_multiple_of(part) {
        return Ok(());
    }
    if blamed != divisor {
        return Err(bad(blamed, format!("a multiple of the model's {divisor} {part}"), whole.to_string()));
    }
    let fits = |n: &usize| *n > 0 && whole.is_multiple_of(*n);
    let below = (1..part).rev().find(fits);
    let above = (part + 1..=whole).find(fits);
    let near: Vec<String> = [below, above].into_iter().flatten().map(|n| n.to_string()).collect();
    Err(bad(divisor, format!("a divisor of {what}, such as {}", near.join(" or ")), part.to_string()))
}

fn bad(key: &str, expected: String, found: String) -> BadModel {
    BadModel { key: key.to_owned(), expected, found, nearest: Vec::new() }
}
