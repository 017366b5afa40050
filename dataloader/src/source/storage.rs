//! Where the files of a data set lie: the seam between kinds of data set and kinds of storage.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::DataError;
use crate::source::manifest::io_error;
use crate::source::paths::{to_path, to_text};

/// The longest file that is taken for an image. The largest image allowed has fewer bytes, even uncompressed.
pub(crate) const MAX_IMAGE_BYTES: u64 = 1 << 30;

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
    /// What bears a file's name but cannot be read as one (a link to nowhere, a FIFO) is listed with 0 bytes; opening it
    /// says what it is.
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

    /// A text that changes whenever the contents of a file do: a time of change, a hash. `None` where there is none that
    /// can be trusted; what is known of the file is then not kept from one run to the next.
    fn version(&self, _path: &str) -> Option<String> {
        None
    }
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

/// Reads a blob from its beginning to its end.
pub(crate) struct Reading<'a> {
    blob: &'a dyn Blob,
    place: u64,
}

impl<'a> Reading<'a> {
    /// Starts at the beginning.
    pub(crate) fn new(blob: &'a dyn Blob) -> Reading<'a> {
        Reading { blob, place: 0 }
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = (self.blob.len() - self.place).min(into.len() as u64) as usize;
        self.blob.read_at(self.place, &mut into[..bytes])?;
        self.place += bytes as u64;
        Ok(bytes)
    }
}

/// A folder of this machine. A name that is not UTF-8 is listed as [`to_text`] writes it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    root: PathBuf,
}

impl Local {
    /// The files below `root`.
    pub(crate) fn new(root: &Path) -> Local {
        Local { root: root.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(to_path(path))
    }
}

impl Storage for Local {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, DataError> {
        let base = self.path(folder);
        let mut entries = Vec::new();
        for entry in walkdir::WalkDir::new(&base).follow_links(true) {
            let (path, bytes) = match entry {
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) => {
                    let bytes = entry.metadata().map_or(0, |found| if found.is_file() { found.len() } else { 0 });
                    (entry.into_path(), bytes)
                }
                Err(error) if error.loop_ancestor().is_some() => continue,
                Err(error) => match leads_nowhere(&error) {
                    Some(link) if error.depth() > 0 => (link.to_owned(), 0),
                    _ => return Err(not_listed(error, &base)),
                },
            };
            let path = path.strip_prefix(&self.root).unwrap_or(&path);
            entries.push(Entry { path: to_text(path.as_os_str()), bytes });
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Blob>> {
        let (file, bytes) = open_file(&self.path(path))?;
        Ok(Box::new(LocalBlob { file, bytes }))
    }

    fn name(&self, path: &str) -> String {
        self.path(path).to_string_lossy().into_owned()
    }

