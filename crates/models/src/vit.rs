//! The plain vision transformer: ViT and DeiT, with or without a distillation token.

use plan::models::{ModelSpec, VitSpec, drop_path_rates};
use tch::Tensor;

use crate::declaration::{Declarations, Role, Slot};
use crate::initial::Initial;
use crate::layers::{Attention, LayerNorm, Linear, Mlp, WEIGHT};
use crate::masks::{Masks, residual};
use crate::network::{Dropout, Network};
use crate::parameters::Parameters;
use crate::positions;

/// A vision transformer. Shapes: N images, L patches, T tokens (class, distillation), D features.
pub struct Vit {
    width: i64,
    tokens: Vec<Slot>, // (1, 1, D) each
    pos_embed: Slot,   // (1, T + L, D)
    grid: i64,         // rows and columns of the L patches that pos_embed is for
    patches: PatchEmbedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    heads: Vec<Linear>, // one for each token
    drop_path_rates: Vec<f64>,
    dropout_rate: f64,
}

impl Vit {
    /// Declares the parameters, in timm's order and with its initial values; `model` is what `spec` is the architecture of.
    pub fn declare(declarations: &mut Declarations<'_>, spec: &VitSpec, model: &ModelSpec) -> Vit {
        let width = spec.embed_dim as i64;
        let hidden = spec.mlp_dim() as i64;
        let token = |declarations: &mut Declarations<'_>, name: &str, length: i64, initial: Initial| {
            declarations.add(name.to_owned(), &[1, length, width], initial, Role::Token)
        };
        let mut tokens = vec![token(declarations, "cls_token", 1, Initial::Normal { std: 1e-6 })];
        let pos_embed = token(declarations, "pos_embed", spec.num_tokens(model.image_size) as i64, WEIGHT);
        if spec.distilled {
            tokens.push(token(declarations, "dist_token", 1, WEIGHT));
        }
        let patches = PatchEmbedding::declare(declarations, "patch_embed", spec.patch_size as i64, width);
        let blocks = (0..spec.depth).map(|index| {
            let name = format!("blocks.{index}");
            Block {
                norm1: LayerNorm::declare(declarations, &format!("{name}.norm1"), width),
                attn: Attention::declare(declarations, &format!("{name}.attn"), width, spec.num_heads as i64),
                norm2: LayerNorm::declare(declarations, &format!("{name}.norm2"), width),
                mlp: Mlp::declare(declarations, &format!("{name}.mlp"), width, hidden),
            }
        });
        let blocks = blocks.collect();
        let norm = LayerNorm::declare(declarations, "norm", width);
        let classes = model.num_classes as i64;
        let mut heads = vec![Linear::declare(declarations, "head", width, classes)];
        if spec.distilled {
            heads.push(Linear::declare(declarations, "head_dist", width, classes));
        }
        Vit {
            width,
            tokens,
            pos_embed,
            grid: (model.image_size / spec.patch_size) as i64,
            patches,
            blocks,
            norm,
            heads,
            // Two a block, that of attention first.
            drop_path_rates: drop_path_rates(model.drop_path, spec.depth)
                .into_iter()
                .flat_map(|rate| [rate; 2])
                .collect(),
            dropout_rate: model.drop,
        }
    }

    /// `(N, 3, H, W)` to `(N, T + L, D)`: tokens before patches, position embeddings added to all.
    fn embed(&self, parameters: &Parameters, images: &Tensor) -> Tensor {
        let (batch, _, height, width) = images.size4().expect("images (N, 3, H, W)");
        let patches = self.patches.forward(parameters, images); // (N, L, D)
        let grid = [height / self.patches.side, width / self.patches.side];
        let positions = positions::resample(parameters.tensor(self.pos_embed), self.grid, grid);
        let mut parts: Vec<Tensor> =
            self.tokens.iter().map(|&token| parameters.tensor(token).expand([batch, -1, -1], false)).collect();
        parts.push(patches);
        Tensor::cat(&parts, 1).g_add_(&positions)
    }
}

impl Network for Vit {
    fn forward(&self, parameters: &Parameters, images: &Tensor, masks: Option<&Masks>) -> (Tensor, Option<Tensor>) {
        let mut x = self.embed(parameters, images);
        let all = x.size()[1];
        let last = self.blocks.len() - 1;
        for (index, block) in self.blocks.iter().enumerate() {
            // Only the tokens are read in the end, so the last block does not compute its other outputs.
            let kept = if index == last { self.tokens.len() as i64 } else { all };
            let drops = [0, 1].map(|branch| Masks::of_drop_path(masks, &self.drop_path_rates, 2 * index + branch));
            x = block.forward(parameters, &x, kept, drops);
        }
        let features = self.norm.forward(parameters, &x); // (N, T, D)
        let mut logits = self.heads.iter().enumerate().map(|(index, head)| {
            let token = features.select(1, index as i64); // (N, D)
            head.forward(parameters, &Masks::drop_features(masks, self.dropout_rate, index, token))
        });
        (logits.next().expect("there is a class head"), logits.next())
    }

    fn drop_path_rates(&self) -> &[f64] {
        &self.drop_path_rates
    }

    fn dropout(&self) -> Option<Dropout> {
        let (heads, features) = (self.heads.len(), self.width as usize);
        (self.dropout_rate > 0.0).then_some(Dropout { rate: self.dropout_rate, heads, features })
    }
}

/// A pre-norm transformer block.
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    /// `(N, T + L, D)` to `(N, kept, D)`: the first `kept` tokens of the block's output.
    fn forward(&self, parameters: &Parameters, x: &Tensor, kept: i64, drops: [Option<Tensor>; 2]) -> Tensor {
        let [drop1, drop2] = drops;
        let attended = self.attn.forward(parameters, &self.norm1.forward(parameters, x), kept);
        let x = residual(&x.narrow(1, 0, kept), attended, drop1);
        let mapped = self.mlp.forward(parameters, &self.norm2.forward(parameters, &x));
        residual(&x, mapped, drop2)
    }
}

/// Patches to features: a convolution whose stride is its kernel, done as one matrix product.
struct PatchEmbedding {
    side: i64,    // P
    weight: Slot, // (D, 3, P, P)
    bias: Slot,   // (D)
}

impl PatchEmbedding {
    fn declare(declarations: &mut Declarations<'_>, name: &str, side: i64, width: i64) -> PatchEmbedding {
        // timm leaves the convolution as PyTorch starts it.
        let initial = Initial::convolution(3 * side * side);
        PatchEmbedding {
            side,
            weight: declarations.weight(format!("{name}.proj.weight"), &[width, 3, side, side], initial),
            bias: declarations.weight(format!("{name}.proj.bias"), &[width], initial),
        }
    }

    /// `(N, 3, H, W)` to `(N, L, D)`, row after row.
    fn forward(&self, parameters: &Parameters, images: &Tensor) -> Tensor {
        let (n, channels, height, width) = images.size4().expect("images (N, 3, H, W)");
        let (rows, columns) = (height / self.side, width / self.side);
        let patches = images
            .reshape([n, channels, rows, self.side, columns, self.side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([n, rows * columns, channels * self.side * self.side]);
        patches.linear(&parameters.tensor(self.weight).flatten(1, -1), Some(parameters.tensor(self.bias)))
    }
}
