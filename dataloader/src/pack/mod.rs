//! Packing a data set into tar shards with an index: `rectify data pack`. The format is described in `source/shards/`.
//!
//! JPEGs are transcoded without loss: the same DCT coefficients, coded with optimised Huffman tables and restart markers.
//! What cannot be (PNG, CMYK, 12 bits, JPEGs whose damage decoders repair) is stored as it is. What the loader cannot
//! decode is left out and listed.
//!
//! Whenever packing ends, it goes on from the last whole shard when it is started again: a shard is written under a
//! temporary name, synced and renamed, then what the index needs of it is written beside it in the same way, and the
//! index of a split comes last.

mod index;
mod journal;
mod recode;
mod shard;
mod split;
mod tar;
mod verify;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::pack::recode::Lossy;
use crate::source::manifest::io_error;
use crate::{DataError, Dataset, Source, Split};

/// What to pack, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSpec {
    /// The folder to write.
    pub out: PathBuf,
    /// Reduce images whose longer side is longer than so many pixels (FFCV's `max_resolution`).
    pub max_side: Option<u32>,
    /// Encode every image anew as a JPEG of this quality, 1 to 100. Where only `max_side` is given, what is reduced is
    /// encoded at 90 and the rest is not touched.
    pub quality: Option<u32>,
    /// The seed of the order in the shards. It is for programs that read tars from end to end, for whom neighbours should
    /// be of different classes. Training through the index does not depend on it: there the order is that of the data
    /// set that was packed.
    pub seed: u64,
    /// A shard is closed when it has so many bytes; at least 1.
    pub shard_bytes: u64,
    /// A shard is closed when it has so many images; at least 1.
    pub shard_images: u64,
    /// Threads that transcode; 0 means one a core.
    pub workers: usize,
    /// What becomes of images that the loader cannot decode.
    pub bad_images: BadImages,
}

/// What becomes of images that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadImages {
    /// They are left out, counted, and listed in `train-left-out.txt` or `val-left-out.txt`.
    #[default]
    LeaveOut,
    /// The first one ends the packing.
    Refuse,
}

/// How far packing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The split in work.
    pub split: Split,
    /// Images of the split that are packed or left out.
    pub done: u64,
    /// Images of the split.
    pub images: u64,
}

/// What lies in the folder now.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Train, validation.
    pub splits: [SplitSummary; 2],
    /// Whether anything was left to do.
    pub state: State,
    /// How long this call took.
    pub took: Duration,
}

/// Whether the folder had to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This call packed it, or the rest of it.
    Packed,
    /// It was whole already.
    Found,
}

/// What became of one split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Images in the shards.
    pub images: u64,
    /// Of these, images stored as they are.
    pub as_they_are: u64,
    /// Images left out because they cannot be decoded.
    pub left_out: u64,
    /// Bytes of all images before.
    pub bytes_in: u64,
    /// Bytes of the shards.
    pub bytes_out: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// How many shards there are.
    pub shards: u64,
}

/// What fixes the contents of a packed folder; kept in it, so that packing goes on with the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Intent {
    version: u32,
    /// A hash of the names and labels of both splits.
    samples: String,
    max_side: Option<u32>,
    quality: Option<u32>,
    seed: u64,
    shard_bytes: u64,
    shard_images: u64,
}

/// Holds the [`Intent`] as JSON. Where it is, the folder is ours.
const INTENT_FILE: &str = "pack.json";
const INTENT_VERSION: u32 = 1;

impl PackSpec {
    /// Packs without loss into `out`, shards of 512 MB.
    pub fn new(out: impl Into<PathBuf>) -> PackSpec {
        PackSpec {
            out: out.into(),
            max_side: None,
            quality: None,
            seed: 0,
            shard_bytes: 512_000_000,
            shard_images: u64::MAX,
            workers: 0,
            bad_images: BadImages::LeaveOut,
        }
    }

    fn lossy(&self) -> Lossy {
        Lossy { max_side: self.max_side, quality: self.quality }
    }

    fn intent(&self, dataset: &Dataset) -> Intent {
        let mut hasher = blake3::Hasher::new();
        for source in [&dataset.train, &dataset.validation] {
            hasher.update(&(source.len() as u64).to_le_bytes());
            for index in 0..source.len() {
                hasher.update(source.name(index).as_bytes());
                hasher.update(&[0]);
                hasher.update(&source.label(index).to_le_bytes());
            }
        }
        Intent {
            version: INTENT_VERSION,
            samples: hasher.finalize().to_hex().to_string(),
            max_side: self.max_side,
            quality: self.quality,
            seed: self.seed,
            shard_bytes: self.shard_bytes,
            shard_images: self.shard_images,
        }
    }
}

