//! Masks: the random choices of a training step, drawn outside the model and handed in.

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
pub(crate) fn residual(x: &Tensor, branch: Tensor, mask: Option<Tensor>) -> Tensor {
    match mask {
        Some(mask) => x.addcmul(&branch, &mask.view([-1, 1, 1]).to_kind(x.kind())),
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
