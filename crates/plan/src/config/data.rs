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
    }
}

choice! {
    /// In which order training samples come. Every order is a function of seed and position alone.
    pub enum Order {
        /// A new permutation of all samples every epoch.
        Shuffle = "shuffle",
        /// Shards in a new order every epoch, samples shuffled within a window of shards.
        Window = "window",
        /// Every class equally often.
        Balanced = "balanced",
    }
}

choice! {
    /// What becomes of a training sample whose image is bad.
    pub enum Bad {
        /// The next good image takes its place.
        Replace = "replace",
        /// It gives no gradient and is not counted.
        Skip = "skip",
        /// The run ends with exit 3.
        Fail = "fail",
    }
}

choice! {
    /// How much of a JPEG is looked at.
    pub enum Decode {
        /// What the crop needs; damage elsewhere goes unseen.
        Region = "region",
        /// All of it; any damage makes the image bad.
        Strict = "strict",
    }
}

section! {
    /// `[data]`: which images, and how they are read.
    pub struct Data {
        /// How the images lie on disk.
        source: Source = Source::Folder, Kind::OneOf { what: "a kind of source", names: Source::names };
        /// The folder that holds the data, relative to the folder where the command is given. Has no default.
        path: PathBuf = PathBuf::new(), Kind::Path;
        /// The folder of the training split inside `path` (source "folder").
        train_dir: PathBuf = "train".into(), Kind::Path;
        /// The folder of the validation split inside `path` (source "folder").
        val_dir: PathBuf = "val".into(), Kind::Path;
        /// Threads that decode and transform, per rank; 0 = as many as this rank has cores.
        workers: usize = 0, Kind::Whole { min: 0, max: 1024 };
        /// Keep each of these threads on one core.
        pin_workers: bool = false, Kind::Flag;
        /// Threads that read files, per rank: as many files are read at once. 16 to 64 for network storage.
        readers: usize = 2, Kind::Whole { min: 1, max: 1024 };
        /// Micro-batches that may be in work or wait to be used, per rank.
        prefetch_batches: usize = 4, Kind::Whole { min: 1, max: 1024 };
        /// Train on this many samples, the first of a fixed shuffle; 0 = on all.
        subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
        /// In which order training samples come: "window" shuffles shards, and samples within `window_shards` of them; "balanced" shows every class equally often.
        order: Order = Order::Shuffle, Kind::OneOf { what: "an order", names: Order::names };
        /// Shards among whose samples are shuffled (order "window").
        window_shards: usize = 16, Kind::Whole { min: 1, max: 1 << 20 };
        /// What becomes of a bad training image: "replace" it by the next good one, "skip" it (no gradient), or "fail" (the run ends with exit 3). Evaluation leaves bad images out, or fails.
        bad: Bad = Bad::Replace, Kind::OneOf { what: "a policy", names: Bad::names };
        /// How much of a JPEG is decoded: the "region" that the crop needs, or "strict": all of it, so that any damage is seen.
        decode: Decode = Decode::Region, Kind::OneOf { what: "a way to decode", names: Decode::names };
    }
}
