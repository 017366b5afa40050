//! Where the files of a data set lie: the seam between kinds of data set and kinds of storage.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::source::manifest::io_error;

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
