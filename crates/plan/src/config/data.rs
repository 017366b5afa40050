//! `[data]`: which images, and how they are read.

use std::path::PathBuf;

use crate::schema::{Kind, choice, section};

choice! {
    /// How the images lie on disk.
    pub enum Source {
        /// A folder a class, under a folder for each split.
        Folder = "folder",
        /// CIFAR-10's binary files as they are distributed.
        Cifar10 = "cifar10",
        /// CIFAR-100's binary files as they are distributed, fine labels.
        Cifar100 = "cifar100",
        /// Tars in WebDataset's layout.
        WebDataset = "webdataset",
        /// ImageNet (ILSVRC 2012) as it is distributed, in tars or unpacked.
        ImageNet = "imagenet",
        /// A CSV list of paths and labels for each split.
        List = "list",
    }
}

section! {
    /// `[data]`: which images, and how they are read.
    pub struct Data {
        /// How the images lie on disk.
        source: Source = Source::Folder, Kind::OneOf { what: "a kind of source", names: Source::names };
        /// The folder that holds the data, relative to the folder where the command is given. Has no default.
        path: PathBuf = PathBuf::new(), Kind::Path;
        /// The training split inside `path`: a folder; for "webdataset" also a tar or a pattern such as
        /// `train-{000..146}.tar`; for "list" a CSV file, whose ending may be left out. Not for CIFAR.
        train_dir: PathBuf = "train".into(), Kind::Path;
        /// The validation split inside `path`, named like the training split.
        val_dir: PathBuf = "val".into(), Kind::Path;
        /// Threads that decode and transform, per rank; 0 = as many as this rank has cores.
        workers: usize = 0, Kind::Whole { min: 0, max: 1024 };
        /// Threads that read files, per rank.
        readers: usize = 2, Kind::Whole { min: 1, max: 1024 };
        /// Micro-batches that may be in work or wait to be used, per rank.
        prefetch_batches: usize = 4, Kind::Whole { min: 1, max: 1024 };
        /// Train on this many samples, the first of a fixed shuffle; 0 = on all.
        subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
    }
}
