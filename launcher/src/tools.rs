//! Where the other binaries of the house are, and handing over to them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A binary of ours, and the variable by which a person can say where it is.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// File name.
    pub name: &'static str,
    /// Variable that wins over every other place.
    pub variable: &'static str,
}

/// Trains.
pub const TRAINER: Tool = Tool { name: "rectify-trainer", variable: "RECTIFY_TRAINER" };
/// Looks after data sets.
pub const DATA: Tool = Tool { name: "rectify-data", variable: "RECTIFY_DATA" };
/// Searches activations by entropy.
pub const EAFO: Tool = Tool { name: "rectify-eafo", variable: "RECTIFY_EAFO" };

/// A binary is nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The variable names something that cannot be run.
    #[error("{variable}={} cannot be run ({reason}): correct it or unset it", path.display())]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// It is in none of the places looked at.
    #[error(
        "{name} is not found: neither {} nor on PATH; build it with `cargo build --release`, or set {variable} to its path",
        beside.display()
    )]
    Missing {
        /// The binary's name.
        name: &'static str,
        /// The variable that would say where it is.
        variable: &'static str,
        /// The path beside this executable.
        beside: PathBuf,
    },
    /// It is there and does not start.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
}

/// Finds a tool: where its variable says, else beside this executable, else on `PATH`.
pub fn find(tool: Tool) -> Result<PathBuf, ToolError> {
    if let Some(told) = std::env::var_os(tool.variable).filter(|value| !value.is_empty()) {
        let path = std::path::absolute(&told).unwrap_or_else(|_| told.into());
        return match unusable(&path) {
            None => Ok(path),
            Some(reason) => Err(ToolError::Variable { variable: tool.variable, path, reason }),
        };
    }
    let this = std::env::current_exe().unwrap_or_default();
    let beside = this.with_file_name(tool.name);
    if unusable(&beside).is_none() {
        return Ok(beside);
    }
    find_on_path(tool.name).ok_or(ToolError::Missing { name: tool.name, variable: tool.variable, beside })
}

/// The first `name` on `PATH` that can be run.
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| unusable(path).is_none())
}

fn unusable(path: &Path) -> Option<&'static str> {
    match path.metadata() {
        Err(_) => Some("no such file"),
        Ok(found) if !found.is_file() => Some("not a file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("not executable"),
        Ok(_) => None,
    }
}

/// Becomes `tool`, with `arguments`; returns only when that fails.
pub fn hand_over(tool: Tool, arguments: &[OsString]) -> Result<Infallible, ToolError> {
    let path = find(tool)?;
    let source = Command::new(&path).args(arguments).exec();
    Err(ToolError::Start { path, source })
}
