//! A part of a network that keeps only its inputs for backward, and is computed once more there (activation checkpointing).

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// At most so many inputs, and outputs.
const MOST: usize = 2;

type Work = Box<dyn Fn(Vec<Tensor>) -> Vec<Tensor> + Send>;

struct Job {
    work: Work,
    inputs: usize,
    outputs: usize,
}

/// What `work` makes of `inputs`, one or two tensors: `outputs` tensors, one or two.
///
/// Nothing that it computes is kept: backward calls `work` again, with the same inputs, and goes on through what that records.
/// Leaves that `work` uses get their gradients then, and their hooks are called, as ever. So it must compute the same again:
/// random choices are made outside of it. At least one of the inputs requires gradients, or no leaf gets any.
///
/// # Errors
/// When `work` panics, or libtorch refuses.
///
/// # Panics
/// When there are no inputs or outputs, or more than two.
pub fn recomputed(
    inputs: &[&Tensor],
    outputs: usize,
    work: impl Fn(Vec<Tensor>) -> Vec<Tensor> + Send + 'static,
) -> Result<Vec<Tensor>, KernelError> {
    assert!((1..=MOST).contains(&inputs.len()) && (1..=MOST).contains(&outputs), "one or two tensors");
    let job = Box::new(Job { work: Box::new(work), inputs: inputs.len(), outputs });
    let second = inputs.get(1).map_or(ptr::null(), |tensor| tensor.as_ptr().cast());
    let mut made = [ptr::null_mut(); MOST];
    // SAFETY: the tensors live, and `made` has room. The job is C++'s from here on, which frees it by `forget`.
    let answer = unsafe {
        let (first, job) = (inputs[0].as_ptr().cast(), Box::into_raw(job).cast());
        ffi::rectify_recomputed(first, second, compute, forget, job, outputs as c_int, made.as_mut_ptr())
    };
    check("a part that is computed again", answer)?;
    // SAFETY: the shim made these tensors with `new`, as tch makes its own, and nobody else has them.
    Ok(made[..outputs].iter().map(|&tensor| unsafe { Tensor::from_ptr(tensor.cast()) }).collect())
}

/// What C++ calls. A panic must not unwind into it: its message is printed, and the call answers that it failed.
unsafe extern "C" fn compute(
    data: *mut c_void,
    inputs: *mut *mut ffi::CTensor,
    outputs: *mut *mut ffi::CTensor,
) -> c_int {
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `data` is a job that C++ has not forgotten; calls do not overlap, since a graph is gone through by one thread
        // at a time. The inputs were made for this call, as tch makes tensors.
        let (job, inputs) = unsafe {
            let job = &*data.cast::<Job>();
            let inputs = std::slice::from_raw_parts(inputs, job.inputs);
            (job, inputs.iter().map(|&tensor| Tensor::from_ptr(tensor.cast())).collect())
        };
        let made = (job.work)(inputs);
        assert_eq!(made.len(), job.outputs, "as many outputs as were announced");
        for (place, tensor) in made.into_iter().enumerate() {
            // SAFETY: there is room for as many outputs as were announced; the tensor is C++'s from here on.
            unsafe { *outputs.add(place) = tensor.as_ptr().cast_mut().cast() };
            std::mem::forget(tensor);
        }
    }));
    c_int::from(done.is_err())
}

unsafe extern "C" fn forget(data: *mut c_void) {
    // SAFETY: made by `Box::into_raw`; C++ calls this once, and does not use it afterwards.
    let job = unsafe { Box::from_raw(data.cast::<Job>()) };
    // What is dropped are tensors and numbers; should it panic all the same, it must not unwind into C++.
    if catch_unwind(AssertUnwindSafe(|| drop(job))).is_err() {
        std::process::abort();
    }
}