/// Packs both splits, or goes on with it; does nothing where the folder is whole already.
///
/// # Errors
/// When the folder holds something else or was begun otherwise, the disk is full, an image cannot be packed and none may
/// be left out, or every image of a split is bad.
pub fn pack(dataset: &Dataset, spec: &PackSpec, progress: &dyn Fn(Progress)) -> Result<Summary, DataError> {
    let began = Instant::now();
    check(spec)?;
    if dataset.train.classes().iter().any(|class| class.len() > usize::from(u16::MAX)) {
        let problem = "the name of a class is longer than 65,535 bytes".to_owned();
        return Err(DataError::Pack { path: spec.out.clone(), problem });
    }
    let _lock = claim(&spec.out, &spec.intent(dataset))?;
    let (mut splits, mut state): ([SplitSummary; 2], State) = (Default::default(), State::Found);
    for (summary, (split, source)) in splits.iter_mut().zip(both(dataset)) {
        *summary = match split::found(split, &spec.out) {
            Some(found) => found,
            None => {
                state = State::Packed;
                split::pack(source, split, spec, progress)?
            }
        };
    }
    Ok(Summary { splits, state, took: began.elapsed() })
}

/// Compares a packed folder with the data set that it was packed from: the hash of every shard, and every image as it is
/// read through the index. Without loss, the coefficients must be the same.
///
/// # Errors
/// Names the first shard or image that differs.
pub fn verify(dataset: &Dataset, spec: &PackSpec, progress: &dyn Fn(Progress)) -> Result<(), DataError> {
    both(dataset).into_iter().try_for_each(|(split, source)| verify::verify(source, split, spec, progress))
}

fn both(dataset: &Dataset) -> [(Split, &dyn Source); 2] {
    [(Split::Train, dataset.train.as_ref()), (Split::Validation, dataset.validation.as_ref())]
}

fn check(spec: &PackSpec) -> Result<(), DataError> {
    let invalid = |problem: &str| Err(DataError::Pack { path: spec.out.clone(), problem: problem.to_owned() });
    match spec {
        PackSpec { max_side: Some(0 | 65_536..), .. } => invalid("a longest side is between 1 and 65,535 pixels"),
        PackSpec { quality: Some(0 | 101..), .. } => invalid("a quality is between 1 and 100"),
        PackSpec { shard_bytes: 0, .. } | PackSpec { shard_images: 0, .. } => invalid("a shard holds something"),
        _ => Ok(()),
    }
}

/// Makes the folder ours, or finds that it is; locked against others until the lock is dropped.
fn claim(out: &Path, intent: &Intent) -> Result<Flock<File>, DataError> {
    let refuse = |problem: String| Err(DataError::Pack { path: out.to_owned(), problem });
    let path = out.join(INTENT_FILE);
    if !path.exists() {
        let foreign = fs::read_dir(out).into_iter().flatten().flatten().find(|entry| !is_partial(&entry.path()));
        if let Some(foreign) = foreign {
            let name = foreign.file_name();
            return refuse(format!("it holds something else ({}); name a new or an empty folder", name.display()));
        }
        fs::create_dir_all(out).map_err(io_error("create", out))?;
        write_whole(out, INTENT_FILE, &serde_json::to_vec_pretty(intent).expect("plain numbers and text"))?;
    }
    let file = File::open(&path).map_err(io_error("open", &path))?;
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => return refuse("another process packs into it".to_owned()),
        Err((_, error)) => return Err(io_error("lock", &path)(error.into())),
    };
    let text = fs::read(&path).map_err(io_error("read", &path))?;
    match serde_json::from_slice::<Intent>(&text) {
        Ok(found) if found == *intent => Ok(lock),
        Ok(found) if found.samples != intent.samples => {
            refuse("it was begun from other images; name another folder".to_owned())
        }
        Ok(_) => refuse("it was begun with other options; give the same ones or name another folder".to_owned()),
        Err(error) => refuse(format!("its {INTENT_FILE} cannot be read ({error}); name another folder")),
    }
}

/// How the names of files end that are being written.
const PARTIAL: &str = ".partial";

fn is_partial(path: &Path) -> bool {
    path.to_string_lossy().ends_with(PARTIAL)
}

/// Writes a file so that it is whole under its name, or not there, whenever the machine stops.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), DataError> {
    let partial = folder.join(format!("{name}{PARTIAL}"));
    let mut file = File::create(&partial).map_err(io_error("create", &partial))?;
    file.write_all(bytes).map_err(write_error(&partial))?;
    settle(&file, folder, name)
}

/// Syncs a file that is written under its partial name, and gives it its own.
fn settle(file: &File, folder: &Path, name: &str) -> Result<(), DataError> {
    let (partial, path) = (folder.join(format!("{name}{PARTIAL}")), folder.join(name));
    file.sync_all().map_err(write_error(&partial))?;
    fs::rename(&partial, &path).map_err(io_error("rename", &partial))?;
    files::sync_folder(folder).map_err(io_error("sync", folder))
}

/// The error of a write; says of a full disk what to do.
fn write_error(path: &Path) -> impl Fn(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| {
        if source.kind() == io::ErrorKind::StorageFull {
            let problem =
                "the disk is full; make room and give the same command again, it goes on from the last whole shard";
            return DataError::Pack { path: path.clone(), problem: problem.to_owned() };
        }
        io_error("write", &path)(source)
    }
}
