//! The kernels for a GPU, compiled for a CPU and run thread by thread: their index arithmetic, their sums and what they are given.
//!
//! What is left for a GPU to show is what the compiler for GPUs makes of them, and the few instructions that formulas.h and
//! numbers.h have in its own words.

#[path = "checks/activation.rs"]
mod activation;
#[path = "checks/input.rs"]
mod input;
#[path = "checks/kernels_of_tests.rs"]
mod kernels_of_tests;
#[path = "checks/norm.rs"]
mod norm;
#[path = "checks/row_lengths.rs"]
mod row_lengths;
#[path = "checks/worst.rs"]
mod worst;

mod emulation;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};

use kernels::norm::LayerNorm;
use tch::{Device, Kind, Tensor};

/// Where all of it is computed.
fn device() -> Device {
    emulation::load();
    Device::Cpu
}

/// The emulation has what the checks ask for, or they fail: so `compile_kernels` leaves none of it
/// out.
#[test]
fn the_kernels_of_the_checks_are_those_that_are_listed() {
    unsafe extern "C" fn add(all: *mut c_void, definitions: *const c_char) {
        // SAFETY: `all` is the set below, and the text ends with a zero.
        unsafe {
            let definitions = CStr::from_ptr(definitions).to_string_lossy().into_owned();
            (*all.cast::<BTreeSet<String>>()).insert(definitions);
        }
    }
    type Visit = unsafe extern "C" fn(*mut c_void, *const c_char);
    let mut emulated: BTreeSet<String> = BTreeSet::new();
    // SAFETY: the function has that type, and calls `add` while the set lives.
    unsafe {
        let each = emulation::library().get::<unsafe extern "C" fn(Visit, *mut c_void)>(b"emulation_each");
        each.expect("defined there")(add, (&raw mut emulated).cast());
    }
    let listed = kernels_of_tests::kernels_of_tests().into_iter().map(|kernel| kernel.definitions);
    assert_eq!(emulated, listed.collect::<BTreeSet<String>>());
}

#[test]
fn rows_that_no_kernel_takes_are_an_error() {
    let floats = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, device()));
    let (weight, bias) = (floats(&[30_000]), floats(&[30_000]));
    let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-6 };
    let error = norm.forward(&floats(&[2, 30_000]), Kind::Float).expect_err("too long");
    assert!(error.to_string().contains("30000"), "{error}");
}
