//! House rules that no compiler checks, over every file of the repository.

mod configs;
mod houses;
mod markdown;
mod paths;
mod rust;

use crate::Fault;
use crate::repository::{TextFile, text_files};
use anyhow::Result;
use std::path::Path;

/// Every broken rule in the repository at `root`.
pub fn check(root: &Path) -> Result<Vec<Fault>> {
    let files = text_files(root)?;
    let mut faults = check_files(&files);
    faults.extend(markdown::check(&files, &|path| root.join(path).exists()));
    Ok(faults)
}

/// The rules that need no more than the files' text.
fn check_files(files: &[TextFile]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files {
        faults.extend(rust::check(file));
        faults.extend(paths::check(file));
        faults.extend(configs::check(file));
        faults.extend(houses::check(file, crate::layers::CRATES));
    }
    faults
}
