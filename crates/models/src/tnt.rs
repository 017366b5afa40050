//! The transformer in transformer: pixels attend to each other within their patch, patches to each other in the image.

use std::sync::Arc;

use kernels::recompute::recomputed;
use plan::models::{ModelSpec, TntSpec, drop_path_rates};
use tch::Tensor;

use crate::declaration::{Declarations, Role, Slot};
use crate::initial::Initial;
use crate::layers::{LayerNorm, Linear, Mlp, WEIGHT, attend, first};
use crate::masks::Masks;
use crate::network::{Dropout, Network};
use crate::parameters::Parameters;
use crate::patches::{ImageForm, Images};
use crate::positions;
use crate::stream::Stream;

/// Of every LayerNorm.
const EPS: f64 = 1e-5;
/// 4 × 4 pixels make a patch.
const PIXELS: i64 = TntSpec::NUM_PIXELS as i64;

/// A transformer in transformer. Shapes: N images, L patches, P pixels of a patch, D features of a patch, d of a pixel.
pub struct Tnt {
    cls_token: Slot, // (1, 1, D)
    patch_pos: Slot, // (1, 1 + L, D)
    grid: i64,       // rows and columns of the L patches that patch_pos is for
    pixels: PixelEmbedding,
    norm1: LayerNorm,
    proj: Linear,
    norm2: LayerNorm,
    blocks: Vec<Arc<Block>>,
    norm: LayerNorm,
    head: Linear,
    width: i64,
    drop_path_rates: Vec<f64>,
    dropout_rate: f64,
}

impl Tnt {
    /// Declares the parameters, in timm's order and with its initial values; `model` is what `spec` is the architecture of.
    pub fn declare(declarations: &mut Declarations<'_>, spec: &TntSpec, model: &ModelSpec) -> Tnt {
        let (width, inner) = (spec.embed_dim as i64, spec.inner_dim as i64);
        let patches = spec.num_patches(model.image_size);
        let mut token = |name: &str, shape: &[i64]| declarations.add(name.to_owned(), shape, WEIGHT, Role::Token);
        let cls_token = token("cls_token", &[1, 1, width]);
        let patch_pos = token("patch_pos", &[1, patches as i64 + 1, width]);
        let side = TntSpec::PIXEL_GRID as i64;
        let pixel_pos = token("pixel_pos", &[1, inner, side, side]);
        let pixels = PixelEmbedding::declare(declarations, "pixel_embed", spec, pixel_pos);
        let norm1 = LayerNorm::with_eps(declarations, "norm1_proj", PIXELS * inner, EPS);
        let proj = Linear::declare(declarations, "proj", PIXELS * inner, width);
        let norm2 = LayerNorm::with_eps(declarations, "norm2_proj", width, EPS);
        let blocks = (0..spec.depth)
            .map(|index| Arc::new(Block::declare(declarations, &format!("blocks.{index}"), spec)))
            .collect();
        let rates_of_block = |rate: f64| vec![rate; DropPaths::of_block(patches)];
        Tnt {
            cls_token,
            patch_pos,
            grid: (model.image_size / spec.patch_size) as i64,
            pixels,
            norm1,
            proj,
            norm2,
            blocks,
            norm: LayerNorm::with_eps(declarations, "norm", width, EPS),
            head: Linear::declare(declarations, "head", width, model.num_classes as i64),
            width,
            drop_path_rates: drop_path_rates(model.drop_path, spec.depth)
                .into_iter()
                .flat_map(rates_of_block)
                .collect(),
            dropout_rate: model.drop,
        }
    }
}

impl Network for Tnt {
    fn forward(&self, parameters: &Parameters, images: &Images, masks: Option<&Masks>) -> (Tensor, Option<Tensor>) {
        let images = images.whole();
        let (batch, _, height, width) = images.size4().expect("images (N, 3, H, W)");
        let grid = [height / self.pixels.patch, width / self.pixels.patch];
        let mut pixels = self.pixels.forward(parameters, images, grid); // (N·L, P, d)
        let joined = self.norm1.for_product(parameters, &pixels.reshape([batch, grid[0] * grid[1], -1]));
        let patches = self.norm2.forward(parameters, &self.proj.forward(parameters, &joined)); // (N, L, D)
        let token = parameters.tensor(self.cls_token).expand([batch, -1, -1], false);
        let positions = positions::resample(parameters.tensor(self.patch_pos), self.grid, grid);
        let mut x = Tensor::cat(&[token, patches], 1).g_add_(&positions); // (N, 1 + L, D)
        let (all, last) = (x.size()[1], self.blocks.len() - 1);
        let own = (self.grid * self.grid) as usize;
        for (index, block) in self.blocks.iter().enumerate() {
            // Only the class token is read in the end, so the last block does not compute its other outputs.
            let kept = if index == last { 1 } else { all };
            let drops = DropPaths { masks, rates: &self.drop_path_rates, first: index * DropPaths::of_block(own), own };
            let drops = drops.of_branches(grid[0] * grid[1]);
            (pixels, x) = through(parameters, block, [pixels, x], kept, drops);
        }
        let features = self.norm.forward(parameters, &x.select(1, 0)); // (N, D)
        let features = Masks::drop_features(masks, self.dropout_rate, 0, features);
        (self.head.forward(parameters, &features), None)
    }

