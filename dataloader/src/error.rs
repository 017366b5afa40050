//! What can be wrong with data: errors that end a run, and the reasons for which one image is replaced.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a data set cannot be trained on, or a loader cannot go on. Programs end with exit code 3.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A folder that should hold images is not there.
    #[error("no data folder {}: {found}; set data.path to the folder that holds the images", path.display())]
    MissingFolder {
        /// The folder looked for.
        path: PathBuf,
        /// What its parent holds instead, in words.
        found: String,
    },
    /// A split's folder has no class folders.
    #[error("no classes in {}: expected one folder of images a class, e.g. {}/cat/1.jpg", path.display(), path.display())]
    NoClasses {
        /// The split's folder.
        path: PathBuf,
    },
    /// Some class folders hold no image.
    #[error("no images (.jpg, .jpeg, .png, .webp) in the class folder(s) {} of {}: fill or remove them", list(classes), path.display())]
    EmptyClass {
        /// The split's folder.
        path: PathBuf,
        /// The names of the classes without images.
        classes: Vec<String>,
    },
    /// The two splits have different classes.
    #[error("train and validation have different classes: only in {}: {}; only in {}: {}", train.display(), list(only_train), validation.display(), list(only_validation))]
    ClassesDiffer {
        /// The training split's folder.
        train: PathBuf,
        /// The validation split's folder.
        validation: PathBuf,
        /// Classes of the training split alone.
        only_train: Vec<String>,
        /// Classes of the validation split alone.
        only_validation: Vec<String>,
    },
    /// A file of a data set of fixed files is not there.
    #[error("no file {}: {expected}", path.display())]
    MissingFile {
        /// The file looked for.
        path: PathBuf,
        /// Which files the data set consists of.
        expected: &'static str,
    },
    /// A binary file is not a whole number of records.
    #[error("{} has {bytes} bytes, which is not one or more records of {record_bytes}: the file is cut or of another data set", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length of a record.
        record_bytes: u64,
    },
    /// A record's label names no class.
    #[error("record {record} of {} has label {label}, but there are {classes} classes: the file is of another data set", path.display())]
    WrongLabel {
        /// The file.
        path: PathBuf,
        /// The record, counted from 0.
        record: u64,
        /// The label found.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A tar archive cannot be read.
    #[error("{} at byte {offset}: {fault}", path.display())]
    Tar {
        /// The archive's file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        fault: TarFault,
    },
    /// A sample of an archive cannot be trained on.
    #[error("sample {key} of {}: {problem}", path.display())]
    BadSample {
        /// The archive's file.
        path: PathBuf,
        /// What its files have in common: their name up to the first dot.
        key: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A split without samples.
    #[error("no samples in {}: {expected}", path.display())]
    NoSamples {
        /// Where they were looked for.
        path: PathBuf,
        /// What samples look like there.
        expected: &'static str,
    },
    /// A line of a list of labels, files or classes is wrong.
    #[error("{}, line {line}: {problem}", path.display())]
    BadLine {
        /// The list.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A split has no labels, or not those of this data set.
    #[error("labels of {}: {problem}", path.display())]
    Labels {
        /// The split, or the file that should hold its labels.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A pattern of file names is wrong.
    #[error("pattern {pattern:?}: {problem}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A subset larger than its split was asked for.
    #[error("{key} is {subset}, but that split has only {len} samples: set it to at most {len}, or 0 for all")]
    SubsetTooLarge {
        /// The key of the config that asks: `data.subset` (training) or `data.val_subset` (validation).
        key: &'static str,
        /// The size asked for.
        subset: usize,
        /// The samples there are.
        len: usize,
    },
    /// The index of a packed split cannot be used.
    #[error("cannot use the index {}: {problem}; pack the data set again", path.display())]
    ShardIndex {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A shard of a packed split is not the one that its index was made for.
    #[error("the shard {} does not belong to its index: {problem}; copy or pack the data set again", path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A data set cannot be packed there, or so.
    #[error("cannot pack into {}: {problem}", path.display())]
    Pack {
        /// The folder to write.
        path: PathBuf,
        /// What is in the way, and what to do.
        problem: String,
    },
    /// An image that cannot be packed, where none may be left out.
    #[error("{name} cannot be packed, it is {bad}; without --strict such images are left out")]
    NotPacked {
        /// The image.
        name: String,
        /// Why.
        bad: BadImage,
    },
    /// A packed image is not what it was packed from.
    #[error("{} is damaged: {name}: {problem}; pack the data set again into a new folder", path.display())]
    NotVerified {
        /// The packed folder.
        path: PathBuf,
        /// The image, or the shard.
        name: String,
        /// What differs.
        problem: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A URL that names no storage.
    #[error(
        "data.path = \"{url}\": {problem}; the credentials and the endpoint come from the environment (AWS_…, GOOGLE_…, AZURE_…)"
    )]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it or with the settings that go with it.
        problem: String,
    },
    /// Storage behind a URL refused something, or did not answer.
    #[error(
        "{source}; data.path: cannot {action} {url}; check the URL, the credentials and the endpoint (AWS_…, GOOGLE_…, AZURE_…)"
    )]
    Remote {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        url: String,
        /// What the storage said, and how often it was asked.
        source: io::Error,
    },
    /// Not one image of the source can be decoded.
    #[error("all {len} images are bad; the last one tried was {name}, which is {bad}")]
    AllBad {
        /// How many samples there are.
        len: usize,
        /// The last image tried.
        name: String,
        /// Why it is bad.
        bad: BadImage,
    },
    /// An image is bad, and the policy is to end the run then.
    #[error(
        "{name} is bad ({bad}), and data.bad is \"fail\": repair or remove that file, or set data.bad to \"replace\" or \"skip\""
    )]
    BadImage {
        /// The image.
        name: String,
        /// Why it is bad.
        bad: BadImage,
    },
    /// The loader was asked for something that does not fit together: a mistake of the caller.
    #[error("loader: {field}: {problem}")]
    InvalidSpec {
        /// Which field.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A thread could not be started.
    #[error("cannot start the loader's threads: {source}; set data.workers to fewer")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// A batch was asked for while every buffer was leased.
    #[error(
        "all {buffers} batch buffers are leased: drop a lease before asking for the next batch, or supply more memory"
    )]
    AllLeased {
        /// How many buffers there are.
        buffers: usize,
    },
    /// A thread of the loader panicked: a bug.
    #[error("a loader thread panicked ({thread}): {message}; this is a bug, please report it")]
    WorkerPanicked {
        /// What the thread did.
        thread: &'static str,
        /// What the panic said.
        message: String,
    },
    /// A batch was asked for after the loader had failed.
    #[error("the loader has stopped after an earlier error")]
    Stopped,
}

