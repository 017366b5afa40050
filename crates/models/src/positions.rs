//! Position embeddings: those of sines and cosines, and any on another grid of patches than their own.

use tch::{Kind, Tensor};

/// The embeddings `(L, D)` of `grid` × `grid` patches, row after row, as big_vision's `posemb_sincos_2d`: sines and cosines of
/// the column, then of the row, times D/4 frequencies from 1 down to 1/10 000. `width` D is a multiple of 4, 8 or more.
pub fn sincos2d(grid: i64, width: i64) -> Vec<f64> {
    let quarter = width / 4;
    let frequency = |i: i64| 10_000f64.powf(-(i as f64) / (quarter - 1) as f64);
    let mut values = Vec::with_capacity((grid * grid * width) as usize);
    for (row, column) in (0..grid).flat_map(|row| (0..grid).map(move |column| (row as f64, column as f64))) {
        for (place, wave) in
            [(column, f64::sin as fn(f64) -> f64), (column, f64::cos), (row, f64::sin), (row, f64::cos)]
        {
            values.extend((0..quarter).map(|i| wave(place * frequency(i))));
        }
    }
    values
}

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

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tch::Device;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        tokens: i64,
        grid: i64,
        wanted: [i64; 2],
        norm: f64,
        last: Vec<f64>,
    }

    /// `tests/fixtures/timm_positions.py` made them, in f32 inside as timm does.
    #[test]
    fn other_grids_are_resampled_as_by_timm() {
        const WIDTH: i64 = 8;
        let text = include_str!("../tests/fixtures/timm_positions.json");
        let Reference { cases } = serde_json::from_str(text).expect("the fixture fits its structure");
        assert_eq!(cases.len(), 6);
        for Case { tokens, grid, wanted, norm, last } in cases {
            let all = tokens + grid * grid;
            let own = (Tensor::arange(all * WIDTH, (Kind::Double, Device::Cpu)) * 0.37).sin().view([1, all, WIDTH]);
            let found = resample(&own, grid, wanted);
            assert_eq!(found.size(), [1, tokens + wanted[0] * wanted[1], WIDTH]);
            let found = found.flatten(0, -1);
            let count = last.len() as i64;
            let distance = (found.narrow(0, found.size()[0] - count, count) - Tensor::from_slice(&last)).abs().max();
            assert!(distance.double_value(&[]) < 1e-6, "{tokens} tokens, {grid} to {wanted:?}: {distance}");
            assert!(
                (found.norm().double_value(&[]) / norm - 1.0).abs() < 1e-6,
                "{tokens} tokens, {grid} to {wanted:?}"
            );
        }
    }

    #[test]
    fn sines_and_cosines_begin_with_the_column() {
        let values = sincos2d(2, 8);
        let (quick, slow) = (1f64, 1e-4f64);
        assert_eq!(values[..8], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        let near = |found: &[f64], expected: [f64; 4]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15);
        let waves = [quick.sin(), slow.sin(), quick.cos(), slow.cos()];
        assert!(near(&values[8..12], waves) && near(&values[12..16], [0.0, 0.0, 1.0, 1.0]), "{values:?}");
        assert!(near(&values[16..20], [0.0, 0.0, 1.0, 1.0]) && near(&values[20..24], waves), "{values:?}");
    }
}
