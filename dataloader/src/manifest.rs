//! The list of images of one split: found by walking its folders, and kept in the user's cache for large sets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use random::Key;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::DataError;

/// What is read as an image; the contents decide the format.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Splits with fewer files are walked every time: that takes milliseconds.
const CACHED_FROM_FILES: usize = 4096;
/// A folder changed this shortly before the walk may have changed again within the clock's tick: it is not trusted.
const SETTLED: Duration = Duration::from_secs(2);
const VERSION: u32 = 1;

/// All images of a split, class by class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    root: PathBuf,
    pub(crate) classes: Vec<Class>,
}

/// The images of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Class {
    pub(crate) name: String,
    /// Paths relative to the class folder, sorted.
    pub(crate) files: Vec<String>,
    /// When each folder of the class last changed, by its path relative to the class folder.
    changed_ns: BTreeMap<String, u64>,
}

/// The folder of cached manifests: `$XDG_CACHE_HOME/rectify/manifests`, or the same under `~/.cache`.
///
/// Never the data folder, which may be read-only or shared.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("rectify").join("manifests"))
}

/// The images under `root`, one class a folder; from the cache where nothing has changed.
///
/// A class is walked again when the set of its folders or the time of change of any of them differs from the cached one,
/// which every added, removed or renamed file brings about. A cache that cannot be read or written is done without.
///
/// # Errors
/// When a folder cannot be listed.
pub(crate) fn list(root: &Path, cache: Option<&Path>) -> Result<Manifest, DataError> {
    let root = fs::canonicalize(root).map_err(io_error("open", root))?;
    let file = cache.map(|folder| folder.join(cache_name(&root)));
    let cached = file.as_deref().and_then(|file| load(file, &root));
    let mut known: BTreeMap<String, Class> =
        cached.iter().flat_map(|manifest| &manifest.classes).map(|class| (class.name.clone(), class.clone())).collect();
    let mut classes = Vec::new();
    for name in class_names(&root)? {
        let folder = root.join(&name);
        match known.remove(&name).filter(|class| class.is_current(&folder)) {
            Some(class) => classes.push(class),
            None => classes.push(walk(&folder, name)?),
        }
    }
    let manifest = Manifest { version: VERSION, root, classes };
    let files: usize = manifest.classes.iter().map(|class| class.files.len()).sum();
    if let Some(file) = file
        && files >= CACHED_FROM_FILES
        && cached.as_ref() != Some(&manifest)
        && let Err(error) = store(&file, &manifest)
    {
        tracing::debug!("cannot cache the list of images in {}: {error}", file.display());
    }
    Ok(manifest)
}

/// The names of the folders in `root`, sorted as torchvision sorts them; hidden ones are left out.
fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(io_error("list", root))? {
        let entry = entry.map_err(io_error("list", root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn walk(folder: &Path, name: String) -> Result<Class, DataError> {
    let mut class = Class { name, files: Vec::new(), changed_ns: BTreeMap::new() };
    let shown = |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.');
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(shown) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.loop_ancestor().is_some() => continue,
            // A dangling link is a file that cannot be read; a folder that cannot be listed is an error.
            Err(error) if error.io_error().is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound) => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                return Err(DataError::Io { action: "list", path, source: error.into() });
            }
        };
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if entry.file_type().is_dir() {
            class.changed_ns.insert(path, changed_ns(entry.path()).unwrap_or(0));
        } else if is_image(entry.path()) {
            class.files.push(path);
        }
    }
    class.files.sort_unstable();
    Ok(class)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

impl Class {
    /// True where no folder of the class has changed since it was walked.
    fn is_current(&self, folder: &Path) -> bool {
        self.changed_ns.iter().all(|(path, &then)| changed_ns(&folder.join(path)) == Some(then))
    }

    fn newest_change_ns(&self) -> u64 {
        self.changed_ns.values().copied().max().unwrap_or(0)
    }
}

fn changed_ns(folder: &Path) -> Option<u64> {
    let modified = fs::metadata(folder).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64)
}

fn cache_name(root: &Path) -> String {
    let key = root.as_os_str().as_encoded_bytes().iter().fold(Key::root(0), |key, &byte| key.child(u64::from(byte)));
    format!("{:016x}.json", key.rng().next_u64())
}

fn load(file: &Path, root: &Path) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (manifest.version == VERSION && manifest.root == root).then_some(manifest)
}

/// Writes the cache whole or not at all, without classes that may still be changing.
fn store(file: &Path, manifest: &Manifest) -> std::io::Result<()> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut settled = manifest.clone();
    settled.classes.retain(|class| class.newest_change_ns() + SETTLED.as_nanos() as u64 <= now_ns);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = file.with_extension(format!("partial-{}", std::process::id()));
    let bytes = serde_json::to_vec(&settled).map_err(std::io::Error::other)?;
    let written = fs::File::create(&partial)
        .and_then(|mut open| open.write_all(&bytes))
        .and_then(|()| fs::rename(&partial, file));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// A closure for `map_err`: the system refused `action` on `path`.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { action, path, source }
}
