//! Images of which nobody needs to know what they show: for looking at a network, not for scoring it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::evaluation::split;
use crate::source::files::{Files, Paths};
use crate::source::folder::{ImageFolder, check_folder};
use crate::source::imagenet::flat_images;
use crate::source::manifest::{Cache, is_image};
use crate::source::storage::Local;
use crate::source::subset::Subset;
use crate::source::{FIXED_SEED, SourceKind};
use crate::{DataError, DatasetSpec, Source, open};

/// The images of a folder: those that lie in it side by side; where there are none, those of its folders, whatever these are called; of
/// a whole data set the validation split. Labels mean nothing.
///
/// # Errors
/// When the folder is missing or holds no images.
pub fn unlabelled(folder: &Path) -> Result<Box<dyn Source>, DataError> {
    check_folder(folder)?;
    if SourceKind::detect(folder) == SourceKind::Shards {
        return Ok(open(&DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(folder) })?.validation);
    }
    let folder = split(folder);
    let entries =
        fs::read_dir(&folder).map_err(|source| DataError::Io { action: "list", path: folder.clone(), source })?;
    let entries: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    if entries.iter().any(|path| is_image(path) && path.is_file()) {
        let storage = Arc::new(Local::new(&folder));
        let mut paths = Paths::default();
        flat_images(&*storage, "")?.iter().for_each(|path| paths.push(path));
        let count = paths.len();
        return Ok(Box::new(Files::new(storage, paths, vec![0; count], Arc::from([String::new()]))));
    }
    if entries.iter().any(|path| path.is_dir()) {
        return Ok(Box::new(ImageFolder::open(&folder, Cache::of_user().as_ref())?));
    }
    Err(DataError::NoSamples { path: folder, expected: "expected images, or folders of them" })
}

/// At most `most` samples of a source: the first of a shuffle that never changes.
pub fn at_most(source: Box<dyn Source>, most: usize) -> Box<dyn Source> {
    if most >= source.len() {
        return source;
    }
    Box::new(Subset::new(source, "images", most, FIXED_SEED).expect("there are as many"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"an image").unwrap();
        }
        folder
    }

    #[test]
    fn folders_of_any_name_flat_images_and_whole_data_sets_are_found() {
        for (paths, found) in [
            (&["a/1.jpg", "b/2.JPEG", "b/3.png"][..], 3),
            (&["1.jpg", "2.jpg", "list.txt", ".thumbnails/1.png"], 2),
            (&["train/a/1.jpg", "train/a/2.jpg", "val/a/1.jpg"], 1),
        ] {
            let folder = files(paths);
            assert_eq!(unlabelled(folder.path()).unwrap().len(), found, "{paths:?}");
        }
        let empty = files(&["list.txt"]);
        let error = unlabelled(empty.path()).err().unwrap().to_string();
        assert!(error.contains("expected images, or folders of them"), "{error}");
        let missing = unlabelled(&empty.path().join("imags")).err().unwrap().to_string();
        assert!(missing.contains("imags"), "{missing}");
    }

    #[test]
    fn some_are_the_same_some_every_time() {
        let paths: Vec<String> = (0..40).map(|number| format!("{number:02}.jpg")).collect();
        let folder = files(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let some = |most| {
            let source = at_most(unlabelled(folder.path()).unwrap(), most);
            (0..source.len()).map(|index| source.name(index).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(some(7), some(7));
        assert_eq!(some(7).len(), 7);
        assert_eq!(some(99).len(), 40);
    }
}
