//! The doctor's look at libtorch, without loading it: where the trainer finds it, its version, its CUDA half.

use std::fs;
use std::path::{Path, PathBuf};

use super::findings::Finding;
use crate::tools;

/// The version that the trainer is built for.
const EXPECTED: &str = "2.11.0";

/// Libraries that `libtorch_cuda.so` needs and that come in packages of their own, beside the wheel's `torch` folder.
const CUDA_COMPANIONS: [&str; 4] =
    ["cu13/lib/libcublas.so", "cudnn/lib/libcudnn.so", "nccl/lib/libnccl.so", "cu13/lib/libcudart.so"];

/// Looks at libtorch and its CUDA half.
pub fn look() -> Vec<Finding> {
    let Some(lib) = library_folder() else {
        let places: Vec<String> = places().iter().map(|folder| folder.display().to_string()).collect();
        let found = format!("no libtorch_cpu.so in {}", places.join(", "));
        return vec![Finding::missing("libtorch", found, "run `make setup`, which fetches it and lays `.libtorch`")];
    };
    let root = lib.parent().unwrap_or(&lib);
    let about = fs::read_to_string(root.join("version.py")).unwrap_or_default();
    let version = python_string(&about, "__version__").or_else(|| build_version(root));
    vec![cpu_half(&lib, version), cuda_half(&lib, &about)]
}

/// The folder that holds libtorch's libraries, links resolved.
pub fn library_folder() -> Option<PathBuf> {
    let lib = places().into_iter().find(|folder| folder.join("libtorch_cpu.so").exists())?;
    Some(lib.canonicalize().unwrap_or(lib))
}

/// Where the dynamic linker looks for the trainer's libraries, in its order: `LD_LIBRARY_PATH`, then the trainer's own paths.
fn places() -> Vec<PathBuf> {
    let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&told).filter(|path| !path.as_os_str().is_empty()).collect();
    if let Some(folder) = tools::find(tools::TRAINER)
        .ok()
        .or_else(|| std::env::current_exe().ok())
        .and_then(|exe| exe.canonicalize().ok()?.parent().map(Path::to_path_buf))
    {
        places.extend(["../../.libtorch/lib", "../../../.libtorch/lib"].map(|below| tidy(&folder.join(below))));
    }
    places
}

/// The path without `..`, which is how a person would write it.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            tidy.pop();
        } else {
            tidy.push(part);
        }
    }
    tidy
}

fn cpu_half(lib: &Path, version: Option<String>) -> Finding {
    match version {
        Some(version) if version.starts_with(EXPECTED) => {
            Finding::ok("libtorch", format!("{version}, {}", lib.display()))
        }
        Some(version) => {
            let found = format!("{version}, {}", lib.display());
            Finding::warning("libtorch", found, format!("built and tested with {EXPECTED}; run `make setup`"))
        }
        None => Finding::warning("libtorch", lib.display().to_string(), "no version file beside it; it may not fit"),
    }
}

fn cuda_half(lib: &Path, about: &str) -> Finding {
    const PART: &str = "libtorch CUDA";
    if !lib.join("libtorch_cuda.so").exists() {
        return Finding::absent(PART, "a CPU-only libtorch");
    }
    let version = python_string(about, "cuda").map_or(String::new(), |version| format!(" for CUDA {version}"));
    let companions = world::packages_beside(lib).map(|site| site.join("nvidia")).unwrap_or_default();
    let lacking: Vec<&str> = CUDA_COMPANIONS
        .iter()
        .filter(|library| !starts_a_name(&companions.join(library)))
        .filter_map(|library| library.rsplit('/').next())
        .collect();
    if lacking.is_empty() {
        return Finding::ok(PART, format!("there{version}"));
    }
    let found = format!("there{version}, without {}: runs on CPUs only", lacking.join(", "));
    if super::graphics::has_nvidia_gpu() {
        return Finding::warning(PART, found, "there is a GPU: run `make setup` to fetch the CUDA libraries");
    }
    Finding::absent(PART, found)
}

/// Whether a file begins with this path: `libnccl.so` stands for `libnccl.so.2`.
pub fn starts_a_name(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(|file| file.starts_with(name)))
}

/// `name = 'value'` or `name: Type = 'value'` in a Python file.
fn python_string(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', ':', '=']) {
            return None;
        }
        let value = rest.split_once('=')?.1.trim();
        Some(value.strip_prefix('\'')?.strip_suffix('\'')?.to_string())
    })
}

/// libtorch's own archive has this file instead of Python's.
fn build_version(root: &Path) -> Option<String> {
    Some(fs::read_to_string(root.join("build-version")).ok()?.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_s_version_file_is_read() {
        let text = "__all__ = ['cuda']\n__version__ = '2.11.0+cu130'\ndebug = False\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n";
        assert_eq!(python_string(text, "__version__").as_deref(), Some("2.11.0+cu130"));
        assert_eq!(python_string(text, "cuda").as_deref(), Some("13.0"));
        assert_eq!(python_string(text, "hip"), None);
    }

    #[test]
    fn paths_lose_their_dots() {
        assert_eq!(tidy(Path::new("/a/target/release/../../.libtorch/lib")), Path::new("/a/.libtorch/lib"));
    }
}
