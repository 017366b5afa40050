//! The functions of the shim as C declares them; tensors are `torch::Tensor*`, as in tch.

use std::ffi::{c_char, c_int, c_void};

/// An opaque `at::Tensor`, as tch's.
pub type CTensor = c_void;

/// As cpp/input.h has it, field by field.
#[repr(C)]
pub struct InputArguments {
    pub bytes: *const CTensor,
    pub labels: *const CTensor,
    pub erasures: *const CTensor,
    pub half_normal: *const CTensor,
    pub partners: *const CTensor,
    pub own: *const CTensor,
    pub boxes: *const CTensor,
    pub scale: [f32; 3],
    pub shift: [f32; 3],
    pub erase_mode: c_int,
    pub patch_rows: i64,
    pub patch_columns: i64,
}

unsafe extern "C" {
    pub fn rectify_by_kernels(tensor: *const CTensor) -> bool;

    pub fn rectify_prepare_images(arguments: *const InputArguments, kind: c_int, out: *mut *mut CTensor)
    -> *mut c_char;

    pub fn rectify_activation(
        x: *const CTensor,
        bias: *const CTensor,
        first: *const CTensor,
        second: *const CTensor,
        first_constant: f64,
        second_constant: f64,
        table: *const CTensor,
        formula: c_int,
        out: *mut *mut CTensor,
    ) -> *mut c_char;

    pub fn rectify_norm(
        x: *const CTensor,
        branch: *const CTensor,
        scale: *const CTensor,
        mask: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        eps: f64,
        narrow: c_int,
        y: *mut *mut CTensor,
        sum: *mut *mut CTensor,
    ) -> *mut c_char;

    pub fn rectify_window_attention(
        qkv: *const CTensor,
        bias: *const CTensor,
        mask: *const CTensor,
        heads: i64,
        side: i64,
        shift: i64,
        out: *mut *mut CTensor,
    ) -> *mut c_char;

    pub fn rectify_on_gradient(
        leaf: *const CTensor,
        ready: unsafe extern "C" fn(data: *mut c_void, index: usize),
        data: *mut c_void,
        index: usize,
        hooked: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn rectify_forget_hook(hooked: *mut c_void);

    pub fn rectify_linear(
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        narrow_weight: *const CTensor,
        narrow_bias: *const CTensor,
        out: *mut *mut CTensor,
    ) -> *mut c_char;
    pub fn rectify_narrowed(leaf: *const CTensor, narrow: *const CTensor, out: *mut *mut CTensor) -> *mut c_char;

    pub fn rectify_recomputed(
        first: *const CTensor,
        second: *const CTensor,
        compute: unsafe extern "C" fn(
            data: *mut c_void,
            inputs: *mut *mut CTensor,
            outputs: *mut *mut CTensor,
        ) -> c_int,
        forget: unsafe extern "C" fn(data: *mut c_void),
        data: *mut c_void,
        outputs: c_int,
        out: *mut *mut CTensor,
    ) -> *mut c_char;

    pub fn rectify_allow_attention(cudnn: bool, flash: bool, efficient: bool, math: bool) -> *mut c_char;
    pub fn rectify_attention_state(bits: *mut c_int) -> *mut c_char;
    pub fn rectify_allow_tf32(allow: bool) -> *mut c_char;
    pub fn rectify_tf32_state(bits: *mut c_int) -> *mut c_char;

    pub fn rectify_backward(y: *const CTensor, gradient: *const CTensor) -> *mut c_char;

    pub fn rectify_adamw(
        values: *const CTensor,
        grads: *const CTensor,
        exp_avg: *const CTensor,
        exp_avg_sq: *const CTensor,
        step: *const CTensor,
        rate: *const CTensor,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;

    pub fn rectify_use_cuda_table(table: *const c_void);
    pub fn rectify_library_path(of: *const c_void) -> *mut c_char;
    pub fn rectify_cuda_is_registered() -> bool;
    pub fn rectify_each_kernel(
        row_lengths: *const i64,
        count: usize,
        visit: unsafe extern "C" fn(data: *mut c_void, file: *const c_char, definitions: *const c_char),
        data: *mut c_void,
    );

    pub fn rectify_sgd(
        values: *const CTensor,
        grads: *const CTensor,
        sum: *const CTensor,
        rate: *const CTensor,
        momentum: f64,
        nesterov: bool,
        weight_decay: f64,
    ) -> *mut c_char;

    pub fn rectify_lamb(
        values: *const CTensor,
        grads: *const CTensor,
        exp_avg: *const CTensor,
        exp_avg_sq: *const CTensor,
        ranges: *const i64,
        count: usize,
        step: u64,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        gradient_scale: f64,
        adapts: bool,
    ) -> *mut c_char;

    pub fn rectify_keep_memory();
    pub fn rectify_kept_bytes() -> usize;
}
