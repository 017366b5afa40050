//! The names of classes that no folder gives: a list `classes.txt`, or numbers.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use crate::DataError;
use crate::source::storage::{Reading, Storage};

/// Labels from here on are taken for a mistake.
pub(crate) const MAX_CLASSES: usize = 1_000_000;
/// Beside the data.
const LIST: &str = "classes.txt";
const MAX_LIST_BYTES: u64 = 256 << 20;

/// The names in `classes.txt`, one a line, label 0 first; `None` where there is no such file.
///
/// # Errors
/// When the file cannot be read, has an empty line or a name twice, or too many names.
pub(crate) fn listed(storage: &dyn Storage) -> Result<Option<Arc<[String]>>, DataError> {
    let Some(text) = read_text(storage, LIST)? else { return Ok(None) };
    let bad = |line, problem: String| DataError::BadLine { path: storage.name(LIST).into(), line, problem };
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for (line, name) in (1..).zip(text.trim_end().lines().map(str::trim)) {
        if name.is_empty() {
            return Err(bad(line, "empty; write one class a line, label 0 first".to_owned()));
        }
        if !seen.insert(name) {
            return Err(bad(line, format!("class {name:?} is there twice")));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Err(bad(1, format!("{} classes; there must be 1 to {MAX_CLASSES}", names.len())));
    }
    Ok(Some(names.into()))
}

/// Classes called by their numbers, for labels up to `max_label`.
pub(crate) fn numbered(max_label: u32) -> Arc<[String]> {
    (0..=max_label).map(|label| label.to_string()).collect()
}

/// The text of a small file of the storage; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or is not text.
pub(crate) fn read_text(storage: &dyn Storage, path: &str) -> Result<Option<String>, DataError> {
    let mut text = String::new();
    let read =
        storage.open(path).and_then(|blob| Reading::new(blob.as_ref()).take(MAX_LIST_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Io { action: "read", path: storage.name(path).into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::storage::Local;

    #[test]
    fn a_list_of_classes_is_one_name_a_line() {
        let scratch = tempfile::tempdir().expect("scratch");
        let storage = Local::new(scratch.path());
        let of = |text: &[u8]| {
            fs::write(scratch.path().join(LIST), text).expect("written");
            listed(&storage).map(|names| names.expect("there is a list").to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(listed(&storage).expect("none"), None);
        assert_eq!(of(b"tabby cat\r\n dog \n\n"), Ok(vec!["tabby cat".to_owned(), "dog".to_owned()]));
        for (text, said) in [(&b"a\n\nb\n"[..], "line 2: empty"), (b"a\nb\na\n", "line 3: class \"a\" is there twice")]
        {
            assert!(of(text).expect_err("wrong").contains(said));
        }
        assert!(of(b"").expect_err("empty").contains("0 classes"));
        assert!(of(b"caf\xE9\n").expect_err("no text").contains("classes.txt"));
    }
}
