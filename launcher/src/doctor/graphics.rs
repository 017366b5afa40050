//! The doctor's look at NVIDIA GPUs, our library for them, and NCCL. None is needed on a machine without GPUs.

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
    let places = nccl_places();
    if let Some(folder) = places.iter().find(|folder| starts_a_name(&folder.join("libnccl.so"))) {
        return Finding::ok(PART, folder.display().to_string());
    }
    let looked_at: Vec<String> = places.iter().map(|folder| folder.display().to_string()).collect();
    let found = format!("no libnccl.so in {}", looked_at.join(", "));
    if has_nvidia_gpu() {
        return Finding::warning(PART, found, "GPUs on several ranks need it: run `make setup` to fetch it");
    }
    Finding::absent(PART, found)
}

/// The wheel's own folder first, then where distributions put it.
fn nccl_places() -> Vec<PathBuf> {
    let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&told).filter(|path| !path.as_os_str().is_empty()).collect();
    places.extend(super::libtorch::site_packages().map(|site| site.join("nvidia/nccl/lib")));
    places.extend(["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64"].map(PathBuf::from));
    places
}
