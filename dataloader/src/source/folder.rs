//! A folder of folders of images, one a class, as torchvision's `ImageFolder` reads it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::manifest::{self, Cache, Manifest, io_error};
use crate::source::paths::{shown, to_path};
use crate::source::storage::{self, Storage, read_image, read_image_file};
use crate::{DataError, Dataset, DatasetSpec, Encoding, ReadError, Source, Wants};

thread_local! {
    /// The path of the file that a reader opens, in memory that it keeps.
    static PATH: RefCell<PathBuf> = RefCell::default();
}

/// One split of a data set of folders.
pub(crate) struct ImageFolder {
    root: PathBuf,
    files: Files,
    classes: Vec<String>,
    /// Paths relative to `root` as text, one behind the other; sample `i` ends at `ends[i]`.
    paths: String,
    ends: Vec<usize>,
    labels: Vec<u32>,
}

/// How the files of a split are read.
enum Files {
    /// By their paths on this machine.
    OfThisMachine,
    /// Out of a storage, in which the split has this path.
    Stored { storage: Arc<dyn Storage>, split: String },
}

/// Opens both splits, whose classes must be the same.
pub(crate) fn open(spec: &DatasetSpec) -> Result<Dataset, DataError> {
    let DatasetSpec { path, train_dir, val_dir, .. } = spec;
    let (train, validation) = if storage::url(path).is_some() {
        let storage = storage::at(path, &spec.storage)?;
        (ImageFolder::stored(path, train_dir, &storage)?, ImageFolder::stored(path, val_dir, &storage)?)
    } else {
        check_folder(path)?;
        let cache = Cache::of_user();
        let open = |split| ImageFolder::open(&path.join(split), cache.as_ref());
        (open(train_dir)?, open(val_dir)?)
    };
    check_same_classes((&train.root, &train.classes), (&validation.root, &validation.classes))?;
    Ok(Dataset { train: Box::new(train), validation: Box::new(validation) })
}

/// Refuses splits of different classes; each is given by where it lies and by its classes.
pub(crate) fn check_same_classes(
    (train, in_train): (&Path, &[String]),
    (validation, in_validation): (&Path, &[String]),
) -> Result<(), DataError> {
    if in_train == in_validation {
        return Ok(());
    }
    let only = |here: &[String], there: &[String]| {
        let there: BTreeSet<&String> = there.iter().collect();
        here.iter().filter(|class| !there.contains(class)).cloned().collect()
    };
    Err(DataError::ClassesDiffer {
        train: train.to_owned(),
        validation: validation.to_owned(),
        only_train: only(in_train, in_validation),
        only_validation: only(in_validation, in_train),
    })
}

impl ImageFolder {
    /// Lists the images of one split, with the help of a cache where one is named.
    pub(crate) fn open(root: &Path, cache: Option<&Cache>) -> Result<ImageFolder, DataError> {
        check_folder(root)?;
        ImageFolder::from_manifest(root, Files::OfThisMachine, manifest::list(root, cache)?)
    }

    /// Lists the images of one split of a storage.
    fn stored(root: &Path, split: &Path, storage: &Arc<dyn Storage>) -> Result<ImageFolder, DataError> {
        let folder = split.to_string_lossy().trim_matches('/').to_owned();
        let manifest = Manifest::of_entries(&folder, &storage.list(&folder)?);
        let files = Files::Stored { storage: Arc::clone(storage), split: folder };
        ImageFolder::from_manifest(&root.join(split), files, manifest)
    }

    fn from_manifest(root: &Path, files: Files, manifest: Manifest) -> Result<ImageFolder, DataError> {
        if manifest.classes.is_empty() {
            return Err(DataError::NoClasses { path: root.to_owned() });
        }
        let empty = manifest.classes.iter().filter(|class| class.files.is_empty());
        let classes: Vec<String> = empty.map(|class| shown(&class.name)).collect();
        if !classes.is_empty() {
            return Err(DataError::EmptyClass { path: root.to_owned(), classes });
        }
        let mut folder = ImageFolder {
            root: root.to_owned(),
            files,
            classes: Vec::new(),
            paths: String::new(),
            ends: Vec::new(),
            labels: Vec::new(),
        };
        for (label, class) in manifest.classes.into_iter().enumerate() {
            for file in &class.files {
                folder.paths.push_str(&class.name);
                folder.paths.push('/');
                folder.paths.push_str(file);
                folder.ends.push(folder.paths.len());
                folder.labels.push(label as u32);
            }
            folder.classes.push(shown(&class.name));
        }
        Ok(folder)
    }

    fn relative(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.paths[start..self.ends[index]]
    }

    /// Hands the path of a sample to `read`, in memory that each thread keeps.
    fn at_path<R>(&self, index: usize, read: impl FnOnce(&Path) -> R) -> R {
        PATH.with_borrow_mut(|path| {
            path.as_mut_os_string().clear();
            path.push(&self.root);
            path.push(to_path(self.relative(index)));
            read(path)
        })
    }

    fn read_whole(&self, index: usize, into: &mut Vec<u8>) -> io::Result<()> {
        match &self.files {
            Files::OfThisMachine => self.at_path(index, |path| read_image_file(path, into)),
            Files::Stored { storage, split } => {
                let blob = storage.open(&format!("{split}/{}", self.relative(index)))?;
                read_image(blob.as_ref(), 0, blob.len(), into)
            }
        }
    }
}

impl Source for ImageFolder {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(self.root.join(self.relative(index)).to_string_lossy().into_owned())
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        into.clear();
        self.read_whole(index, into)
            .map(|()| Encoding::File)
            .map_err(|source| ReadError { name: self.name(index).into_owned(), source })
    }
}

/// Refuses a missing folder, and says what is there instead.
pub(crate) fn check_folder(path: &Path) -> Result<(), DataError> {
    let found = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "it is a file".to_owned(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => beside(path),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    Err(DataError::MissingFolder { path: path.to_owned(), found })
}

/// What is there where `path` is not.
fn beside(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match folders_in(parent) {
        None => format!("{} does not exist either", parent.display()),
        Some(folders) if folders.is_empty() => format!("{} holds no folders", parent.display()),
        Some(folders) => format!("{} holds the folders {}", parent.display(), folders.join(", ")),
    }
}

/// At most ten names of folders; `None` where `parent` cannot be listed.
fn folders_in(parent: &Path) -> Option<Vec<String>> {
    const SHOWN: usize = 10;
    let entries = fs::read_dir(parent).ok()?.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    Some(names)
}
