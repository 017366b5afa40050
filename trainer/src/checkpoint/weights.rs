//! The weights alone of a checkpoint, for those that do not go on training; and which checkpoint of a run to take.

use std::path::{Path, PathBuf};

use super::folder::{CheckpointError, list, manifest, parse, verified};
use super::writer::best_step;
use super::{EMA, MANIFEST, PARAMETERS, RunState, STATE};

/// Which weights of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Those that were trained.
    Trained,
    /// Their moving average.
    Averaged,
}

/// A checkpoint that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its folder.
    pub path: PathBuf,
    /// Why it and no other of its run was taken; `None` where it was named itself.
    pub reason: Option<String>,
}

/// The checkpoint at `path`: that itself, or where `path` is a run's folder the one of the best top-1, else the newest.
///
/// # Errors
/// [`CheckpointError::None`] when there is none.
pub fn locate(path: &Path) -> Result<Located, CheckpointError> {
    if path.join(MANIFEST).is_file() {
        return Ok(Located { path: path.to_owned(), reason: None });
    }
    let inner = path.join("checkpoints");
    let found = list(if inner.is_dir() { &inner } else { path });
    let best = best_step(&found);
    let chosen = found.iter().rev().find(|(step, _)| best.is_none_or(|best| best == *step));
    let (_, chosen) = chosen.ok_or_else(|| CheckpointError::None { path: path.to_owned() })?;
    let why = if best.is_some() { "the best top-1" } else { "the newest, none was evaluated" };
    Ok(Located { path: chosen.clone(), reason: Some(format!("{why} of {} checkpoints", found.len())) })
}

/// What a checkpoint says of its run, and the verified contents of its file of weights.
///
/// # Errors
/// When a file is missing, unreadable, or not what the manifest says.
pub fn load_weights(path: &Path, kept: Kept) -> Result<(RunState, Vec<u8>), CheckpointError> {
    let manifest = manifest(path)?;
    let file = match kept {
        Kept::Trained => PARAMETERS,
        Kept::Averaged if !manifest.contains_key(EMA) => {
            return Err(CheckpointError::NoAverage { path: path.to_owned() });
        }
        Kept::Averaged => EMA,
    };
    Ok((parse(path, STATE, &verified(path, &manifest, STATE)?)?, verified(path, &manifest, file)?))
}
