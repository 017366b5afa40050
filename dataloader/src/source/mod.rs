//! Where samples come from: the trait that every kind of data set implements, and the opening of a data set by its spec.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::source::subset::Subset;
use crate::{CropBox, DataError, ReadError};

mod cifar;
mod folder;
pub(crate) mod manifest;
#[allow(dead_code)] // until sources of tars and of buckets stand on it
mod storage;
mod subset;

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

    /// Where each shard ends, in samples from the source's beginning: rising, the last is [`len`](Self::len). Samples of a
    /// shard lie side by side in storage, so that reading them one after the other is cheap. Empty where all samples are
    /// alike far apart, as in folders of files.
    fn groups(&self) -> &[usize] {
        &[]
    }

    /// What a person calls sample `index`: its path, or its file and record.
    fn name(&self, index: usize) -> Cow<'_, str>;

    /// Replaces the contents of `into` with the bytes of sample `index`, and says what they are.
    ///
    /// A source that can read a part of an image reads what `wants` asks for, or more; the others read all of it.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError>;
}

/// Which pixels of an image its transform will look at, told once the image's size is known.
#[derive(Clone, Copy)]
pub struct Wants<'a> {
    of: &'a dyn Fn(u32, u32) -> CropBox,
}

impl<'a> Wants<'a> {
    /// All pixels.
    pub const EVERYTHING: Wants<'static> = Wants { of: &|width, height| CropBox { top: 0, left: 0, height, width } };

    /// What `of` says of an image of a given width and height; the box lies in the image.
    pub fn new(of: &'a dyn Fn(u32, u32) -> CropBox) -> Wants<'a> {
        Wants { of }
    }

    /// The box that is wanted of an image of this size.
    pub fn of(&self, width: u32, height: u32) -> CropBox {
        (self.of)(width, height)
    }
}

/// What the bytes of a sample are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// An image file whose first bytes tell its format.
    File,
    /// A JPEG of a part of an image: what was wanted of it, and perhaps more.
    Part {
        /// Columns of the whole image.
        width: u32,
        /// Rows of the whole image.
        height: u32,
        /// The column of the whole image at which the part begins.
        left: u32,
        /// The row of the whole image at which the part begins.
        top: u32,
    },
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
