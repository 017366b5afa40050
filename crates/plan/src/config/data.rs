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
        /// A packed data set: what `rectify data pack` writes.
        Shards = "shards",
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
        /// Threads that read files, per rank.
        readers: usize = 2, Kind::Whole { min: 1, max: 1024 };
        /// Micro-batches that may be in work or wait to be used, per rank.
        prefetch_batches: usize = 4, Kind::Whole { min: 1, max: 1024 };
        /// How much of a JPEG is decoded: what the crop needs ("region"), the same reduced in the DCT domain where the crop is at least twice the result ("reduced": faster for large photographs, other detail), or all of it, where any damage makes the image bad ("strict").
        decode: Decode = Decode::Region, Kind::OneOf { what: "a way of decoding", names: Decode::names };
        /// Turn photographs upright by the orientation in their EXIF data, as PIL's exif_transpose does; false leaves them as stored, as torchvision does.
        exif_orientation: bool = false, Kind::Flag;
        /// Train on this many samples, the first of a fixed shuffle; 0 = on all.
        subset: usize = 0, Kind::Whole { min: 0, max: 1 << 40 };
    }
}
