//! The kernels for a GPU, compiled for a CPU and run thread by thread: their index arithmetic, their sums and what they are given.
//!
//! What is left for a GPU to show is what the compiler for GPUs makes of them, and the few instructions that formulas.h and
//! numbers.h have in its own words.

#[path = "checks/activation.rs"]
mod activation;
#[path = "checks/input.rs"]
mod input;
#[path = "checks/norm.rs"]
mod norm;
#[path = "checks/row_lengths.rs"]
mod row_lengths;
#[path = "checks/worst.rs"]
mod worst;

mod emulation;

use kernels::norm::LayerNorm;
use tch::{Device, Kind, Tensor};

/// Where all of it is computed.
fn device() -> Device {
    emulation::load();
    Device::Cpu
}

#[test]
fn rows_that_no_kernel_takes_are_an_error() {
    let floats = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, device()));
    let (weight, bias) = (floats(&[30_000]), floats(&[30_000]));
    let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-6 };
    let error = norm.forward(&floats(&[2, 30_000]), Kind::Float).expect_err("too long");
    assert!(error.to_string().contains("30000"), "{error}");
}
