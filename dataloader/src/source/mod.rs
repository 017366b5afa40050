//! Where samples come from: the trait that every kind of data set implements, and the opening of a data set by its spec.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::storage::Storage;
use crate::source::subset::Subset;
use crate::{CropBox, DataError, Exif, ReadError};

mod cifar;
mod classes;
mod evaluation;
mod files;
mod folder;
mod imagenet;
mod list;
pub(crate) mod manifest;
mod matlab;
mod parallel;
mod paths;
pub(crate) mod patience;
mod pattern;
mod relabelled;
#[cfg(feature = "remote")]
mod remote;
pub(crate) mod shards;
pub(crate) mod storage;
mod subset;
pub(crate) mod tar;
mod unlabelled;
pub(crate) mod webdataset;

pub use evaluation::{EvaluationSet, Labels};
pub use storage::StorageOptions;
pub(crate) use storage::read_image_file;
pub use unlabelled::{at_most, unlabelled};

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
    exif: Exif,
}

impl<'a> Wants<'a> {
    /// All pixels.
    pub const EVERYTHING: Wants<'static> =
        Wants { of: &|width, height| CropBox { top: 0, left: 0, height, width }, exif: Exif::Ignore };

    /// What `of` says of an upright image of a given width and height; the box lies in the image.
    pub fn new(of: &'a dyn Fn(u32, u32) -> CropBox) -> Wants<'a> {
        Wants { of, exif: Exif::Ignore }
    }

    /// The same for images that are turned upright by their EXIF data, if `exif` says so.
    pub fn turned(self, exif: Exif) -> Wants<'a> {
        Wants { exif, ..self }
    }

    /// The box that is wanted of an image of this size that carries no EXIF orientation.
    ///
    /// A source whose files may carry one asks [`of_stored`](Self::of_stored).
    pub fn of(&self, width: u32, height: u32) -> CropBox {
        (self.of)(width, height)
    }

    /// The box that is wanted of a file that stores `width` × `height` pixels and begins with `header`, in the
    /// coordinates in which it is stored. The part that is then delivered must keep the EXIF data of the header.
    pub fn of_stored(&self, width: u32, height: u32, header: &[u8]) -> CropBox {
        let orientation = self.exif.orientation(header);
        let (upright_width, upright_height) = orientation.upright_sides(width, height);
        orientation.stored_box((self.of)(upright_width, upright_height), upright_width, upright_height)
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
    /// Packed: tar shards with an index (`rectify data pack`).
    Shards,
    /// Tars in WebDataset's layout; `train_dir` and `val_dir` are folders of them, tars or patterns of names.
    WebDataset,
    /// ImageNet as distributed: its two tars, or the folders that they unpack to.
    ImageNet,
    /// A list of paths and labels for each split: `train.csv` and `val.csv`.
    List,
}

impl SourceKind {
    /// The kind that a folder looks like: packed where it holds an index of shards, folders of images otherwise.
    pub fn detect(folder: &Path) -> SourceKind {
        if shards::is_packed(folder) { SourceKind::Shards } else { SourceKind::Folder }
    }
}

/// Fixes the shuffle of which `val_subset`, and whatever else no seed of a run changes, keeps the beginning.
const FIXED_SEED: u64 = 0;

/// Which data set, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSpec {
    /// How it is stored.
    pub kind: SourceKind,
    /// Its folder, or the URL of one.
    pub path: PathBuf,
    /// The training split inside `path`: a folder, or what its kind takes instead (not CIFAR).
    pub train_dir: PathBuf,
    /// The validation split inside `path`, likewise.
    pub val_dir: PathBuf,
    /// How many training samples to keep: the first of a shuffle fixed by `seed`; 0 keeps all.
    pub subset: usize,
    /// How many validation samples to keep: the first of a shuffle that no seed changes, so that runs of different seeds are
    /// measured on the same images; 0 keeps all.
    pub val_subset: usize,
    /// The seed of the run.
    pub seed: u64,
    /// How storage behind a URL is reached.
    pub storage: StorageOptions,
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
            val_subset: 0,
            seed: 0,
            storage: StorageOptions::default(),
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
/// A folder or file is missing or cannot be read, there are no classes, a class has no images, the classes of the splits
/// differ, an archive is cut or damaged, a label is missing or absurd, a subset is larger than its split.
pub fn open(spec: &DatasetSpec) -> Result<Dataset, DataError> {
    let mut dataset = match spec.kind {
        SourceKind::Folder => folder::open(spec)?,
        SourceKind::Cifar10 => cifar::open(&spec.path, &cifar::CIFAR_10)?,
        SourceKind::Cifar100 => cifar::open(&spec.path, &cifar::CIFAR_100)?,
        SourceKind::Shards => shards::open(&*storage::at(&spec.path, &spec.storage)?, &spec.path)?,
        SourceKind::WebDataset => webdataset::open(storage(spec)?, &spec.train_dir, &spec.val_dir)?,
        SourceKind::ImageNet => imagenet::open(storage(spec)?, &spec.path, &spec.train_dir, &spec.val_dir)?,
        SourceKind::List => list::open(storage(spec)?, &spec.train_dir, &spec.val_dir)?,
    };
    if spec.subset > 0 {
        dataset.train = Box::new(Subset::new(dataset.train, "data.subset", spec.subset, spec.seed)?);
    }
    if spec.val_subset > 0 {
        let whole = dataset.validation;
        dataset.validation = Box::new(Subset::new(whole, "data.val_subset", spec.val_subset, FIXED_SEED)?);
    }
    Ok(dataset)
}

/// Where the files of a data set lie.
fn storage(spec: &DatasetSpec) -> Result<Arc<dyn Storage>, DataError> {
    if storage::url(&spec.path).is_none() {
        folder::check_folder(&spec.path)?;
    }
    storage::at(&spec.path, &spec.storage)
}
