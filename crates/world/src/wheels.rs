//! Where NVIDIA's libraries lie beside libtorch: each comes in a Python wheel of its own.

use std::path::{Path, PathBuf};

/// The folder that libtorch's wheel and those of its companions were unpacked into (in Python, `site-packages`), given the
/// folder of libtorch's libraries, which is `torch/lib` in it; `None` where there is no such folder.
///
/// Links are resolved first: the wheels lie beside the real `torch`, not beside a link to it.
pub fn packages_beside(libtorch: &Path) -> Option<PathBuf> {
    Some(libtorch.canonicalize().ok()?.parent()?.parent()?.to_path_buf())
}

/// The folder for NCCL in [`packages_beside`]; it need not be there.
pub fn nccl_beside(libtorch: &Path) -> Option<PathBuf> {
    Some(packages_beside(libtorch)?.join("nvidia/nccl/lib"))
}
