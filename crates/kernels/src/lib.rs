//! The only C++ and CUDA over libtorch: what its binding `tch` lacks, or does in more passes over memory than it needs.
//!
//! - [`activation`]: bias and activation in one pass, forward and backward, on a CPU (loops compiled for three levels of the
//!   instruction set, the best chosen at run time) and on a GPU (compiled there by NVRTC).
//! - [`norm`]: residual sum (with LayerScale and drop-path) and layer normalisation in one pass, forward and backward.
//! - [`attention`]: attention within windows, from the joint projection to its output in one pass, on a CPU.
//! - [`input`]: images that come as bytes, normalized, erased, mixed and cut into patches in one pass, on a GPU.
//! - [`autograd`]: a call when the gradient of a parameter is whole; backward from a gradient that is given.
//! - [`backends`]: which of libtorch's backends compute attention on a GPU, and whether f32 may be TF32 there.
//! - [`product`]: linear maps with weights in a narrow type, whose gradients are added where the wide ones lie.
//! - [`recompute`]: a part of a network that is computed again in backward, in place of being kept.
//! - [`optimizer`]: libtorch's fused AdamW.
//! - [`memory`]: memory of tensors on the CPU that is kept from step to step.
//! - [`cuda`]: what only a GPU has: streams, graphs, memory that it reads by itself, and the kernels for it.
//!
//! Errors of C++ come back as [`KernelError`]; no exception crosses.

pub mod activation;
pub mod attention;
pub mod autograd;
pub mod backends;
pub mod cuda;
mod error;
mod ffi;
pub mod input;
pub mod memory;
pub mod norm;
pub mod optimizer;
pub mod product;
pub mod recompute;

pub use error::KernelError;