    fn image_form(&self, parameters: &Parameters) -> ImageForm {
        // The convolution of the pixels is computed in the kind of the parameters, and sees the
        // borders of patches.
        ImageForm { patch: None, kind: parameters.kind() }
    }

    fn drop_path_rates(&self) -> &[f64] {
        &self.drop_path_rates
    }

    fn dropout(&self) -> Option<Dropout> {
        (self.dropout_rate > 0.0).then_some(Dropout {
            rate: self.dropout_rate,
            heads: 1,
            features: self.width as usize,
        })
    }
}

/// The drop-paths of one block. timm takes the patches of all images for one batch while pixels attend to each other, so
/// each patch of an image is left out on its own there: L drop-paths for attention, L for the MLP, and then one each.
struct DropPaths<'a> {
    masks: Option<&'a Masks>,
    rates: &'a [f64],
    /// The first of the block.
    first: usize,
    /// Patches of an image of the model's own size.
    own: usize,
}

impl DropPaths<'_> {
    /// How many a block has.
    fn of_block(patches: usize) -> usize {
        2 * patches + 2
    }

    /// For the four branches of the block over `patches` patches.
    fn of_branches(&self, patches: i64) -> [Option<Tensor>; 4] {
        [self.within(0, patches), self.within(1, patches), self.among(0), self.among(1)]
    }

    /// For the branch of pixels: `(N·L)`. In larger images than the model's own, patches share masks.
    fn within(&self, branch: usize, patches: i64) -> Option<Tensor> {
        let start = self.first + branch * self.own;
        let rows = Masks::of_drop_paths(self.masks, self.rates, start..start + self.own)?; // (own, N)
        let times = (patches as usize).div_ceil(self.own) as i64;
        let rows = if times > 1 { rows.repeat([times, 1]) } else { rows };
        Some(first(&rows, 0, patches).transpose(0, 1).reshape([-1]))
    }

    /// For the branch of patches: `(N)`.
    fn among(&self, branch: usize) -> Option<Tensor> {
        Masks::of_drop_path(self.masks, self.rates, self.first + 2 * self.own + branch)
    }
}

/// A block: a transformer's among the pixels of each patch, and one among patches that take in their pixels.
struct Block {
    norm_in: LayerNorm,
    attn_in: Attention,
    norm_mlp_in: LayerNorm,
    mlp_in: Mlp,
    norm1: LayerNorm,
    proj: Slot, // (D, P·d)
    norm2: LayerNorm,
    norm_out: LayerNorm,
    attn_out: Attention,
    norm_mlp: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn declare(declarations: &mut Declarations<'_>, name: &str, spec: &TntSpec) -> Block {
        let (width, inner) = (spec.embed_dim as i64, spec.inner_dim as i64);
        let norm = |declarations: &mut Declarations<'_>, norm: &str, width: i64| {
            LayerNorm::with_eps(declarations, &format!("{name}.{norm}"), width, EPS)
        };
        Block {
            norm_in: norm(declarations, "norm_in", inner),
            attn_in: Attention::declare(declarations, &format!("{name}.attn_in"), inner, spec.inner_heads as i64),
            norm_mlp_in: norm(declarations, "norm_mlp_in", inner),
            mlp_in: Mlp::declare(declarations, &format!("{name}.mlp_in"), inner, spec.inner_mlp_dim() as i64),
            norm1: norm(declarations, "norm1_proj", PIXELS * inner),
            proj: declarations.weight(format!("{name}.proj.weight"), &[width, PIXELS * inner], WEIGHT),
            norm2: norm(declarations, "norm2_proj", width),
            norm_out: norm(declarations, "norm_out", width),
            attn_out: Attention::declare(declarations, &format!("{name}.attn_out"), width, spec.num_heads as i64),
            norm_mlp: norm(declarations, "norm_mlp", width),
            mlp: Mlp::declare(declarations, &format!("{name}.mlp"), width, spec.mlp_dim() as i64),
        }
    }

    /// `(N·L, P, d)` to the same, and `(N, 1 + L, D)` to `(N, kept, D)`: the first `kept` tokens of the block's output.
    fn forward(
        &self,
        parameters: &Parameters,
        pixels: &Tensor,
        x: &Tensor,
        kept: i64,
        drops: &[Option<Tensor>; 4],
    ) -> (Tensor, Tensor) {
        let drop = |branch: usize| drops[branch].as_ref().map(Tensor::shallow_clone);
        let (batch, tokens, _) = x.size3().expect("(N, 1 + L, D)");
        let patches = tokens - 1;
        let (stream, normed) = Stream::new(pixels.shallow_clone()).normed(parameters, &self.norm_in);
        let attended = self.attn_in.forward(parameters, &normed, PIXELS);
        let stream = stream.add(parameters, attended, None, drop(0));
        let (stream, normed) = stream.normed(parameters, &self.norm_mlp_in);
        let mapped = self.mlp_in.forward(parameters, &normed);
        let pixels = stream.add(parameters, mapped, None, drop(1)).sum(parameters);

        let joined = self.norm1.for_product(parameters, &pixels.reshape([batch, patches, -1]));
        let joined = parameters.product(&joined, self.proj, None);
        let parts = x.split_with_sizes([1, patches], 1); // the token and the patches
        let x = Tensor::cat(&[&parts[0], &(&parts[1] + self.norm2.forward(parameters, &joined))], 1);

        let (stream, normed) = Stream::new(x).normed(parameters, &self.norm_out);
        let attended = self.attn_out.forward(parameters, &normed, kept);
        let stream = stream.first(parameters, kept).add(parameters, attended, None, drop(2));
        let (stream, normed) = stream.normed(parameters, &self.norm_mlp);
        let stream = stream.add(parameters, self.mlp.forward(parameters, &normed), None, drop(3));
        (pixels, stream.sum(parameters))
    }
}

