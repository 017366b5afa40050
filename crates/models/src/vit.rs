//! The plain vision transformer: ViT and DeiT, with and without class and distillation tokens.

use std::sync::Arc;

use plan::config::{Pool, Positions};
use plan::models::{ModelSpec, VitSpec, drop_path_rates};
use tch::{Kind, Tensor};

use crate::declaration::{BufferSlot, Declarations, Role, Slot};
use crate::initial::Initial;
use crate::layers::{Attention, LayerNorm, Linear, Mlp, WEIGHT};
use crate::masks::Masks;
use crate::network::{Dropout, Network};
use crate::parameters::Parameters;
use crate::patches::{ImageForm, Images, PatchEmbedding};
use crate::positions;
use crate::stream::Stream;

/// Where scales of branches start, as in DeiT III.
const LAYER_SCALE: Initial = Initial::Constant(1e-6);

/// A vision transformer. Shapes: N images, L patches, T tokens (class, distillation), D features.
pub struct Vit {
    width: i64,
    tokens: Vec<Slot>, // (1, 1, D) each
    pos_embed: PositionEmbedding,
    token_positions: bool,
    grid: i64, // rows and columns of the L patches that pos_embed is for
    patches: PatchEmbedding,
    blocks: Vec<Arc<Block>>,
    pool: Pool,
    norm: LayerNorm,
    heads: Vec<Linear>, // one, and one of the distillation token
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
        let grid = (model.image_size / spec.patch_size) as i64;
        let mut tokens = Vec::new();
        if spec.class_token {
            tokens.push(token(declarations, "cls_token", 1, Initial::Normal { std: 1e-6 }));
        }
        let length = spec.num_positions(model.image_size) as i64;
        let pos_embed = match spec.positions {
            Positions::Learned => PositionEmbedding::Learned(token(declarations, "pos_embed", length, WEIGHT)),
            Positions::SinCos2d => {
                let values = positions::sincos2d(grid, width);
                PositionEmbedding::Fixed(declarations.fixed("pos_embed".to_owned(), &[1, length, width], values))
            }
        };
        if spec.distilled {
            tokens.push(token(declarations, "dist_token", 1, WEIGHT));
        }
        let patches = PatchEmbedding::declare(declarations, "patch_embed", spec.patch_size as i64, width);
        let blocks = (0..spec.depth).map(|index| {
            let name = format!("blocks.{index}");
            let scale = |declarations: &mut Declarations<'_>, scale: &str| {
                spec.layer_scale.then(|| declarations.weight(format!("{name}.{scale}.gamma"), &[width], LAYER_SCALE))
            };
            let norm1 = LayerNorm::declare(declarations, &format!("{name}.norm1"), width);
            let attn = Attention::declare(declarations, &format!("{name}.attn"), width, spec.num_heads as i64);
            let scale1 = scale(declarations, "ls1");
            let norm2 = LayerNorm::declare(declarations, &format!("{name}.norm2"), width);
            let mlp = Mlp::declare(declarations, &format!("{name}.mlp"), width, hidden);
            let scale2 = scale(declarations, "ls2");
            Arc::new(Block { norm1, attn, scale1, norm2, mlp, scale2 })
        });
        let blocks = blocks.collect();
        let norm = if spec.pool == Pool::Mean { "fc_norm" } else { "norm" };
        let norm = LayerNorm::declare(declarations, norm, width);
        let classes = model.num_classes as i64;
        let mut heads = vec![Linear::declare(declarations, "head", width, classes)];
        if spec.distilled {
            heads.push(Linear::declare(declarations, "head_dist", width, classes));
        }
        Vit {
            width,
            tokens,
            pos_embed,
            token_positions: spec.token_positions,
            grid,
            patches,
            blocks,
            pool: spec.pool,
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

    /// Images to `(N, T + L, D)`: tokens before patches, position embeddings added to all or to
    /// patches alone.
    fn embed(&self, parameters: &Parameters, images: &Images) -> Tensor {
        let patches = self.patches.forward(parameters, images).to_kind(parameters.kind()); // (N, L, D)
        let batch = patches.size()[0];
        let own = match self.pos_embed {
            PositionEmbedding::Learned(slot) => parameters.tensor(slot),
            PositionEmbedding::Fixed(slot) => parameters.buffer(slot),
        };
        let positions = positions::resample(own, self.grid, self.patches.grid(images));
        let mut parts: Vec<Tensor> =
            self.tokens.iter().map(|&token| parameters.tensor(token).expand([batch, -1, -1], false)).collect();
        if self.token_positions {
            parts.push(patches);
            return Tensor::cat(&parts, 1).g_add_(&positions);
        }
        parts.push(patches + positions);
        Tensor::cat(&parts, 1)
    }

    /// What each classifier looks at, `(N, D)`, of the last block's output: `(N, T + L, D)`, or `(N, T, D)` where tokens are
    /// classified.
    fn features(&self, parameters: &Parameters, x: &Tensor) -> Vec<Tensor> {
        let tokens = self.tokens.len() as i64;
        if self.pool == Pool::Mean {
            let patches = x.narrow(1, tokens, x.size()[1] - tokens);
            return vec![self.norm.forward(parameters, &patches.mean_dim(1, false, None::<Kind>))];
        }
        self.norm.forward(parameters, x).unbind(1)
    }
}