    /// The time of change, unless it is so recent that the file may change again within the clock's tick.
    fn version(&self, path: &str) -> Option<String> {
        const SETTLED: Duration = Duration::from_secs(2);
        let changed = fs::metadata(self.path(path)).ok()?.modified().ok()?;
        let age = SystemTime::now().duration_since(changed).ok()?;
        let changed_ns = changed.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        (age >= SETTLED).then(|| format!("changed at {changed_ns} ns"))
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

/// The link that a walk could not follow: its target is missing, or it leads back to itself.
pub(crate) fn leads_nowhere(error: &walkdir::Error) -> Option<&Path> {
    let io = error.io_error()?;
    let nowhere = io.kind() == io::ErrorKind::NotFound || io.raw_os_error() == Some(libc::ELOOP);
    error.path().filter(|_| nowhere)
}

/// The error of a walk that began at `base`, and names the folder that cannot be listed.
pub(crate) fn not_listed(error: walkdir::Error, base: &Path) -> DataError {
    let path = error.path().unwrap_or(base).to_owned();
    io_error("list", &path)(error.into_io_error().unwrap_or_else(|| io::Error::other("the folders form a circle")))
}

/// Opens a file and tells its length, without waiting for whatever else may bear its name: to open a FIFO plainly is to
/// wait for its writer.
///
/// # Errors
/// When it cannot be opened, or is not a file.
pub(crate) fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let found = file.metadata()?;
    if found.is_file() {
        return Ok((file, found.len()));
    }
    let problem = format!("it is {}, not a file", kind(found.file_type()));
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

fn kind(found: FileType) -> &'static str {
    match found {
        _ if found.is_dir() => "a folder",
        _ if found.is_fifo() => "a FIFO",
        _ if found.is_socket() => "a socket",
        _ => "a device",
    }
}

/// Replaces the contents of `into` with those of a file of this machine.
///
/// # Errors
/// When it cannot be read, is not a file, or is too long for an image.
pub(crate) fn read_image_file(path: &Path, into: &mut Vec<u8>) -> io::Result<()> {
    let (mut file, bytes) = open_file(path)?;
    check_length(bytes)?;
    into.clear();
    file.read_to_end(into).map(drop)
}

/// Replaces the contents of `into` with `bytes` bytes of a blob, an image.
///
/// # Errors
/// When they cannot be read, or are too many for an image.
pub(crate) fn read_image(blob: &dyn Blob, offset: u64, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
    check_length(bytes)?;
    into.resize(bytes as usize, 0);
    blob.read_at(offset, into)
}

fn check_length(bytes: u64) -> io::Result<()> {
    if bytes <= MAX_IMAGE_BYTES {
        return Ok(());
    }
    let problem = format!("it has {bytes} bytes; at most {MAX_IMAGE_BYTES} are taken for an image");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_nowhere_are_listed_and_circles_end() {
        let scratch = tempfile::tempdir().expect("scratch");
        let root = scratch.path();
        fs::create_dir(root.join("deep")).expect("created");
        fs::write(root.join("deep/file"), b"abc").expect("written");
        symlink("nowhere", root.join("dangling")).expect("linked");
        symlink("itself", root.join("itself")).expect("linked");
        symlink(root, root.join("deep/circle")).expect("linked");
        let storage = Local::new(root);
        let entry = |path: &str, bytes| Entry { path: path.to_owned(), bytes };
        let expected = [entry("dangling", 0), entry("deep/file", 3), entry("itself", 0)];
        assert_eq!(storage.list("").expect("listed"), expected);
        assert_eq!(storage.open("dangling").expect_err("nowhere").kind(), io::ErrorKind::NotFound);
        assert!(storage.list("missing").expect_err("missing").to_string().contains("missing"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let scratch = tempfile::tempdir().expect("scratch");
        let fifo = scratch.path().join("fifo.jpg");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert_eq!(open_file(&fifo).expect_err("a FIFO").to_string(), "it is a FIFO, not a file");
        assert!(open_file(scratch.path()).expect_err("a folder").to_string().contains("a folder"));
        assert!(open_file(Path::new("/dev/null")).expect_err("a device").to_string().contains("a device"));
    }

    #[test]
    fn a_file_too_long_for_an_image_is_not_read() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("sparse.jpg");
        File::create(&path).and_then(|file| file.set_len(MAX_IMAGE_BYTES + 1)).expect("made");
        let mut bytes = Vec::new();
        assert!(read_image_file(&path, &mut bytes).expect_err("too long").to_string().contains("bytes; at most"));
        assert_eq!(bytes.capacity(), 0);
    }

    #[test]
    fn a_file_that_has_just_changed_has_no_version() {
        let scratch = tempfile::tempdir().expect("scratch");
        let file = File::create(scratch.path().join("a.tar")).expect("made");
        let storage = Local::new(scratch.path());
        assert_eq!(storage.version("a.tar"), None);
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("changed");
        let before = storage.version("a.tar");
        file.set_modified(SystemTime::now() - Duration::from_secs(30)).expect("changed");
        assert!(before.is_some() && before != storage.version("a.tar"));
    }
}