/// What `block` makes of pixels and patches. Where blocks are recomputed, nothing is kept but these two.
fn through(
    parameters: &Parameters,
    block: &Arc<Block>,
    [pixels, x]: [Tensor; 2],
    kept: i64,
    drops: [Option<Tensor>; 4],
) -> (Tensor, Tensor) {
    if !parameters.recomputes() {
        return block.forward(parameters, &pixels, &x, kept, &drops);
    }
    let (block, parameters) = (Arc::clone(block), parameters.handle());
    let work = move |inputs: Vec<Tensor>| {
        let (pixels, x) = block.forward(&parameters, &inputs[0], &inputs[1], kept, &drops);
        vec![pixels, x]
    };
    let mut outputs = recomputed(&[&pixels, &x], 2, work).expect("a block that fits its input").into_iter();
    (outputs.next().expect("pixels"), outputs.next().expect("patches"))
}

/// Multi-head self-attention that maps values by themselves, none of the three with a bias.
struct Attention {
    heads: i64,
    qk: Slot, // (2·D, D)
    v: Slot,  // (D, D)
    proj: Linear,
}

impl Attention {
    fn declare(declarations: &mut Declarations<'_>, name: &str, width: i64, heads: i64) -> Attention {
        Attention {
            heads,
            qk: declarations.weight(format!("{name}.qk.weight"), &[2 * width, width], WEIGHT),
            v: declarations.weight(format!("{name}.v.weight"), &[width, width], WEIGHT),
            proj: Linear::declare(declarations, &format!("{name}.proj"), width, width),
        }
    }

    /// `(N, L, D)` to `(N, queries, D)`: the first `queries` tokens look at all of them.
    fn forward(&self, parameters: &Parameters, x: &Tensor, queries: i64) -> Tensor {
        let map = |slot: Slot| parameters.product(x, slot, None);
        let parts = map(self.qk).split(x.size()[2], -1);
        self.proj.forward(parameters, &attend([&parts[0], &parts[1], &map(self.v)], self.heads, queries))
    }
}

/// Patches to pixels: a convolution that sees nothing beyond the patch, and the pixels' positions.
struct PixelEmbedding {
    patch: i64,      // height and width of a patch
    stride: i64,     // from one pixel to the next
    pixel_pos: Slot, // (1, d, 4, 4)
    weight: Slot,    // (d, 3, 7, 7)
    bias: Slot,      // (d)
}

impl PixelEmbedding {
    fn declare(declarations: &mut Declarations<'_>, name: &str, spec: &TntSpec, pixel_pos: Slot) -> PixelEmbedding {
        let (channels, kernel) = (TntSpec::CHANNELS as i64, TntSpec::PIXEL_KERNEL as i64);
        let inner = spec.inner_dim as i64;
        let initial = Initial::convolution(channels * kernel * kernel);
        PixelEmbedding {
            patch: spec.patch_size as i64,
            stride: spec.pixel_stride() as i64,
            pixel_pos,
            weight: declarations.weight(format!("{name}.proj.weight"), &[inner, channels, kernel, kernel], initial),
            bias: declarations.weight(format!("{name}.proj.bias"), &[inner], initial),
        }
    }

    /// `(N, 3, H, W)` to `(N·L, P, d)`, patches and pixels row after row.
    fn forward(&self, parameters: &Parameters, images: &Tensor, [rows, columns]: [i64; 2]) -> Tensor {
        let (n, channels, _, _) = images.size4().expect("images (N, 3, H, W)");
        let patches = images
            .reshape([n, channels, rows, self.patch, columns, self.patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([n * rows * columns, channels, self.patch, self.patch]);
        let (weight, bias) = (parameters.tensor(self.weight), parameters.tensor(self.bias));
        let padding = TntSpec::PIXEL_KERNEL as i64 / 2;
        let pixels = patches.conv2d(weight, Some(bias), [self.stride; 2], [padding; 2], [1; 2], 1); // (N·L, d, 4, 4)
        (pixels + parameters.tensor(self.pixel_pos)).flatten(2, 3).transpose(1, 2).contiguous()
    }
}
