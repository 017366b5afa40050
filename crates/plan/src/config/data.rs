//! `[data]`: which images, and how they are read.

use std::path::PathBuf;

use crate::schema::{Kind, choice, section};

/// What `data.cache_dir` holds where the user's cache folder is meant.
pub const AUTOMATIC: &str = "auto";

choice! {
    /// How the images lie on disk.
    pub enum Source {
        /// A folder a class, under a folder for each split.
        Folder = "folder",
        /// CIFAR-10's binary files as they are distributed.
        Cifar10 = "cifar10",
        /// CIFAR-100's binary files as they are distributed, fine labels.
        Cifar100 = "cifar100",
    }
}

section! {
    /// `[data]`: which images, and how they are read.
    pub struct Data {
        /// How the images lie on disk.
        source: Source = Source::Folder, Kind::OneOf { what: "a kind of source", names: Source::names };
        /// The folder that holds the data, relative to the folder where the command is given, or a URL: `s3://bucket/folder`, `gs://…`, `az://…`, `https://…`. Has no default.
        path: PathBuf = PathBuf::new(), Kind::Path;
        /// The folder of the training split inside `path` (source "folder").
        train_dir: PathBuf = "train".into(), Kind::Path;
        /// The folder of the validation split inside `path` (source "folder").
        val_dir: PathBuf = "val".into(), Kind::Path;
        /// Threads that decode and transform, per rank; 0 = as many as this rank has cores.
        workers: usize = 0, Kind::Whole { min: 0, max: 1024 };
        /// Threads that read files, per rank.
        readers: usize = 2, Kind::Whole { min: 1, max: 1024 };
        /// Micro-batches that may be in work or wait to be used, per rank.
        prefetch_batches: usize = 4, Kind::Whole { min: 1, max: 1024 };
        /// Train on this many samples, the first of a fixed shuffle; 0 = on all.
        subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
        /// Where what is read from a URL is kept; "auto" = `rectify/remote` in the user's cache folder.
        cache_dir: PathBuf = AUTOMATIC.into(), Kind::Path;
        /// GiB that are kept there at most, by all ranks of a machine together; 0 = keep nothing.
        cache_gib: f64 = 20.0, Kind::Number { min: 0.0, max: 1e6 };
        /// Seconds that one try of a request to a URL may take.
        timeout_s: f64 = 30.0, Kind::Positive { max: 3600.0 };
        /// How many more times a request to a URL is tried before its sample is replaced.
        retries: usize = 4, Kind::Whole { min: 0, max: 100 };
        /// For how many hours a list of the objects below a URL is trusted; 0 = list anew at every start.
        listing_hours: f64 = 24.0, Kind::Number { min: 0.0, max: 1e5 };
    }
}
