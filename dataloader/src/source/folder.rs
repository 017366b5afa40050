//! A folder of folders of images, one a class, as torchvision's `ImageFolder` reads it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::source::manifest::{self, Cache, Manifest};
use crate::{DataError, Dataset, Encoding, ReadError, Source, Wants};

thread_local! {
    /// The path of the file that a reader opens, in memory that it keeps.
    static PATH: RefCell<PathBuf> = RefCell::default();
}

/// One split of a data set of folders.
pub(crate) struct ImageFolder {
    root: PathBuf,
    classes: Vec<String>,
    /// Paths relative to `root`, one behind the other; sample `i` ends at `ends[i]`.
    paths: String,
    ends: Vec<usize>,
    labels: Vec<u32>,
}

/// Opens both splits, whose classes must be the same.
pub(crate) fn open(path: &Path, train_dir: &Path, val_dir: &Path) -> Result<Dataset, DataError> {
    check_folder(path)?;
    let cache = Cache::of_user();
    let train = ImageFolder::open(&path.join(train_dir), cache.as_ref())?;
    let validation = ImageFolder::open(&path.join(val_dir), cache.as_ref())?;
    if train.classes != validation.classes {
        let only = |here: &ImageFolder, there: &ImageFolder| {
            here.classes.iter().filter(|class| there.classes.binary_search(class).is_err()).cloned().collect()
        };
        return Err(DataError::ClassesDiffer {
            only_train: only(&train, &validation),
            only_validation: only(&validation, &train),
            train: train.root,
            validation: validation.root,
        });
    }
    Ok(Dataset { train: Box::new(train), validation: Box::new(validation) })
}

impl ImageFolder {
    /// Lists the images of one split, with the help of a cache where one is named.
    pub(crate) fn open(root: &Path, cache: Option<&Cache>) -> Result<ImageFolder, DataError> {
        check_folder(root)?;
        let manifest = manifest::list(root, cache)?;
        if manifest.classes.is_empty() {
            return Err(DataError::NoClasses { path: root.to_owned() });
        }
        let empty = manifest.classes.iter().filter(|class| class.files.is_empty());
        let classes: Vec<String> = empty.map(|class| class.name.clone()).collect();
        if !classes.is_empty() {
            return Err(DataError::EmptyClass { path: root.to_owned(), classes });
        }
        Ok(ImageFolder::from_manifest(root, manifest))
    }

    fn from_manifest(root: &Path, manifest: Manifest) -> ImageFolder {
        let mut folder = ImageFolder {
            root: root.to_owned(),
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
            folder.classes.push(class.name);
        }
        folder
    }

    /// The path of a sample, relative to the root.
    fn relative(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.paths[start..self.ends[index]]
    }

    fn open_file(&self, index: usize) -> io::Result<File> {
        PATH.with_borrow_mut(|path| {
            path.as_mut_os_string().clear();
            path.push(&self.root);
            path.push(self.relative(index));
            File::open(path)
        })
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
        self.open_file(index)
            .and_then(|mut file| file.read_to_end(into))
            .map(|_| Encoding::File)
            .map_err(|source| ReadError { name: self.name(index).into_owned(), source })
    }
}

/// Refuses a missing folder, and says what is there instead.
fn check_folder(path: &Path) -> Result<(), DataError> {
    if path.is_dir() {
        return Ok(());
    }
    let found = if path.exists() {
        "it is a file".to_owned()
    } else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match folders_in(parent) {
            None => format!("{} does not exist either", parent.display()),
            Some(folders) if folders.is_empty() => format!("{} holds no folders", parent.display()),
            Some(folders) => format!("{} holds the folders {}", parent.display(), folders.join(", ")),
        }
    };
    Err(DataError::MissingFolder { path: path.to_owned(), found })
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
