//! Tells the trainer what it was built from: the git commit, and the version of libtorch.

use std::path::Path;
use std::process::Command;

fn main() {
    let libtorch = std::env::var("LIBTORCH").unwrap_or_default();
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let file = Path::new(&libtorch).join("version.py");
    println!("cargo:rerun-if-changed={}", file.display());
    println!("cargo:rustc-env=RECTIFY_LIBTORCH_VERSION={}", libtorch_version(&file).unwrap_or("unknown".to_owned()));
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    if let Some(commit) = git_commit() {
        println!("cargo:rustc-env=RECTIFY_GIT_COMMIT={commit}");
    }
}

/// The wheel's own word: `__version__ = '2.11.0+cu130'`.
fn libtorch_version(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    Some(line.split('=').next_back()?.trim().trim_matches(['\'', '"']).to_owned())
}

fn git_commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
