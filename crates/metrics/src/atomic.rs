//! Replaces a file whole or not at all: temporary file beside it, fsync, rename.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::MetricsError;

/// Makes `path` hold exactly `bytes`. A reader, also one after a crash, sees the old content or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), MetricsError> {
    let temporary = beside(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    write().map_err(|source| {
        // The error of the write is the one to report; a leftover temporary file does no harm.
        let _ = fs::remove_file(&temporary);
        MetricsError::File { action: "replace", path: path.to_owned(), source }
    })
}

/// A name in the same folder, so that the rename stays within one file system. Hidden, and without the extension that
/// Prometheus' file discovery looks for.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
