//! Where samples come from: the trait that every kind of data set implements, and the opening of a data set by its spec.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::subset::Subset;
use crate::{DataError, ReadError, cifar, folder};

/// Labelled samples with random access.
pub trait Source: Send + Sync {
    /// How many samples there are; at least 1.
    fn len(&self) -> usize;

    /// True when there are no samples, which no opened data set has.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the classes, sorted as the data set sorts them; a label is an index here.
    fn classes(&self) -> &[String];

    /// The label of sample `index`, in `0..classes().len()`.
    fn label(&self, index: usize) -> u32;

    /// What a person calls sample `index`: its path, or its file and record.
    fn name(&self, index: usize) -> Cow<'_, str>;

    /// Replaces the contents of `into` with the bytes of sample `index`, and says what they are.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Encoding, ReadError>;
}

/// What the bytes of a sample are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// An image file whose first bytes tell its format.
    File,
    /// Plain pixels, (H, W, 3).
    Rgb {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// The two parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is measured on.
    Validation,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Validation => "validation",
        })
    }
}

/// The kinds of data set that can be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// One folder a class, as torchvision's `ImageFolder` reads it.
    #[default]
    Folder,
    /// CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
    Cifar10,
    /// CIFAR-100, binary version: `train.bin` and `test.bin`, fine labels.
    Cifar100,
}

/// Which data set, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSpec {
    /// How it is stored.
    pub kind: SourceKind,
    /// Its folder.
    pub path: PathBuf,
    /// The training split's folder inside `path` (folders only).
    pub train_dir: PathBuf,
    /// The validation split's folder inside `path` (folders only).
    pub val_dir: PathBuf,
    /// How many training samples to keep: the first of a shuffle fixed by `seed`; 0 keeps all.
    pub subset: usize,
    /// The seed of the run.
    pub seed: u64,
}

impl DatasetSpec {
    /// A whole data set of folders with the usual names, `train` and `val`.
    pub fn folder(path: impl Into<PathBuf>) -> DatasetSpec {
        DatasetSpec {
            kind: SourceKind::Folder,
            path: path.into(),
            train_dir: "train".into(),
            val_dir: "val".into(),
            subset: 0,
            seed: 0,
        }
    }
}

/// An opened data set; both splits have the same classes.
pub struct Dataset {
    /// What the model learns from.
    pub train: Box<dyn Source>,
    /// What it is measured on.
    pub validation: Box<dyn Source>,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("train", &self.train.len())
            .field("validation", &self.validation.len())
            .field("classes", &self.train.classes().len())
            .finish()
    }
}

/// Opens both splits and checks all that can be checked without reading images.
///
/// # Errors
/// A folder or file is missing, there are no classes, a class has no images, the classes of the splits differ, a binary
/// file is cut, the subset is larger than the split.
pub fn open(spec: &DatasetSpec) -> Result<Dataset, DataError> {
    let mut dataset = match spec.kind {
        SourceKind::Folder => folder::open(&spec.path, &spec.train_dir, &spec.val_dir)?,
        SourceKind::Cifar10 => cifar::open(&spec.path, &cifar::CIFAR_10)?,
        SourceKind::Cifar100 => cifar::open(&spec.path, &cifar::CIFAR_100)?,
    };
    if spec.subset > 0 {
        dataset.train = Box::new(Subset::new(dataset.train, spec.subset, spec.seed)?);
    }
    Ok(dataset)
}
