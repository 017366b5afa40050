//! What the binding lacks of autograd: a call when the gradient of a parameter is whole, and backward from a given gradient.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::ptr;

use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// `y.backward(gradient)` of PyTorch: adds to the gradients of all leaves what `gradient`, of the shape of `y`, causes there.
///
/// # Errors
/// When the shapes differ, `y` has no history, or an operation fails.
pub fn backward_from(y: &Tensor, gradient: &Tensor) -> Result<(), KernelError> {
    // SAFETY: both are live tensors.
    check("backward", unsafe { ffi::rectify_backward(y.as_ptr().cast(), gradient.as_ptr().cast()) })
}

/// Hooks on leaves; they are taken off again when this is dropped.
pub struct GradientHooks {
    /// What C++ made of each hook.
    hooked: Vec<*mut c_void>,
    /// Boxed twice so that C++ can hold a thin pointer to it.
    ready: *mut Callback,
}

type Callback = Box<dyn Fn(usize) + Send + Sync>;

// SAFETY: the callback is `Send` and `Sync`, and what C++ made is used by `drop` alone.
unsafe impl Send for GradientHooks {}

impl GradientHooks {
    /// Calls `ready(index)` in the thread of backward, each time when the gradient of `leaves[index]` is whole: after the last use of
    /// the leaf in the graph has added to it, whether by autograd or in place ([`crate::product`]).
    ///
    /// # Errors
    /// When one of them is no leaf that requires gradients.
    pub fn new(
        leaves: &[&Tensor],
        ready: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<GradientHooks, KernelError> {
        let mut hooks =
            GradientHooks { hooked: Vec::with_capacity(leaves.len()), ready: Box::into_raw(Box::new(Box::new(ready))) };
        for (index, leaf) in leaves.iter().enumerate() {
            let mut hooked = ptr::null_mut();
            // SAFETY: the leaf lives; `ready` lives until `drop`, which takes the hook off before it frees it.
            let answer =
                unsafe { ffi::rectify_on_gradient(leaf.as_ptr().cast(), call, hooks.ready.cast(), index, &mut hooked) };
            check("a hook on a gradient", answer)?;
            hooks.hooked.push(hooked);
        }
        Ok(hooks)
    }
}

/// What C++ calls. A panic must not unwind into it: its message is printed, and the process ends.
unsafe extern "C" fn call(data: *mut c_void, index: usize) {
    // SAFETY: `data` is the callback of a `GradientHooks` that lives.
    let ready = unsafe { &*data.cast::<Callback>() };
    if catch_unwind(AssertUnwindSafe(|| ready(index))).is_err() {
        abort();
    }
}

impl Drop for GradientHooks {
    fn drop(&mut self) {
        for &hooked in &self.hooked {
            // SAFETY: made by `rectify_on_gradient`, and freed once.
            unsafe { ffi::rectify_forget_hook(hooked) };
        }
        // SAFETY: made by `Box::into_raw` in `new`; no hook can call it any more.
        drop(unsafe { Box::from_raw(self.ready) });
    }
}
