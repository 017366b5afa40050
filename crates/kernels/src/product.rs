//! Linear maps whose weights have a copy in the type of products, and whose gradients are added where the wide ones lie.
//!
//! Mixed precision keeps each parameter twice: the leaf that the optimizer changes, in f32, and a copy in bf16 or f16 that
//! products read, as in PyTorch's autocast. Autograd by itself casts every parameter on its own, forward and backward, and then
//! adds the gradient to `.grad`. Here backward adds to `.grad` itself, in place: on a GPU, and where both types are the same,
//! the product forms its sum there. [`crate::autograd::GradientHooks`] are called as for any other gradient.

use std::ptr;

use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// A parameter, and its copy in the type of products.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    /// The leaf of autograd that training changes.
    pub leaf: &'a Tensor,
    /// The same numbers in the type of products: `leaf` itself where that is its own type.
    pub narrow: &'a Tensor,
}

/// `x·Wᵀ + b`: `x` is `(…, inputs)` in the type of the narrow copies, `weight` `(outputs, …)` with `inputs` numbers in each row,
/// `bias` `(outputs)`.
///
/// Backward adds the gradients of leaves to their `.grad` in place; a leaf that has none yet gets one from autograd. Sums
/// are formed in the type of the leaf on a GPU; on a CPU they are rounded to that of products first. Autograd cannot go through backward a second time.
///
/// # Errors
/// When kinds, shapes or devices do not fit.
pub fn linear(x: &Tensor, weight: Weight<'_>, bias: Option<Weight<'_>>) -> Result<Tensor, KernelError> {
    let pointer = |tensor: Option<&Tensor>| tensor.map_or(ptr::null(), |tensor| tensor.as_ptr().cast());
    let mut out = ptr::null_mut();
    // SAFETY: all pointers are null or those of live tensors, and `out` is written before null is answered.
    let answer = unsafe {
        ffi::rectify_linear(
            pointer(Some(x)),
            pointer(Some(weight.leaf)),
            pointer(bias.map(|bias| bias.leaf)),
            pointer(Some(weight.narrow)),
            pointer(bias.map(|bias| bias.narrow)),
            &mut out,
        )
    };
    check("a linear map", answer)?;
    // SAFETY: the shim made this tensor with `new`, as tch makes its own, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

impl Weight<'_> {
    /// The narrow copy as part of a graph: backward adds its gradient to that of the leaf, in place. For operations of libtorch's
    /// other than linear maps, such as convolutions.
    ///
    /// # Errors
    /// When shapes or devices do not fit.
    pub fn tracked(&self) -> Result<Tensor, KernelError> {
        let mut out = ptr::null_mut();
        // SAFETY: both are live tensors, and `out` is written before null is answered.
        let answer = unsafe { ffi::rectify_narrowed(self.leaf.as_ptr().cast(), self.narrow.as_ptr().cast(), &mut out) };
        check("a parameter's narrow copy", answer)?;
        // SAFETY: the shim made this tensor with `new`, as tch makes its own, and nobody else has it.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }
}
