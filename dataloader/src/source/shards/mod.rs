//! Packed data sets: JPEGs with restart markers in tar shards, and an index by which a crop's bytes alone are read.
//!
//! A packed folder holds `train-000000.tar`, `train-000001.tar`, …, `val-000000.tar`, … and one index for each split,
//! `train.index` and `val.index`. The shards are WebDataset tars that any tool reads: for each image `<key>.jpg` (or
//! `.png`, `.webp`: its true format) and `<key>.cls` (the label in decimal). A key is the image's number in the data set
//! that was packed, so it is unique in its split.
//!
//! # Layout of an index
//!
//! Little endian. The head:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `89 52 53 48 41 52 44 0A`: a byte that is no text, `RSHARD`, a line feed |
//! | 8..12 | 1, the version of the layout |
//! | 12..16 | 48, the bytes of a record |
//! | 16..24 | bytes of the whole index |
//! | 24..32 | images |
//! | 32..36 | shards |
//! | 36..40 | classes |
//! | 40..48 | where the records begin: the length of the head, a multiple of 8 |
//! | 48..56 | where the blobs begin, which is where the records end |
//! | 56..88 | BLAKE3 of the rest of the head: of the bytes 0..56 followed by those from 88 to the records |
//! | 88.. | for each shard: 8 bytes its length, 16 bytes the first half of the BLAKE3 of its first 4,096 bytes (of all, where it is shorter), 32 bytes its BLAKE3, 2 bytes the length of its name, its name |
//! | | for each class: 2 bytes the length of its name, its name |
//! | | zeros up to the records |
//!
//! A record for each image, in the order of the data set that was packed, whatever the order in the shards:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | offset of the image file in its shard |
//! | 8..16 | offset of its blob in the index |
//! | 16..20 | bytes of the image file |
//! | 20..24 | number of its shard |
//! | 24..28 | label |
//! | 28..30, 30..32 | width, height in pixels; 0 where there is no segment index |
//! | 32..36 | bytes of the segment index; 0 where there is none |
//! | 36..38 | bytes of the original name |
//! | 38..40 | format of the file: 0 JPEG, 1 PNG, 2 WebP |
//! | 40..44 | the key |
//! | 44..48 | CRC-32 (zlib's) of the bytes 0..44 followed by the blob |
//!
//! A blob is a segment index (its layout is that of [`jpeg::SegmentIndex`]) followed by the original name (UTF-8).
//!
//! Opening checks the head alone, so it takes as long for a million images as for ten; a record and its blob are checked
//! when they are used. Real ImageNet photographs have segment indexes of 345 bytes: with names of 30 bytes the index of
//! 1.28 million images has 0.54 GB, 0.4 % of the shards.
//!
//! The index is mapped, the shards are read with `pread`: a shard that was shortened gives a read error, and the image is
//! replaced like any other bad one. An index must not be cut while it is open; packing replaces it by renaming.

mod index;
mod layout;
mod part;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use memmap2::Mmap;

pub(crate) use index::{Entry, Index};
pub(crate) use layout::{Format, Head, RECORD_BYTES, Record, Shard, key_text, opening_hash};
pub(crate) use part::PartReader;

use crate::source::manifest::io_error;
use crate::source::storage::{self, Blob, Local, Storage};
use crate::{DataError, Dataset, Encoding, ReadError, Source, Split, Wants};

impl Split {
    /// How the files of this split begin in a packed folder.
    pub(crate) fn file_stem(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "val",
        }
    }

    /// The name of its index in a packed folder.
    pub(crate) fn index_name(self) -> String {
        format!("{}.index", self.file_stem())
    }
}

/// True where `folder` holds the index of a packed training split.
pub(crate) fn is_packed(folder: &Path) -> bool {
    folder.join(Split::Train.index_name()).is_file()
}

/// Opens both splits of a packed folder, which is the root of `storage`.
pub(crate) fn open(storage: &dyn Storage, folder: &Path) -> Result<Dataset, DataError> {
    let open = |split| Shards::open(storage, folder, split);
    let (train, validation) = (open(Split::Train)?, open(Split::Validation)?);
    if train.classes() != validation.classes() {
        let only = |here: &Shards, there: &Shards| {
            here.classes().iter().filter(|class| !there.classes().contains(class)).cloned().collect()
        };
        return Err(DataError::ClassesDiffer {
            train: folder.join(Split::Train.index_name()),
            validation: folder.join(Split::Validation.index_name()),
            only_train: only(&train, &validation),
            only_validation: only(&validation, &train),
        });
    }
    Ok(Dataset { train: Box::new(train), validation: Box::new(validation) })
}

/// One split of a packed data set.
pub(crate) struct Shards {
    index: Index<Mmap>,
    /// Open shards, as the index numbers them.
    files: Vec<Box<dyn Blob>>,
}

thread_local! {
    /// Memory that each reading thread keeps from image to image.
    static READER: RefCell<PartReader> = RefCell::default();
}

impl Shards {
    /// Opens a split of a packed folder of this machine.
    pub(crate) fn local(folder: &Path, split: Split) -> Result<Shards, DataError> {
        Shards::open(&Local::new(folder), folder, split)
    }

