//! Masks: the random choices of a training step, drawn outside the model and handed in.

use std::ops::Range;

use tch::Tensor;

/// What a training forward pass leaves out, on the model's device.
#[derive(Debug, Default)]
pub struct Masks {
    /// Drop-path, `(num_drops, N)`: 0 where a sample skips a residual branch, else `1 / keep`. Row d belongs to the rate d
    /// of [`Model::drop_path_rates`](crate::Model::drop_path_rates). Needed where any rate is above zero.
    pub drop_path: Option<Tensor>,
    /// Dropout of the features before each classifier, `(heads, N, features)`: 0 or `1 / keep`. Needed where
    /// [`Model::dropout`](crate::Model::dropout) is.
    pub dropout: Option<Tensor>,
}

impl Masks {
    /// The mask `(N)` of one drop-path, where its rate is above zero; none where nothing is left out.
    pub(crate) fn of_drop_path(masks: Option<&Masks>, rates: &[f64], drop: usize) -> Option<Tensor> {
        Some(Masks::of_drop_paths(masks, rates, drop..drop + 1)?.select(0, 0))
    }

    /// The masks `(drops, N)` of drop-paths that follow each other and share one rate, as [`Masks::of_drop_path`].
    pub(crate) fn of_drop_paths(masks: Option<&Masks>, rates: &[f64], drops: Range<usize>) -> Option<Tensor> {
        let masks = masks.filter(|_| rates[drops.start] > 0.0)?;
        let all = masks.drop_path.as_ref().expect("training with drop-path needs Masks::drop_path");
        Some(all.narrow(0, drops.start as i64, drops.len() as i64))
    }

    /// `features` `(N, D)` with those left out that a classifier does not see, where any are.
    pub(crate) fn drop_features(masks: Option<&Masks>, rate: f64, head: usize, features: Tensor) -> Tensor {
        let Some(masks) = masks.filter(|_| rate > 0.0) else { return features };
        let all = masks.dropout.as_ref().expect("training with dropout needs Masks::dropout");
        features * all.select(0, head as i64)
    }
}

/// Whether a model is being trained.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    /// Nothing is left out, no gradients are recorded, a distilled model answers with the mean of its heads.
    Evaluate,
    /// Gradients are recorded.
    Train {
        /// What to leave out.
        masks: &'a Masks,
    },
}

/// `x` + `branch`, where `mask` `(N)` scales each sample's branch.
///
/// The sum has the kind of `x`, also where a branch was computed in a narrower one.
pub(crate) fn residual(x: &Tensor, branch: Tensor, mask: Option<Tensor>) -> Tensor {
    let branch = branch.to_kind(x.kind());
    match mask {
        Some(mask) => {
            let shape: Vec<i64> = (0..x.dim()).map(|axis| if axis == 0 { -1 } else { 1 }).collect();
            x.addcmul(&branch, &mask.view(shape.as_slice()).to_kind(x.kind()))
        }
        None => x + branch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_branch_is_left_out_of_its_sample() {
        let x = Tensor::ones([2, 1, 3], (tch::Kind::Double, tch::Device::Cpu));
        let sum = residual(&x, &x * 2.0, Some(Tensor::from_slice(&[0.0, 1.25])));
        assert_eq!(Vec::<f64>::try_from(sum.flatten(0, -1)).unwrap(), [1.0, 1.0, 1.0, 3.5, 3.5, 3.5]);
    }
}