impl Network for Vit {
    fn forward(&self, parameters: &Parameters, images: &Images, masks: Option<&Masks>) -> (Tensor, Option<Tensor>) {
        let embedded = self.embed(parameters, images);
        let all = embedded.size()[1];
        let mut stream = Stream::new(embedded);
        let last = self.blocks.len() - 1;
        for (index, block) in self.blocks.iter().enumerate() {
            // Where only the tokens are read in the end, the last block does not compute its other outputs.
            let kept = if index == last && self.pool == Pool::Token { self.tokens.len() as i64 } else { all };
            let drops = [0, 1].map(|branch| Masks::of_drop_path(masks, &self.drop_path_rates, 2 * index + branch));
            let block = Arc::clone(block);
            stream =
                stream.through(parameters, move |parameters, stream| block.forward(parameters, stream, kept, &drops));
        }
        let features = self.features(parameters, &stream.sum(parameters));
        let mut logits = self.heads.iter().zip(features).enumerate().map(|(index, (head, features))| {
            head.forward(parameters, &Masks::drop_features(masks, self.dropout_rate, index, features))
        });
        (logits.next().expect("there is a class head"), logits.next())
    }

    fn image_form(&self, parameters: &Parameters) -> ImageForm {
        self.patches.form(parameters)
    }

    fn drop_path_rates(&self) -> &[f64] {
        &self.drop_path_rates
    }

    fn dropout(&self) -> Option<Dropout> {
        let (heads, features) = (self.heads.len(), self.width as usize);
        (self.dropout_rate > 0.0).then_some(Dropout { rate: self.dropout_rate, heads, features })
    }
}

/// Position embeddings `(1, L, D)`, or `(1, T + L, D)` where tokens have some.
enum PositionEmbedding {
    Learned(Slot),
    Fixed(BufferSlot),
}

/// A pre-norm transformer block.
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    scale1: Option<Slot>, // (D)
    norm2: LayerNorm,
    mlp: Mlp,
    scale2: Option<Slot>, // (D)
}

impl Block {
    /// `(N, T + L, D)` to `(N, kept, D)`: the first `kept` tokens of the block's output.
    fn forward(&self, parameters: &Parameters, stream: Stream, kept: i64, drops: &[Option<Tensor>; 2]) -> Stream {
        let [drop1, drop2] = drops.each_ref().map(|drop| drop.as_ref().map(Tensor::shallow_clone));
        let (stream, normed) = stream.normed(parameters, &self.norm1);
        let attended = self.attn.forward(parameters, &normed, kept);
        let stream = stream.first(parameters, kept).add(parameters, attended, self.scale1, drop1);
        let (stream, normed) = stream.normed(parameters, &self.norm2);
        stream.add(parameters, self.mlp.forward(parameters, &normed), self.scale2, drop2)
    }
}
