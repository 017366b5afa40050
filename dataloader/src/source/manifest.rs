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
use crate::source::paths::{to_path, to_text};
use crate::source::storage::{Entry, leads_nowhere, not_listed, user_cache};

/// What is read as an image; the contents decide the format.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
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

/// Where manifests are kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Splits with fewer files are walked every time: that takes milliseconds.
    from_files: usize,
}

impl Cache {
    /// `$XDG_CACHE_HOME/rectify/manifests`, or the same under `~/.cache`; `None` where neither is set.
    ///
    /// Never the data folder, which may be read-only or shared.
    pub(crate) fn of_user() -> Option<Cache> {
        const FROM_FILES: usize = 4096;
        Some(Cache { folder: user_cache()?.join("manifests"), from_files: FROM_FILES })
    }

    fn file(&self, root: &Path) -> PathBuf {
        self.file_of(root.as_os_str().as_encoded_bytes(), "json")
    }

    /// The file in which is kept what is known of the data of this name.
    pub(crate) fn file_of(&self, name: &[u8], extension: &str) -> PathBuf {
        let key = name.iter().fold(Key::root(0), |key, &byte| key.child(u64::from(byte)));
        self.folder.join(format!("{:016x}.{extension}", key.rng().next_u64()))
    }

    /// Whether a list of so many images is worth being kept.
    pub(crate) fn keeps(&self, images: usize) -> bool {
        images >= self.from_files
    }

    /// A cache in a folder of the caller's, for tests.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path, from_files: usize) -> Cache {
        Cache { folder: folder.to_owned(), from_files }
    }
}

/// The images under `root`, one class a folder; from the cache where nothing has changed.
///
/// A class is walked again when the set of its folders or the time of change of any of them differs from the cached one,
/// which every added, removed or renamed file brings about. A cache that cannot be read or written is done without.
///
/// # Errors
/// When a folder cannot be listed.
pub(crate) fn list(root: &Path, cache: Option<&Cache>) -> Result<Manifest, DataError> {
    let root = fs::canonicalize(root).map_err(io_error("open", root))?;
    let cached = cache.and_then(|cache| load(&cache.file(&root), &root));
    let mut known: BTreeMap<String, Class> =
        cached.iter().flat_map(|manifest| &manifest.classes).map(|class| (class.name.clone(), class.clone())).collect();
    let mut classes = Vec::new();
    for name in class_names(&root)? {
        let folder = root.join(to_path(&name));
        match known.remove(&name).filter(|class| class.is_current(&folder)) {
            Some(class) => classes.push(class),
            None => classes.push(walk(&folder, name)?),
        }
    }
    let manifest = Manifest { version: VERSION, root, classes };
    let files: usize = manifest.classes.iter().map(|class| class.files.len()).sum();
    if let Some(cache) = cache
        && cache.keeps(files)
        && cached.as_ref() != Some(&manifest)
    {
        let file = cache.file(&manifest.root);
        if let Err(error) = store(&file, &manifest) {
            tracing::debug!("cannot cache the list of images in {}: {error}", file.display());
        }
    }
    Ok(manifest)
}

impl Manifest {
    /// The images among `entries`, which are below `folder` of a storage, sorted, and not the files of this machine.
    ///
    /// A class is what a folder of a split would be: the first part of a path. Hidden files and folders are left out.
    pub(crate) fn of_entries(folder: &str, entries: &[Entry]) -> Manifest {
        let mut classes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for entry in entries {
            let path = entry.path.strip_prefix(folder).unwrap_or(&entry.path).trim_start_matches('/');
            if let Some((class, file)) = path.split_once('/')
                && is_image(Path::new(file))
                && !path.split('/').any(|part| part.starts_with('.'))
            {
                classes.entry(class).or_default().push(file.to_owned());
            }
        }
        let classes = classes.into_iter().map(|(name, mut files)| {
            files.sort_unstable();
            Class { name: name.to_owned(), files, changed_ns: BTreeMap::new() }
        });
        Manifest { version: VERSION, root: folder.into(), classes: classes.collect() }
    }
}

/// The names of the folders in `root`, sorted as torchvision sorts them; hidden ones are left out.
fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(io_error("list", root))? {
        let entry = entry.map_err(io_error("list", root))?;
        let name = to_text(&entry.file_name());
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
            Err(error) if leads_nowhere(&error).is_some() => continue,
            Err(error) => return Err(not_listed(error, folder)),
        };
        let path = to_text(entry.path().strip_prefix(folder).unwrap_or(entry.path()).as_os_str());
        if entry.file_type().is_dir() {
            class.changed_ns.insert(path, changed_ns(entry.path()).unwrap_or(0));
        } else if is_image(entry.path()) {
            class.files.push(path);
        }
    }
    class.files.sort_unstable();
    Ok(class)
}

pub(crate) fn is_image(path: &Path) -> bool {
    is_image_extension(path.extension().and_then(|extension| extension.to_str()).unwrap_or_default())
}

/// True for the endings of names that are read as images, in any case.
pub(crate) fn is_image_extension(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

impl Class {
    /// True where no folder of the class has changed since it was walked.
    fn is_current(&self, folder: &Path) -> bool {
        self.changed_ns.iter().all(|(path, &then)| changed_ns(&folder.join(to_path(path))) == Some(then))
    }

    fn newest_change_ns(&self) -> u64 {
        self.changed_ns.values().copied().max().unwrap_or(0)
    }
}

fn changed_ns(folder: &Path) -> Option<u64> {
    let modified = fs::metadata(folder).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64)
}

