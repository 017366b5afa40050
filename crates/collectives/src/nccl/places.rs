//! Where NCCL is looked for, in which order, and what to say when it is in none of these places.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::CommError;

/// Names the library itself, and ends the search.
pub(super) const VARIABLE: &str = "RECTIFY_NCCL_LIBRARY";
const FILE: &str = "libnccl.so.2";

/// The copy that this process has loaded already, which libtorch's CUDA half does: NCCL twice in a process would be two
/// libraries of perhaps two versions.
pub(super) fn loaded() -> Option<Library> {
    // SAFETY: nothing is loaded: the system's loader compares the name with those of the libraries that are.
    unsafe { Library::open(Some(FILE), RTLD_NOW | RTLD_LOCAL | libc::RTLD_NOLOAD) }.ok()
}

/// What to try, in order: the file that the variable names and nothing else; or the file in the caller's folders and in those
/// of `search` (LD_LIBRARY_PATH), then its bare name, which the system's loader looks up.
pub(super) fn candidates(named: Option<&OsStr>, folders: &[PathBuf], search: Option<&OsStr>) -> Vec<PathBuf> {
    if let Some(path) = named.filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let search = search.map(|paths| std::env::split_paths(paths).collect::<Vec<_>>()).unwrap_or_default();
    let folders = folders.iter().chain(&search).filter(|folder| !folder.as_os_str().is_empty());
    folders.map(|folder| folder.join(FILE)).chain([FILE.into()]).collect()
}

/// The first candidate that is there and can be loaded.
pub(super) fn open(candidates: &[PathBuf]) -> Result<Library, CommError> {
    let mut tried = Vec::new();
    for path in candidates {
        match load(path) {
            Ok(library) => return Ok(library),
            Err(reason) => tried.push(format!("{} ({reason})", path.display())),
        }
    }
    Err(refused(format!(
        "NCCL was not found. Looked for: {}. Run `make setup` on a machine with a GPU, which installs it beside libtorch, or set \
         {VARIABLE} to the path of {FILE}",
        tried.join(", ")
    )))
}

/// Loads a library by path, or by name through the system's loader.
pub(super) fn load(path: &Path) -> Result<Library, String> {
    let is_name = path.parent().is_none_or(|folder| folder.as_os_str().is_empty());
    if !is_name && !path.exists() {
        return Err("no such file".into());
    }
    // SAFETY: the initialisers of NVIDIA's libraries ask nothing of who loads them.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let text = error.to_string();
        if is_name && text.contains("No such file") { "not among the system's libraries".into() } else { text }
    })
}

/// An error that trying again does not mend.
pub(super) fn refused(reason: String) -> CommError {
    CommError::Connect { reason, transient: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheel_comes_before_the_search_path_and_the_system_last() {
        let folders = [PathBuf::from("wheel/nccl/lib")];
        let paths = candidates(None, &folders, Some(OsStr::new("one::two")));
        let expected = ["wheel/nccl/lib/libnccl.so.2", "one/libnccl.so.2", "two/libnccl.so.2", "libnccl.so.2"];
        assert_eq!(paths, expected.map(PathBuf::from));
        assert_eq!(candidates(Some(OsStr::new("")), &[], None), [PathBuf::from("libnccl.so.2")]);
    }

    #[test]
    fn a_library_that_is_named_is_the_only_one() {
        let folders = [PathBuf::from("wheel")];
        assert_eq!(candidates(Some(OsStr::new("mine.so")), &folders, None), [PathBuf::from("mine.so")]);
    }

    #[test]
    fn every_place_is_in_the_error() {
        let candidates = ["nowhere/libnccl.so.2".into(), "libno-such-library.so.2".into()];
        let error = open(&candidates).expect_err("there is none").to_string();
        for part in
            ["nowhere/libnccl.so.2 (no such file)", "libno-such-library.so.2 (not among", "make setup", VARIABLE]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