    /// Maps the index of a split and opens its shards, each of which must be as long, and begin, as the index says.
    pub(crate) fn open(storage: &dyn Storage, folder: &Path, split: Split) -> Result<Shards, DataError> {
        let path = folder.join(split.index_name());
        let index = match storage::url(folder) {
            None => map(&path)?,
            Some(_) => map_copy(storage, &split.index_name(), &path)?,
        };
        let mut files = Vec::with_capacity(index.shards().len());
        for shard in index.shards() {
            let path = folder.join(&shard.name);
            let file = storage.open(&shard.name).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    return DataError::MissingFile { path: path.clone(), expected: "the index of the split names it" };
                }
                io_error("open", &path)(error)
            })?;
            check_shard(file.as_ref(), shard, &path)?;
            files.push(file);
        }
        Ok(Shards { index, files })
    }

    /// The index of this split.
    pub(crate) fn index(&self) -> &Index<Mmap> {
        &self.index
    }

    /// The open shards, as the index numbers them.
    pub(crate) fn files(&self) -> &[Box<dyn Blob>] {
        &self.files
    }

    /// Reads the whole file of an image.
    pub(crate) fn read_whole(&self, entry: &Entry<'_>, into: &mut Vec<u8>) -> io::Result<()> {
        into.resize(entry.record.length as usize, 0);
        self.files[entry.record.shard as usize].read_at(entry.record.offset, into)
    }

    fn read_wanted(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> io::Result<Encoding> {
        let entry = self.index.entry(index).map_err(damaged)?;
        if entry.segments.is_empty() {
            return self.read_whole(&entry, into).map(|()| Encoding::File);
        }
        let file = self.files[entry.record.shard as usize].as_ref();
        READER.with_borrow_mut(|reader| reader.read(file, &entry, wants, into))
    }
}

/// The error of a read where index or shard are not as they were packed.
pub(crate) fn damaged(problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

/// Maps and checks an index of this machine.
fn map(path: &Path) -> Result<Index<Mmap>, DataError> {
    map_file(&File::open(path).map_err(not_opened(path))?, path)
}

/// Copies an index from elsewhere into a file without a name, which goes with the last process that has it, and maps that.
fn map_copy(storage: &dyn Storage, name: &str, path: &Path) -> Result<Index<Mmap>, DataError> {
    const PIECE_BYTES: u64 = 8 << 20;
    let blob = storage.open(name).map_err(not_opened(path))?;
    let mut file = tempfile::tempfile().map_err(io_error("make a temporary copy of", path))?;
    let mut piece = Vec::new();
    for offset in (0..blob.len()).step_by(PIECE_BYTES as usize) {
        piece.resize(PIECE_BYTES.min(blob.len() - offset) as usize, 0);
        blob.read_at(offset, &mut piece).map_err(io_error("read", path))?;
        file.write_all(&piece).map_err(io_error("make a temporary copy of", path))?;
    }
    map_file(&file, path)
}

fn not_opened(path: &Path) -> impl FnOnce(io::Error) -> DataError + '_ {
    let expected = "a packed folder has a train.index and a val.index; `rectify data pack` writes them last";
    move |error| match error.kind() {
        io::ErrorKind::NotFound => DataError::MissingFile { path: path.to_owned(), expected },
        _ => io_error("open", path)(error),
    }
}

fn map_file(file: &File, path: &Path) -> Result<Index<Mmap>, DataError> {
    if file.metadata().map_err(io_error("look at", path))?.len() == 0 {
        return Err(DataError::ShardIndex { path: path.to_owned(), problem: "it is empty".to_owned() });
    }
    // SAFETY: an index is written under another name and renamed when it is whole, and never written to after that;
    // no reference into the map outlives it. A file that others change nevertheless changes what is read, as any file.
    let bytes = unsafe { Mmap::map(file) }.map_err(io_error("map", path))?;
    Index::parse(bytes).map_err(|problem| DataError::ShardIndex { path: path.to_owned(), problem })
}

/// Refuses a shard that is not the one of the index.
fn check_shard(file: &dyn Blob, shard: &Shard, path: &Path) -> Result<(), DataError> {
    let wrong = |problem: String| Err(DataError::Shard { path: path.to_owned(), problem });
    if file.len() != shard.bytes {
        return wrong(format!("it has {} bytes where the index says {}", file.len(), shard.bytes));
    }
    if opening_hash(file).map_err(io_error("read", path))? != shard.opening {
        return wrong("it begins otherwise than the index says".to_owned());
    }
    Ok(())
}

impl Source for Shards {
    fn len(&self) -> usize {
        self.index.len()
    }

    fn classes(&self) -> &[String] {
        self.index.classes()
    }

    /// 0 where the record is damaged, which [`Source::read`] reports.
    fn label(&self, index: usize) -> u32 {
        self.index.entry(index).map_or(0, |entry| entry.record.label)
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(match self.index.entry(index) {
            Err(_) => format!("record {index} of the index"),
            Ok(Entry { record, name, .. }) => {
                let shard = &self.index.shards()[record.shard as usize].name;
                let file = format!("{shard}/{}", record.file_name());
                if name.is_empty() { file } else { format!("{file} ({name})") }
            }
        })
    }

    fn read(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        self.read_wanted(index, wants, into).map_err(|source| ReadError { name: self.name(index).into_owned(), source })
    }
}
