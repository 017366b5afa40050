//! Files that are whole or absent, whenever the machine stops: written beside their place, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Makes `path` hold exactly `bytes`. A reader, also one after a crash, sees the old content or the new one.
///
/// # Errors
/// What the file system says; the old content is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let write = || {
        write_synced(&temporary, bytes)?;
        fs::rename(&temporary, path)?;
        sync_folder(folder_of(path))
    };
    write().inspect_err(|_| {
        // The error of the write is the one to report; a leftover temporary file does no harm.
        let _ = fs::remove_file(&temporary);
    })
}

/// Creates a file with `bytes` and waits until they are on the disk.
///
/// # Errors
/// What the file system says.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the names in a folder are on the disk, as `fsync` of the folder does.
///
/// Some file systems (cifs, WSL's, some FUSE ones) sync no folders and answer EINVAL or ENOTSUP. Files there are as
/// safe as that file system can make them, so this returns `Ok`.
///
/// # Errors
/// What else the file system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if syncs_no_folders(&error) => Ok(()),
        outcome => outcome,
    }
}

fn syncs_no_folders(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    // ENOTSUP and EOPNOTSUPP are one number on Linux.
    matches!(errno, Some(Errno::EINVAL | Errno::EOPNOTSUPP))
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name in the same folder, so that the rename stays within one file system. Hidden, and without the extension that
/// Prometheus' file discovery looks for.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.json");
        for bytes in [b"old".as_slice(), b"", b"a longer text"] {
            replace(&path, bytes).expect("a writable folder");
            assert_eq!(fs::read(&path).expect("the file"), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_content() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.json");
        fs::create_dir(&path).expect("a folder in the way");
        assert!(replace(&path, b"new").is_err());
        assert!(path.is_dir() && fs::read_dir(folder.path()).expect("a folder").count() == 1);
        assert!(replace(&folder.path().join("none/state.json"), b"new").is_err());
    }

    /// Linux's own procfs is one of the file systems that sync no folders.
    #[test]
    fn a_file_system_that_syncs_no_folders_is_no_error() {
        let plain = File::open("/proc/self").expect("Linux").sync_all();
        assert_eq!(plain.expect_err("procfs refuses").raw_os_error(), Some(Errno::EINVAL as i32));
        sync_folder(Path::new("/proc/self")).expect("taken as done");
        sync_folder(&std::env::temp_dir()).expect("a folder that can be synced");
        assert!(sync_folder(Path::new("/no such folder")).is_err());
    }
}
