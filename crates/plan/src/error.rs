//! What can be wrong with a config, said with place, key, what was expected, what was found, and what was perhaps meant.

use std::fmt;
use std::path::PathBuf;

/// Why a config is refused. A program that gets one ends with exit code 2, before any training process starts.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: this is not TOML: {message}")]
    Syntax {
        /// The file and the line.
        place: Box<Place>,
        /// What the parser says.
        message: String,
    },
    /// A `--set` has no key or no value, or reaches below a plain value.
    #[error("--set {set}: {reason}; write --set section.key=value")]
    Set {
        /// The text after `--set`.
        set: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such key or section.
    #[error("{place}: unknown key `{key}`{hint}", hint = hint(.nearest, .known))]
    UnknownKey {
        /// Where it stands.
        place: Box<Place>,
        /// The whole key, such as `data.pth`.
        key: String,
        /// Whole keys that look like it, best first.
        nearest: Vec<String>,
        /// All whole keys of that section.
        known: Vec<String>,
    },
    /// A key that has no default is absent.
    #[error("{place}: `{key}` is missing; it must be {expected}")]
    MissingKey {
        /// The file.
        place: Box<Place>,
        /// The whole key.
        key: String,
        /// What it takes.
        expected: String,
    },
    /// A value has the wrong type, is out of its range, is an unknown name, or does not fit the other values.
    #[error("{place}: `{key}` must be {expected}; found {found}{hint}", hint = hint(.nearest, &[]))]
    Value {
        /// Where it stands.
        place: Box<Place>,
        /// The whole key.
        key: String,
        /// What it takes.
        expected: String,
        /// What it holds.
        found: String,
        /// Names that look like the one found, best first.
        nearest: Vec<String>,
    },
}

/// Where a value of a config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An override on the command line.
    Set {
        /// The text after `--set`.
        set: String,
    },
    /// Nobody set it: it has its default, or is missing.
    Unset {
        /// The file where it could be set; empty for a config that was not read from a file.
        path: PathBuf,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{}:{line}", path.display()),
            Place::Set { set } => write!(f, "--set {set}"),
            Place::Unset { path } if path.as_os_str().is_empty() => f.write_str("config"),
            Place::Unset { path } => write!(f, "{}", path.display()),
        }
    }
}

/// Up to three of `names` that look like `name`, best first.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|candidate| {
            let edits = strsim::normalized_damerau_levenshtein(name, candidate);
            let contained = name.len() > 2 && (candidate.contains(name) || name.contains(candidate));
            (if contained { edits.max(0.75) } else { edits }, candidate)
        })
        .filter(|&(likeness, _)| likeness >= 0.6)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.dedup_by_key(|(_, candidate)| *candidate);
    near.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

fn hint(nearest: &[String], known: &[String]) -> String {
    let list = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    match (nearest, known) {
        ([], []) => String::new(),
        ([], known) => format!("; there are {}", list(known).join(", ")),
        (nearest, _) => format!("; did you mean {}?", list(nearest).join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let names = ["path", "source", "train_dir", "val_dir"];
        assert_eq!(nearest("pth", names), ["path"]);
        assert_eq!(nearest("train", names), ["train_dir"]);
        assert_eq!(nearest("xyzzy", names), Vec::<String>::new());
    }
}
