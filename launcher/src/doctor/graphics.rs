//! The doctor's look at NVIDIA GPUs and NCCL. Neither is needed on a machine without GPUs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::findings::Finding;
use super::libtorch::starts_a_name;
use crate::tools;

/// Looks at GPUs and NCCL.
pub fn look() -> Vec<Finding> {
    vec![gpus(), nccl()]
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