/// What is wrong with a tar archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarFault {
    /// It ends inside an entry, or without the mark that ends an archive.
    #[error("the archive ends here without its end mark: it was cut; copy or make it again")]
    Cut,
    /// No header is where one should be.
    #[error("this is no tar header (its checksum is wrong): the file is damaged or no plain tar archive")]
    NotAHeader,
    /// A size that is no number, negative or beyond 64 bits.
    #[error("the entry's size is no number, negative or too large: the archive is damaged")]
    Size,
    /// A pax header that is not a list of records.
    #[error("the pax header is damaged")]
    Pax,
    /// A name, label or extended header of absurd length.
    #[error("an entry has {bytes} bytes where at most {max_bytes} make sense")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The most that is read.
        max_bytes: u64,
    },
    /// A name that leads out of the archive.
    #[error("the entry is called {0:?}: absolute names and names with `..` are refused; pack the archive anew")]
    UnsafeName(String),
    /// The system or the storage refused to read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// At most ten names, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// Why the bytes of a sample could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}: {source}")]
pub struct ReadError {
    /// The sample's name.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}

/// Why an image is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The file cannot be read, or has vanished.
    Unreadable,
    /// The storage did not answer in time, however often it was asked.
    TimedOut,
    /// The file has no bytes.
    Empty,
    /// The first bytes are of no known format.
    NotAnImage,
    /// The file ends before the image does.
    Truncated,
    /// More than [`MAX_PIXELS`](crate::MAX_PIXELS) pixels.
    TooLarge,
    /// A feature of the format that the decoder lacks.
    Unsupported,
    /// The decoder found a contradiction in the file.
    Damaged,
}

impl Reason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Reason; 8] = [
        Reason::Unreadable,
        Reason::TimedOut,
        Reason::Empty,
        Reason::NotAnImage,
        Reason::Truncated,
        Reason::TooLarge,
        Reason::Unsupported,
        Reason::Damaged,
    ];

    /// The name used in `bad_images.txt` and as the label of the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Unreadable => "unreadable",
            Reason::TimedOut => "timed-out",
            Reason::Empty => "empty",
            Reason::NotAnImage => "not-an-image",
            Reason::Truncated => "truncated",
            Reason::TooLarge => "too-large",
            Reason::Unsupported => "unsupported",
            Reason::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One image that could not become pixels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct BadImage {
    /// The kind of fault, which is counted.
    pub reason: Reason,
    /// What the decoder or the system said.
    pub detail: String,
}

impl BadImage {
    /// A sample that could not be read.
    pub(crate) fn unread(error: &ReadError) -> BadImage {
        let timed_out = error.source.kind() == io::ErrorKind::TimedOut;
        BadImage::new(if timed_out { Reason::TimedOut } else { Reason::Unreadable }, error)
    }

    /// A fault of the given kind.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> BadImage {
        BadImage { reason, detail: detail.to_string() }
    }
}
