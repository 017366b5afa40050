//! Where the files of a data set lie: the seam between kinds of data set and kinds of storage.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::DataError;
use crate::source::manifest::io_error;

/// How storage behind a URL is reached and what is kept of it; folders of this machine ask for none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageOptions {
    /// Where blocks and lists of objects are kept; `None` is `rectify/remote` in the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// How many bytes of blocks are kept there at most, by all processes together; 0 keeps nothing, lists included.
    pub cache_bytes: u64,
    /// How long one try of a request may take, from its start to the last byte.
    pub timeout: Duration,
    /// How many more times a request is tried.
    pub retries: usize,
    /// The pause before the second try, give or take a half; it doubles with each try.
    pub backoff: Duration,
    /// For how long a list of objects is trusted; zero lists anew each time.
    pub listing_valid: Duration,
    /// Settings of the storage by the names of their variables (`AWS_ENDPOINT_URL`, …); they win over the environment's.
    pub settings: BTreeMap<String, String>,
}

impl Default for StorageOptions {
    fn default() -> StorageOptions {
        StorageOptions {
            cache_dir: None,
            cache_bytes: 20 << 30,
            timeout: Duration::from_secs(30),
            retries: 4,
            backoff: Duration::from_millis(200),
            listing_valid: Duration::from_secs(24 * 3600),
            settings: BTreeMap::new(),
        }
    }
}

impl StorageOptions {
    /// Where things are kept; `None` where no folder is named and the user has none.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        self.cache_dir.clone().or_else(|| Some(user_cache()?.join("remote")))
    }
}

/// `$XDG_CACHE_HOME/rectify`, or the same under `~/.cache`; `None` where neither is set.
pub(crate) fn user_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("rectify"))
}

/// The storage at `place`: a folder of this machine, or a URL (`s3://bucket/prefix`, `gs://…`, `az://…`, `https://…`).
///
/// Looks at nothing yet.
///
/// # Errors
/// When a URL is of no known kind, or the settings of its kind are incomplete.
pub(crate) fn at(place: &Path, options: &StorageOptions) -> Result<Arc<dyn Storage>, DataError> {
    match url(place) {
        None => Ok(Arc::new(Local::new(place))),
        Some(url) => match url.strip_prefix("file://") {
            Some(folder) => Ok(Arc::new(Local::new(Path::new(folder)))),
            None => remote(url, options),
        },
    }
}

#[cfg(feature = "remote")]
fn remote(url: &str, options: &StorageOptions) -> Result<Arc<dyn Storage>, DataError> {
    Ok(Arc::new(crate::source::remote::Remote::new(url, options)?))
}

#[cfg(not(feature = "remote"))]
fn remote(url: &str, _: &StorageOptions) -> Result<Arc<dyn Storage>, DataError> {
    let problem = "this program was built without the cargo feature `remote`".to_owned();
    Err(DataError::Url { url: url.to_owned(), problem })
}

/// `place` where it is a URL: a scheme, `://` and more.
pub(crate) fn url(place: &Path) -> Option<&str> {
    let text = place.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let known = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    known.then_some(text)
}

/// A tree of files that can be listed and read at any place. Paths are relative to its root, with `/` between parts.
pub(crate) trait Storage: Send + Sync + Debug {
    /// All files below `folder` (the root where it is empty), sorted by path.
    ///
    /// # Errors
    /// When the folder is missing or cannot be listed.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, DataError>;

    /// Opens a file.
    ///
    /// # Errors
    /// When it is missing or cannot be opened; the kind of the error says which.
    fn open(&self, path: &str) -> io::Result<Box<dyn Blob>>;

    /// What a person calls a file of this storage: its whole path or address.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    fn name(&self, path: &str) -> String;
}

/// One file as [`Storage::list`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the root of the storage.
    pub(crate) path: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// An open file, read at any place by several threads at once.
pub(crate) trait Blob: Send + Sync + Debug {
    /// Its length in bytes when it was opened.
    fn len(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; whatever else the storage says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    root: PathBuf,
}

impl Local {
    /// The files below `root`.
    pub(crate) fn new(root: &Path) -> Local {
        Local { root: root.to_owned() }
    }
}

impl Storage for Local {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, DataError> {
        let base = self.root.join(folder);
        let mut entries = Vec::new();
        for entry in walkdir::WalkDir::new(&base).follow_links(true) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => continue,
                Err(error) => {
                    let path = error.path().unwrap_or(&base).to_owned();
                    return Err(io_error("list", &path)(error.into()));
                }
            };
            if !entry.file_type().is_file() {
                continue;
            }
            let bytes = entry.metadata().map_err(|error| io_error("look at", entry.path())(error.into()))?.len();
            let path = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            entries.push(Entry { path: path.to_string_lossy().into_owned(), bytes });
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Blob>> {
        let file = File::open(self.root.join(path))?;
        let bytes = file.metadata()?.len();
        Ok(Box::new(LocalBlob { file, bytes }))
    }

    fn name(&self, path: &str) -> String {
        self.root.join(path).to_string_lossy().into_owned()
    }
}

#[derive(Debug)]
struct LocalBlob {
    file: File,
    bytes: u64,
}

impl Blob for LocalBlob {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}
