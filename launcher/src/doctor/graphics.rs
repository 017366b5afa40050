//! The doctor's look at NVIDIA GPUs, our library for them, and NCCL. None is needed on a machine without GPUs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::findings::Finding;
use super::libtorch::starts_a_name;
use crate::tools;

/// Looks at GPUs, our library for them, and NCCL.
pub fn look() -> Vec<Finding> {
    vec![gpus(), ours(), nccl()]
}

/// Whether the kernel knows an NVIDIA GPU here.
pub fn has_nvidia_gpu() -> bool {
    (0..16).any(|number| Path::new(&format!("/dev/nvidia{number}")).exists())
}

fn gpus() -> Finding {
    const PART: &str = "GPUs";
    if let Some(listed) = ask_nvidia_smi() {
        return Finding::ok(PART, listed);
    }
    if has_nvidia_gpu() {
        let models = kernel_models().join(", ");
        let found = format!("there ({models}), but nvidia-smi does not answer");
        return Finding::warning(PART, found, "the driver or the container's GPU support may be incomplete");
    }
    Finding::absent(PART, "no NVIDIA GPU; training runs on the CPU")
}

fn ask_nvidia_smi() -> Option<String> {
    let program = tools::find_on_path("nvidia-smi")?;
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let output = Command::new(program).args(query).output().ok().filter(|output| output.status.success())?;
    let listed = String::from_utf8_lossy(&output.stdout).trim().to_string();
    (!listed.is_empty()).then_some(listed)
}

/// The models that the driver names, one a GPU.
fn kernel_models() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let model = |path: PathBuf| {
        let text = fs::read_to_string(path.join("information")).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_string())
    };
    entries.flatten().filter_map(|entry| model(entry.path())).collect()
}

/// The library that the trainer loads where there is a GPU, from beside itself.
fn ours() -> Finding {
    const PART: &str = "GPU kernels";
    const LIBRARY: &str = "librectify_cuda.so";
    let named = std::env::var_os("RECTIFY_CUDA_LIBRARY").map(PathBuf::from);
    let beside = || Some(tools::find(tools::TRAINER).ok()?.canonicalize().ok()?.parent()?.join(LIBRARY));
    match named.or_else(beside) {
        Some(file) if file.exists() => Finding::ok(PART, file.display().to_string()),
        place => {
            let place = place.map_or_else(|| "the trainer's folder".into(), |file| file.display().to_string());
            let found = format!("no {LIBRARY} ({place})");
            match has_nvidia_gpu() {
                true => Finding::warning(PART, found, "run `make build`, which makes it"),
                false => Finding::absent(PART, found),
            }
        }
    }
}

fn nccl() -> Finding {
    const PART: &str = "NCCL";
    let [named, search] = ["RECTIFY_NCCL_LIBRARY", "LD_LIBRARY_PATH"].map(std::env::var_os);
    let libtorch = super::libtorch::library_folder();
    let places = nccl_places(named.as_deref(), libtorch.as_deref(), search.as_deref());
    if let Some(file) = places.iter().find(|place| starts_a_name(place)) {
        let shown = if named.is_some() { Some(file.as_path()) } else { file.parent() };
        return Finding::ok(PART, shown.unwrap_or(file).display().to_string());
    }
    let looked_at: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let found = format!("no {}", looked_at.join(", "));
    if has_nvidia_gpu() {
        return Finding::warning(PART, found, "GPUs on several ranks need it: run `make setup` to fetch it");
    }
    Finding::absent(PART, found)
}

/// What the trainer would load, in its order: the file that is named and nothing else; or the file beside libtorch, in
/// the search path, and where distributions put it. Names may go on, as in `libnccl.so.2`.
fn nccl_places(named: Option<&OsStr>, libtorch: Option<&Path>, search: Option<&OsStr>) -> Vec<PathBuf> {
    if let Some(file) = named.filter(|file| !file.is_empty()) {
        return vec![file.into()];
    }
    let searched = search.iter().flat_map(std::env::split_paths).filter(|path| !path.as_os_str().is_empty());
    let system = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64"].map(PathBuf::from);
    let folders = libtorch.and_then(world::nccl_beside).into_iter().chain(searched).chain(system);
    folders.map(|folder| folder.join("libnccl.so")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nccl_beside_libtorch_comes_before_the_search_path() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = root.path().canonicalize().expect("it is there");
        let (beside, link) = (root.join("cache/nvidia/nccl/lib"), root.join("link"));
        for folder in [&beside, &root.join("cache/torch/lib"), &root.join("searched")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        std::os::unix::fs::symlink(root.join("cache/torch"), &link).expect("a link");
        let (libtorch, search) = (link.join("lib"), root.join("searched"));
        let places = nccl_places(None, Some(&libtorch), Some(search.as_os_str()));
        assert_eq!(places[..2], [beside.join("libnccl.so"), search.join("libnccl.so")]);
        assert!(!starts_a_name(&places[0]));
        fs::write(beside.join("libnccl.so.2"), "a library").expect("a file");
        assert!(starts_a_name(&places[0]) && !starts_a_name(&places[1]));
        let named = nccl_places(Some(OsStr::new("/mine/libnccl.so.2")), Some(&libtorch), Some(search.as_os_str()));
        assert_eq!(named, [PathBuf::from("/mine/libnccl.so.2")]);
    }
}
