//! Where the repository is, and which of its files are ours to check.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Hidden folders that hold files of ours; every other hidden one (`.git`, `.libtorch`, an editor's) is somebody else's.
const HIDDEN_BUT_OURS: &[&str] = &[".cargo", ".ci", ".github"];

/// The repository's root: the folder above this crate.
pub fn root() -> PathBuf {
    let this_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    this_crate.parent().expect("xtask lies in a folder of the repository").to_path_buf()
}

/// One text file of the repository.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Relative to the root, with `/` between the parts.
    pub path: String,
    /// The whole content.
    pub text: String,
}

impl TextFile {
    /// A made file, for checks of the checks.
    pub fn new(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether the name ends in `.extension`.
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Every text file under `root`, sorted by path. Left out: what `.gitignore` names from the root on (`/target/`), symlinks,
/// foreign hidden folders, and files that are not UTF-8.
pub fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let ignored: Vec<String> = fs::read_to_string(root.join(".gitignore"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix('/'))
        .map(|line| line.trim_end_matches('/').to_owned())
        .collect();
    let mut files = Vec::new();
    walk(root, "", &ignored, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(root: &Path, folder: &str, ignored: &[String], files: &mut Vec<TextFile>) -> Result<()> {
    let absolute = root.join(folder);
    for entry in fs::read_dir(&absolute).with_context(|| format!("reading the folder {}", absolute.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if ignored.contains(&path) {
            continue;
        }
        if kind.is_dir() {
            if !name.starts_with('.') || HIDDEN_BUT_OURS.contains(&name.as_str()) {
                walk(root, &path, ignored, files)?;
            }
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).with_context(|| format!("reading {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(TextFile { path, text });
            }
        }
    }
    Ok(())
}
