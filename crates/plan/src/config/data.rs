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
        /// A packed data set: what `rectify data pack` writes.
        Shards = "shards",
        /// Tars in WebDataset's layout.
        WebDataset = "webdataset",
        /// ImageNet (ILSVRC 2012) as it is distributed, in tars or unpacked.
        ImageNet = "imagenet",
        /// A CSV list of paths and labels for each split.
        List = "list",
    }
}

choice! {
    /// How much of a JPEG is decoded, and what damage makes it bad.
    pub enum Decode {
        /// What the crop needs, at full size.
        Region = "region",
        /// What the crop needs, reduced in the DCT domain where the crop is at least twice the result.
        Reduced = "reduced",
        /// All of it; any damage makes the image bad.
        Strict = "strict",
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

section! {
    /// `[data]`: which images, and how they are read.
    pub struct Data {
        /// How the images lie on disk.
        source: Source = Source::Folder, Kind::OneOf { what: "a kind of source", names: Source::names };
        /// The folder that holds the data, relative to the folder where the command is given, or a URL: `s3://bucket/folder`, `gs://…`, `az://…`, `https://…`. Has no default.
        path: PathBuf = PathBuf::new(), Kind::Path;
        /// The training split inside `path`: a folder; for "webdataset" also a tar or a pattern such as
        /// `train-{000..146}.tar`; for "list" a CSV file, whose ending may be left out. Not for CIFAR.
        train_dir: PathBuf = "train".into(), Kind::Path;
        /// The validation split inside `path`, named like the training split.
        val_dir: PathBuf = "val".into(), Kind::Path;
        /// Threads that decode and transform, per rank; 0 = as many as this rank has cores.
        workers: usize = 0, Kind::Whole { min: 0, max: 1024 };
        /// Keep each of these threads on one core.
        pin_workers: bool = false, Kind::Flag;
        /// Threads that read files, per rank: as many files are read at once. 16 to 64 for network storage.
        readers: usize = 2, Kind::Whole { min: 1, max: 1024 };
        /// Micro-batches that may be in work or wait to be used, per rank.
        prefetch_batches: usize = 4, Kind::Whole { min: 1, max: 1024 };
        /// How much of a JPEG is decoded: what the crop needs ("region"), the same reduced in the DCT domain where the crop is at least twice the result ("reduced": faster for large photographs, other detail), or all of it, where any damage makes the image bad ("strict").
        decode: Decode = Decode::Region, Kind::OneOf { what: "a way of decoding", names: Decode::names };
        /// Turn photographs upright by the orientation in their EXIF data, as PIL's exif_transpose does; false leaves them as stored, as torchvision does.
        exif_orientation: bool = false, Kind::Flag;
        /// Train on this many samples, the first of a fixed shuffle; 0 = on all.
        subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
        /// Evaluate on this many validation samples, the first of a shuffle that is the same for every seed; 0 = on all.
        val_subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
        /// How many training images there are, before `subset`; any other number is refused. `--dry-run` plans with it where the data is not at hand.
        expect_train: Option<u64> = None, Kind::Whole { min: 1, max: 1 << 40 };
        /// The same of validation images.
        expect_val: Option<u64> = None, Kind::Whole { min: 1, max: 1 << 40 };
        /// The same of classes.
        expect_classes: Option<usize> = None, Kind::Whole { min: 1, max: 1 << 32 };
        /// In which order training samples come: "window" shuffles shards, and samples within `window_shards` of them; "balanced" shows every class equally often.
        order: Order = Order::Shuffle, Kind::OneOf { what: "an order", names: Order::names };
        /// Shards among whose samples are shuffled (order "window").
        window_shards: usize = 16, Kind::Whole { min: 1, max: 1 << 20 };
        /// What becomes of a bad training image: "replace" it by the next good one, "skip" it (no gradient), or "fail" (the run ends with exit 3). Evaluation leaves bad images out, or fails.
        bad: Bad = Bad::Replace, Kind::OneOf { what: "a policy", names: Bad::names };
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
