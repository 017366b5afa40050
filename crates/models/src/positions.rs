//! Learned position embeddings on another grid of patches than their own.

use tch::{Kind, Tensor};

/// The embeddings `(1, T + grid², D)` of T tokens and `grid` × `grid` patches, for `rows` × `columns` patches: those of
/// patches resampled by an antialiased cubic, as timm's `resample_abs_pos_embed`. Gradients reach what is given.
pub fn resample(own: &Tensor, grid: i64, [rows, columns]: [i64; 2]) -> Tensor {
    if (rows, columns) == (grid, grid) {
        return own.shallow_clone();
    }
    let (_, all, width) = own.size3().expect("embeddings (1, T + L, D)");
    let tokens = all - grid * grid;
    let patches = own.narrow(1, tokens, grid * grid).reshape([1, grid, grid, width]);
    let planes = patches.permute([0, 3, 1, 2]).contiguous(); // (1, D, H, W)
    let kind = planes.kind();
    let precise = if kind == Kind::Double { kind } else { Kind::Float };
    let resampled =
        planes.to_kind(precise).internal_upsample_bicubic2d_aa([rows, columns], false, None::<f64>, None::<f64>);
    let patches = resampled.to_kind(kind).permute([0, 2, 3, 1]).reshape([1, rows * columns, width]);
    Tensor::cat(&[own.narrow(1, 0, tokens), patches], 1)
}
