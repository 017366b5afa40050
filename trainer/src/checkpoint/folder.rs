//! The folder of checkpoints: reading one, verifying it, finding the newest good one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use files::{sync_folder, write_synced};
use serde::{Deserialize, Serialize};

use super::{EMA, MANIFEST, OPTIMIZER, PARAMETERS, RunState, STATE, Snapshot};

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what the manifest says.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
    /// No checkpoint is there.
    #[error("no checkpoint in {path}: name one, such as runs/NAME/checkpoints/step-00001234, or the folder of a run")]
    None {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A checkpoint without averaged weights.
    #[error("{path} holds no averaged weights ({EMA}): its run kept none")]
    NoAverage {
        /// The checkpoint.
        path: PathBuf,
    },
}

/// Size and hash of one file.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    bytes: u64,
    blake3: String,
}

pub(super) type Manifest = BTreeMap<String, Entry>;

/// A verified checkpoint in memory.
pub struct Loaded {
    /// Where it was read.
    pub path: PathBuf,
    /// Everything that is not a tensor.
    pub state: RunState,
    /// Contents of `parameters.safetensors`.
    pub parameters: Vec<u8>,
    /// Contents of `optimizer.safetensors`.
    pub optimizer: Vec<u8>,
    /// Contents of `ema.safetensors`; empty where there is none.
    pub ema: Vec<u8>,
}

/// The folder name of the checkpoint of `step`.
pub(super) fn name(step: u64) -> String {
    format!("step-{step:08}")
}

/// Every finished checkpoint in `folder`, oldest first; none where the folder is absent.
pub(super) fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// Reads and verifies the checkpoint in `path`.
///
/// # Errors
/// When a file is missing, unreadable, or not what the manifest says.
pub fn load(path: &Path) -> Result<Loaded, CheckpointError> {
    let manifest = manifest(path)?;
    let verified = |file: &str| verified(path, &manifest, file);
    Ok(Loaded {
        path: path.to_owned(),
        state: parse(path, STATE, &verified(STATE)?)?,
        parameters: verified(PARAMETERS)?,
        optimizer: verified(OPTIMIZER)?,
        ema: if manifest.contains_key(EMA) { verified(EMA)? } else { Vec::new() },
    })
}

/// What the checkpoint in `path` says of its files.
pub(super) fn manifest(path: &Path) -> Result<Manifest, CheckpointError> {
    parse(path, MANIFEST, &read(path, MANIFEST)?)
}

/// The contents of one file of the checkpoint in `path`, if they are what `manifest` says.
pub(super) fn verified(path: &Path, manifest: &Manifest, file: &str) -> Result<Vec<u8>, CheckpointError> {
    let data = read(path, file)?;
    let damaged = |what: String| CheckpointError::Damaged { path: path.join(file), what };
    let entry = manifest.get(file).ok_or_else(|| damaged(format!("{MANIFEST} does not list it")))?;
    if entry.bytes != data.len() as u64 {
        return Err(damaged(format!("{} bytes where {MANIFEST} says {}", data.len(), entry.bytes)));
    }
    if entry.blake3 != blake3::hash(&data).to_hex().as_str() {
        return Err(damaged(format!("its hash is not the one in {MANIFEST}")));
    }
    Ok(data)
}

/// The newest checkpoint in `folder` that verifies and that `accept` takes, and why newer ones were passed over.
pub fn newest_good(
    folder: &Path,
    mut accept: impl FnMut(&Loaded) -> Result<(), String>,
) -> (Option<Loaded>, Vec<String>) {
    let mut passed_over = Vec::new();
    for (_, path) in list(folder).into_iter().rev() {
        let verdict = load(&path).map_err(|error| error.to_string());
        match verdict.and_then(|loaded| accept(&loaded).map(|()| loaded)) {
            Ok(loaded) => return (Some(loaded), passed_over),
            Err(why) => passed_over.push(format!("checkpoint {} is passed over: {why}", path.display())),
        }
    }
    (None, passed_over)
}

/// Moves the checkpoints of steps after `step` (all, where it is `None`) into the first free of `set-aside-1`, `set-aside-2`, … in the
/// same folder, and says where they are now; `None` where there are no such. A run that goes on from an older checkpoint takes another
/// way: what others left ahead of it must be neither taken for its own nor count among those that are kept.
///
/// # Errors
/// When a folder cannot be made or renamed.
pub fn set_aside_after(folder: &Path, step: Option<u64>) -> io::Result<Option<PathBuf>> {
    let later: Vec<PathBuf> = list(folder)
        .into_iter()
        .filter(|(found, _)| step.is_none_or(|step| *found > step))
        .map(|(_, path)| path)
        .collect();
    if later.is_empty() {
        return Ok(None);
    }
    let free = (1u32..)
        .map(|number| folder.join(format!("set-aside-{number}")))
        .find(|path| !path.exists())
        .expect("numbers do not run out before folders do");
    fs::create_dir(&free)?;
    for path in later {
        fs::rename(&path, free.join(path.file_name().expect("a checkpoint has a name")))?;
    }
    Ok(Some(free))
}

/// Writes `snapshot` into `folder`: a temporary folder first, every file synced, then one rename. A good checkpoint of the
/// same step stays as it is: the state of a step is always the same.
///
/// # Errors
/// Whatever the file system says; the folder then holds what it held before.
pub(super) fn write(folder: &Path, snapshot: &Snapshot) -> io::Result<PathBuf> {
    let target = folder.join(name(snapshot.state.step));
    if load(&target).is_ok() {
        return Ok(target);
    }
    let scratch = folder.join(format!(".{}.partial", name(snapshot.state.step)));
    let outcome = fill(&scratch, snapshot).and_then(|()| {
        remove(&target)?;
        fs::rename(&scratch, &target)?;
        sync_folder(folder)
    });
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&scratch);
    }
    outcome.map(|()| target)
}

fn fill(scratch: &Path, snapshot: &Snapshot) -> io::Result<()> {
    remove(scratch)?;
    fs::create_dir_all(scratch)?;
    let mut manifest = Manifest::new();
    let mut put = |file: &str, data: &[u8]| -> io::Result<()> {
        write_synced(&scratch.join(file), data)?;
        let entry = Entry { bytes: data.len() as u64, blake3: blake3::hash(data).to_hex().to_string() };
        manifest.insert(file.to_owned(), entry);
        Ok(())
    };
    put(PARAMETERS, &snapshot.parameters_file().map_err(io::Error::other)?)?;
    put(OPTIMIZER, &snapshot.optimizer_file().map_err(io::Error::other)?)?;
    if let Some(ema) = snapshot.ema_file() {
        put(EMA, &ema.map_err(io::Error::other)?)?;
    }
    put(STATE, &serde_json::to_vec_pretty(&snapshot.state)?)?;
    write_synced(&scratch.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    sync_folder(scratch)
}

/// Removes a folder of this name, present or not.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn read(folder: &Path, file: &str) -> Result<Vec<u8>, CheckpointError> {
    let path = folder.join(file);
    fs::read(&path).map_err(|source| CheckpointError::Unreadable { path, source })
}

pub(super) fn parse<T: for<'a> Deserialize<'a>>(folder: &Path, file: &str, data: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(data)
        .map_err(|error| CheckpointError::Damaged { path: folder.join(file), what: error.to_string() })
}
