//! Residual sum and layer normalisation in one pass: the norms of a pre-norm transformer, with the branch that ends before each.

use std::ptr;

use tch::{Kind, Tensor};

use crate::error::check;
use crate::{KernelError, ffi};

/// Normalisation of the last dimension, `(x − mean) / √(variance + eps) · weight + bias`, as `torch.nn.LayerNorm`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `(C)`.
    pub weight: &'a Tensor,
    /// `(C)`.
    pub bias: &'a Tensor,
    /// Added to the variance, which is the biased one.
    pub eps: f64,
}

/// What a residual block adds: `values · scale · mask`.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// `(…, C)`, as what it is added to.
    pub values: &'a Tensor,
    /// LayerScale, `(C)`.
    pub scale: Option<&'a Tensor>,
    /// Drop-path, a number for each element of the first dimension: 0 or `1 / keep`.
    pub mask: Option<&'a Tensor>,
}

impl LayerNorm<'_> {
    /// The norm of `x` `(…, C)` in `kind`: f32 to f32, bf16 or f16, f64 to f64.
    ///
    /// # Errors
    /// When kinds, shapes or devices do not fit, or there is no memory.
    pub fn forward(&self, x: &Tensor, kind: Kind) -> Result<Tensor, KernelError> {
        Ok(self.run(x, None, kind)?.0)
    }

    /// The norm of `x + branch` in `kind`, and the sum in the kind of `x`. A branch is read in `kind`.
    ///
    /// The gradients of weight, bias and scale are summed in an order that depends on the shape alone, not on the number of
    /// threads; a mask has none. Autograd cannot go through backward a second time.
    ///
    /// # Errors
    /// As [`LayerNorm::forward`].
    pub fn forward_sum(&self, x: &Tensor, branch: Branch<'_>, kind: Kind) -> Result<(Tensor, Tensor), KernelError> {
        self.run(x, Some(branch), kind)
    }

    fn run(&self, x: &Tensor, branch: Option<Branch<'_>>, kind: Kind) -> Result<(Tensor, Tensor), KernelError> {
        let pointer = |tensor: Option<&Tensor>| tensor.map_or(ptr::null(), |tensor| tensor.as_ptr().cast());
        let (mut y, mut sum) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: all pointers are null or those of live tensors, and both answers are written before null is answered.
        let answer = unsafe {
            ffi::rectify_norm(
                pointer(Some(x)),
                pointer(branch.map(|branch| branch.values)),
                pointer(branch.and_then(|branch| branch.scale)),
                pointer(branch.and_then(|branch| branch.mask)),
                pointer(Some(self.weight)),
                pointer(Some(self.bias)),
                self.eps,
                scalar_type(kind)?,
                &mut y,
                &mut sum,
            )
        };
        check("a norm", answer)?;
        // SAFETY: the shim made both with `new`, as tch makes its own, and nobody else has them.
        Ok(unsafe { (Tensor::from_ptr(y.cast()), Tensor::from_ptr(sum.cast())) })
    }
}

/// libtorch's number of a kind that a norm can have.
fn scalar_type(kind: Kind) -> Result<i32, KernelError> {
    match kind {
        Kind::Half => Ok(5),
        Kind::Float => Ok(6),
        Kind::Double => Ok(7),
        Kind::BFloat16 => Ok(15),
        other => Err(KernelError { what: "a norm", message: format!("there is none in {other:?}") }),
    }
}

impl Branch<'_> {
    /// `x + values · scale · mask` in the kind of `x`, by libtorch's operations.
    ///
    /// # Panics
    /// When shapes or devices do not fit.
    pub fn added_to(&self, x: &Tensor) -> Tensor {
        let values = self.values.to_kind(x.kind());
        let values = self.scale.map_or_else(|| values.shallow_clone(), |scale| &values * scale);
        match self.mask {
            Some(mask) => {
                let shape: Vec<i64> = (0..x.dim()).map(|axis| if axis == 0 { -1 } else { 1 }).collect();
                x.addcmul(&values, &mask.view(shape.as_slice()).to_kind(x.kind()))
            }
            None => x + values,
        }
    }
}
