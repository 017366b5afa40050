//! Which of libtorch's backends compute attention on a GPU, and whether f32 there may be TF32: switches of the process.

use std::ffi::c_int;

use crate::error::check;
use crate::{KernelError, ffi};

/// Which backends may compute `scaled_dot_product_attention`. Of those that can take the inputs, libtorch uses the
/// first in the order of the fields.
///
/// On a CPU only `flash` and `math` count: libtorch has a flash attention of its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// cuDNN's fused attention, for bf16 and f16.
    pub cudnn: bool,
    /// FlashAttention, for bf16 and f16 without a mask.
    pub flash: bool,
    /// Memory-efficient attention, for any precision, also with a mask.
    pub efficient: bool,
    /// Separate operations that keep the scores in memory.
    pub math: bool,
}

impl Attention {
    /// FlashAttention where it takes the inputs; memory-efficient attention for f32 and masks.
    pub const FLASH: Attention = Attention { cudnn: false, flash: true, efficient: true, math: true };
    /// cuDNN where it takes the inputs, on every generation of GPUs that it supports; then as [`Attention::FLASH`].
    pub const CUDNN: Attention = Attention { cudnn: true, ..Attention::FLASH };

    /// Applies to all attention of this process from now on.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn allow(self) -> Result<(), KernelError> {
        let Attention { cudnn, flash, efficient, math } = self;
        // SAFETY: takes four flags.
        check("backends of attention", unsafe { ffi::rectify_allow_attention(cudnn, flash, efficient, math) })
    }

    /// What is allowed at present.
    ///
    /// # Errors
    /// When libtorch does not say.
    pub fn allowed() -> Result<Attention, KernelError> {
        let mut bits: c_int = 0;
        // SAFETY: `bits` is written before null is answered.
        check("backends of attention", unsafe { ffi::rectify_attention_state(&mut bits) })?;
        let [cudnn, flash, efficient, math] = [0, 1, 2, 3].map(|place| bits >> place & 1 == 1);
        Ok(Attention { cudnn, flash, efficient, math })
    }
}

/// Lets products and convolutions of f32 on a GPU round their factors to TF32 (10 bits of mantissa, NVIDIA Ampere and
/// newer), or forbids it. libtorch forbids it for products and allows it for convolutions. A CPU is not affected.
///
/// # Errors
/// When libtorch refuses.
pub fn allow_tf32(allow: bool) -> Result<(), KernelError> {
    // SAFETY: takes a flag.
    check("the switch for TF32", unsafe { ffi::rectify_allow_tf32(allow) })
}

/// Where TF32 is allowed at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tf32 {
    /// In matrix products.
    pub products: bool,
    /// In convolutions.
    pub convolutions: bool,
}

/// What libtorch's operators find when they ask whether TF32 is allowed.
///
/// # Errors
/// When its old and its new switches contradict each other.
pub fn tf32() -> Result<Tf32, KernelError> {
    let mut bits: c_int = 0;
    // SAFETY: `bits` is written before null is answered.
    check("the state of TF32", unsafe { ffi::rectify_tf32_state(&mut bits) })?;
    Ok(Tf32 { products: bits & 1 != 0, convolutions: bits & 2 != 0 })
}
