//! Attention within windows of a grid of tokens (Liu et al., 2021), read from and written to the grid itself, on a CPU.

use std::ptr;

use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// How a grid of tokens is cut into windows, and what is added to the scores of two tokens of one.
#[derive(Clone, Copy, Debug)]
pub struct WindowAttention<'a> {
    /// How many heads a token has.
    pub heads: i64,
    /// Rows and columns of a window; they divide the grid's.
    pub side: i64,
    /// By how many rows and columns the grid is rolled up and left before it is cut.
    pub shift: i64,
    /// `(heads, side², side²)`, learned.
    pub bias: &'a Tensor,
    /// `(windows, side², side²)`, a constant.
    pub mask: Option<&'a Tensor>,
}

impl WindowAttention<'_> {
    /// `softmax(q·kᵀ / √width + bias + mask) · v` of every window and head; `qkv` is `(N, H, W, 3 · heads · width)` in f32, f64,
    /// bf16 or f16, and the answer `(N, H, W, heads · width)`: each token's at its place in the grid as it was before it was rolled.
    ///
    /// Half-precision numbers are computed with in f32, between reading and writing them. Kept for backward are `qkv` and two numbers
    /// of each row of scores, not the scores. The gradient of `bias` is summed in an order that depends on the shape alone, not
    /// on the number of threads. Autograd cannot go through backward a second time.
    ///
    /// # Errors
    /// When shapes do not fit, a tensor is not on a CPU, or there is no memory.
    pub fn forward(&self, qkv: &Tensor) -> Result<Tensor, KernelError> {
        let mask = self.mask.map_or(ptr::null(), |mask| mask.as_ptr().cast());
        let mut out = ptr::null_mut();
        // SAFETY: all pointers are null or those of live tensors, and the answer is written before null is answered.
        let answer = unsafe {
            ffi::rectify_window_attention(
                qkv.as_ptr().cast(),
                self.bias.as_ptr().cast(),
                mask,
                self.heads,
                self.side,
                self.shift,
                &mut out,
            )
        };
        check("attention within windows", answer)?;
        // SAFETY: the shim made it with `new`, as tch makes its own, and nobody else has it.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }
}
