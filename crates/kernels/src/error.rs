//! `KernelError`: what C++ answered instead of a result.

use std::ffi::{CStr, c_char};

/// What went wrong behind the border, in libtorch's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {message}")]
pub struct KernelError {
    /// What was asked for.
    pub what: &'static str,
    /// The first line of the exception's message.
    pub message: String,
}

/// Turns what a function of the shim answered into a result, and frees it.
pub(crate) fn check(what: &'static str, answer: *mut c_char) -> Result<(), KernelError> {
    if answer.is_null() {
        return Ok(());
    }
    // SAFETY: the shim answers with null or with a string of `strdup`.
    let text = unsafe { taken(answer) };
    Err(KernelError { what, message: text.lines().next().unwrap_or_default().to_owned() })
}

/// The text of a string that C++ made, which is freed.
///
/// # Safety
/// It is one of `strdup`, and nobody else's.
pub(crate) unsafe fn taken(text: *mut c_char) -> String {
    // SAFETY: the caller says so.
    unsafe {
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        free(text.cast());
        owned
    }
}

unsafe extern "C" {
    fn free(memory: *mut std::ffi::c_void);
}
