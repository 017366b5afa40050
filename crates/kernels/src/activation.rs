//! Bias and activation in one pass: forward, and backward for input, bias and parameters at once.

use std::ptr;

use activations::Activation;
use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// A formula that has loops of its own.
///
/// The others of the catalogue (ELU, CELU) are one operation of libtorch already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Fused {
    /// `max(0, x)`.
    Relu,
    /// `max(0, x) + ε·x·e^(−x²/2)`.
    CrRelu,
    /// `x` for x > 0, otherwise `slope·x`.
    PRelu,
    /// `x·Φ(x)`.
    Gelu,
    /// `x·σ(x)`.
    Silu,
    /// `x·tanh(ln(1 + e^x))`.
    Mish,
    /// `scale·max(0, x)² + bias`.
    StarRelu,
    /// GELU and `ε·x·e^(−x²/2)`.
    CrGelu,
    /// SiLU and `ε·x·e^(−x²/2)`.
    CrSilu,
    /// Mish and `ε·x·e^(−x²/2)`.
    CrMish,
}

/// A parameter of a formula.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// One number that may learn: a tensor of one element on the device of the input.
    Tensor(&'a Tensor),
    /// A constant.
    Constant(f64),
}

impl Fused {
    /// All of them.
    pub const ALL: [Fused; 10] = [
        Fused::Relu,
        Fused::CrRelu,
        Fused::PRelu,
        Fused::Gelu,
        Fused::Silu,
        Fused::Mish,
        Fused::StarRelu,
        Fused::CrGelu,
        Fused::CrSilu,
        Fused::CrMish,
    ];

    /// The loops of an activation of the catalogue, where it has some.
    pub fn of(formula: Activation) -> Option<Fused> {
        Fused::ALL.into_iter().find(|fused| fused.formula() == formula)
    }

    /// The activation in the catalogue, whose values and derivatives are the reference.
    pub fn formula(self) -> Activation {
        match self {
            Fused::Relu => Activation::Relu,
            Fused::CrRelu => Activation::CrRelu,
            Fused::PRelu => Activation::PRelu,
            Fused::Gelu => Activation::Gelu,
            Fused::Silu => Activation::Silu,
            Fused::Mish => Activation::Mish,
            Fused::StarRelu => Activation::StarRelu,
            Fused::CrGelu => Activation::CrGelu,
            Fused::CrSilu => Activation::CrSilu,
            Fused::CrMish => Activation::CrMish,
        }
    }

    /// `f(x + bias)` of `x` `(…, C)` in f32, f64, bf16 or f16 and `bias` `(C)` of any of these, with as many `parameters` as the
    /// formula has.
    ///
    /// Numbers of half precision are computed with in f32. For backward only the inputs are kept. The gradients of bias and
    /// parameters are summed in an order that depends on the shape alone, not on the number of threads.
    /// Autograd cannot go through backward a second time.
    ///
    /// # Errors
    /// When kinds, shapes or devices do not fit, or there is no memory.
    ///
    /// # Panics
    /// When there are not as many `parameters` as the formula has.
    pub fn forward(self, x: &Tensor, bias: Option<&Tensor>, parameters: &[Scalar<'_>]) -> Result<Tensor, KernelError> {
        let expected = self.formula().parameters().len();
        assert_eq!(parameters.len(), expected, "{} has {expected} parameters", self.formula());
        let tensor = |index: usize| match parameters.get(index) {
            Some(Scalar::Tensor(tensor)) => tensor.as_ptr().cast(),
            _ => ptr::null(),
        };
        let constant = |index: usize| match parameters.get(index) {
            Some(&Scalar::Constant(value)) => value,
            _ => 0.0,
        };
        let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr().cast());
        let mut out = ptr::null_mut();
        // SAFETY: all pointers are null or those of live tensors, and `out` is written before null is answered.
        let answer = unsafe {
            let (first, second) = (tensor(0), tensor(1));
            let x = x.as_ptr().cast();
            ffi::rectify_activation(x, bias, first, second, constant(0), constant(1), self as i32, &mut out)
        };
        check(self.formula().name(), answer)?;
        // SAFETY: the shim made this tensor with `new`, as tch makes its own, and nobody else has it.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }
}