fn load(file: &Path, root: &Path) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (manifest.version == VERSION && manifest.root == root).then_some(manifest)
}

/// Writes the cache without classes that may still be changing.
fn store(file: &Path, manifest: &Manifest) -> std::io::Result<()> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut settled = manifest.clone();
    settled.classes.retain(|class| class.newest_change_ns() + SETTLED.as_nanos() as u64 <= now_ns);
    write_whole(file, &serde_json::to_vec(&settled).map_err(std::io::Error::other)?)
}

/// Writes a file of the cache whole or not at all.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = file.with_extension(format!("partial-{}", std::process::id()));
    let written =
        fs::File::create(&partial).and_then(|mut open| open.write_all(bytes)).and_then(|()| fs::rename(&partial, file));
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const FILES: usize = 6;

    /// A split of two classes, last changed well in the past, and a cache for it.
    fn split() -> (tempfile::TempDir, Cache) {
        let scratch = tempfile::tempdir().expect("scratch");
        let root = scratch.path().join("train");
        for class in ["a", "b"] {
            fs::create_dir_all(root.join(class).join("deeper")).expect("created");
            for index in 0..FILES / 2 {
                File::create(root.join(class).join(format!("{index}.jpg"))).expect("created");
            }
        }
        for folder in ["a", "b", "a/deeper", "b/deeper"] {
            set_changed(&root.join(folder), Duration::from_secs(3600));
        }
        let cache = Cache { folder: scratch.path().join("cache"), from_files: FILES };
        (scratch, cache)
    }

    fn root(scratch: &tempfile::TempDir) -> PathBuf {
        fs::canonicalize(scratch.path().join("train")).expect("there")
    }

    fn set_changed(folder: &Path, ago: Duration) {
        File::open(folder).and_then(|open| open.set_modified(SystemTime::now() - ago)).expect("changed");
    }

    /// Puts a file into the cached list of class `b` that is not on disk, so that use of the cache shows.
    fn mark(file: &Path) {
        let text = fs::read_to_string(file).expect("a cache");
        let (before, after) = text.split_at(text.rfind("\"0.jpg\"").expect("the first file of b"));
        fs::write(file, format!("{before}\"marked.jpg\",{after}")).expect("marked");
    }

    fn is_marked(manifest: &Manifest) -> bool {
        manifest.classes[1].files.iter().any(|file| file == "marked.jpg")
    }

    #[test]
    fn the_cache_is_used_until_a_folder_changes() {
        let (scratch, cache) = split();
        let root = root(&scratch);
        let fresh = list(&root, Some(&cache)).expect("listed");
        assert_eq!(fresh, list(&root, None).expect("listed"));
        mark(&cache.file(&root));
        assert!(is_marked(&list(&root, Some(&cache)).expect("listed")), "the cache was not used");

        File::create(root.join("b/deeper/new.jpg")).expect("created");
        let changed = list(&root, Some(&cache)).expect("listed");
        assert!(!is_marked(&changed) && changed.classes[1].files.contains(&"deeper/new.jpg".to_owned()));
        assert_eq!(changed.classes[0], fresh.classes[0]);
    }

    #[test]
    fn added_and_removed_classes_are_noticed() {
        let (scratch, cache) = split();
        let root = root(&scratch);
        list(&root, Some(&cache)).expect("listed");
        fs::rename(root.join("a"), root.join("c")).expect("renamed");
        let manifest = list(&root, Some(&cache)).expect("listed");
        assert!(manifest.classes.iter().map(|class| class.name.as_str()).eq(["b", "c"]));
    }

    /// A file may come within the same tick of the clock as the walk: a folder that has just changed is not cached.
    #[test]
    fn a_folder_that_has_just_changed_is_walked_again() {
        let (scratch, cache) = split();
        let root = root(&scratch);
        set_changed(&root.join("a"), Duration::ZERO);
        list(&root, Some(&cache)).expect("listed");
        let cached = load(&cache.file(&root), &root).expect("a cache");
        assert!(cached.classes.iter().map(|class| class.name.as_str()).eq(["b"]));
    }

    #[test]
    fn small_splits_are_not_cached() {
        let (scratch, cache) = split();
        let root = root(&scratch);
        let cache = Cache { from_files: FILES + 1, ..cache };
        list(&root, Some(&cache)).expect("listed");
        assert!(!cache.folder.exists());
    }

    #[test]
    fn a_damaged_or_forbidden_cache_is_done_without() {
        let (scratch, cache) = split();
        let root = root(&scratch);
        let fresh = list(&root, Some(&cache)).expect("listed");
        fs::write(cache.file(&root), "{ half a manif").expect("written");
        assert_eq!(list(&root, Some(&cache)).expect("listed"), fresh);
        let forbidden = Cache { folder: root.join("a/0.jpg"), from_files: 0 };
        assert_eq!(list(&root, Some(&forbidden)).expect("listed"), fresh);
    }

    #[test]
    fn links_in_a_circle_end() {
        let root = tempfile::tempdir().expect("scratch");
        fs::create_dir(root.path().join("a")).expect("created");
        File::create(root.path().join("a/1.jpg")).expect("created");
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("a/again")).expect("linked");
        assert_eq!(list(root.path(), None).expect("listed").classes[0].files, ["1.jpg"]);
    }
}
