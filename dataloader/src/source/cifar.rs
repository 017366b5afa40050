//! CIFAR-10 and CIFAR-100 in their binary versions, as distributed (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::source::manifest::io_error;
use crate::{DataError, Dataset, Encoding, ReadError, Source, Wants};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// How one of the two sets is stored.
pub(crate) struct Layout {
    /// The folder in the distributed archive.
    archive_dir: &'static str,
    train: &'static [&'static str],
    validation: &'static [&'static str],
    /// A file with one class name a line.
    names: &'static str,
    classes: usize,
    /// Bytes before the pixels; the last one is the label.
    label_bytes: usize,
    expected: &'static str,
}

/// CIFAR-10: records of one label and 3 × 32 × 32 pixels.
pub(crate) const CIFAR_10: Layout = Layout {
    archive_dir: "cifar-10-batches-bin",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    validation: &["test_batch.bin"],
    names: "batches.meta.txt",
    classes: 10,
    label_bytes: 1,
    expected: "CIFAR-10's binary version is data_batch_1.bin to data_batch_5.bin and test_batch.bin",
};

/// CIFAR-100: records of a coarse label, a fine label and 3 × 32 × 32 pixels; the fine one is used.
pub(crate) const CIFAR_100: Layout = Layout {
    archive_dir: "cifar-100-binary",
    train: &["train.bin"],
    validation: &["test.bin"],
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
    expected: "CIFAR-100's binary version is train.bin and test.bin",
};

/// Opens both splits in `path`, or in the archive's folder inside it.
pub(crate) fn open(path: &Path, layout: &Layout) -> Result<Dataset, DataError> {
    let inner = path.join(layout.archive_dir);
    let folder = if inner.is_dir() { inner } else { path.to_owned() };
    let classes = class_names(&folder, layout);
    let split = |files: &[&str]| Records::open(&folder, files, layout, classes.clone());
    Ok(Dataset { train: Box::new(split(layout.train)?), validation: Box::new(split(layout.validation)?) })
}

/// The names in the set's own list, or numbers where it is not there.
fn class_names(folder: &Path, layout: &Layout) -> Vec<String> {
    let text = fs::read_to_string(folder.join(layout.names)).unwrap_or_default();
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() == layout.classes { names } else { (0..layout.classes).map(|class| class.to_string()).collect() }
}

/// One split: the records of its files, one file after the other.
struct Records {
    files: Vec<RecordFile>,
    classes: Vec<String>,
    labels: Vec<u32>,
    label_bytes: usize,
}

struct RecordFile {
    path: PathBuf,
    file: File,
    /// The split's index of the first record.
    first: usize,
}

impl Records {
    fn open(folder: &Path, files: &[&str], layout: &Layout, classes: Vec<String>) -> Result<Records, DataError> {
        let mut records = Records { files: Vec::new(), classes, labels: Vec::new(), label_bytes: layout.label_bytes };
        for name in files {
            records.add(folder.join(name), layout)?;
        }
        Ok(records)
    }

    fn add(&mut self, path: PathBuf, layout: &Layout) -> Result<(), DataError> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataError::MissingFile { path, expected: layout.expected });
            }
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let bytes = file.metadata().map_err(io_error("open", &path))?.len();
        let record_bytes = self.record_bytes() as u64;
        if bytes == 0 || !bytes.is_multiple_of(record_bytes) {
            return Err(DataError::WrongLength { path, bytes, record_bytes });
        }
        let first = self.labels.len();
        self.read_labels(&file, bytes / record_bytes, &path)?;
        self.files.push(RecordFile { path, file, first });
        Ok(())
    }

    fn read_labels(&mut self, file: &File, records: u64, path: &Path) -> Result<(), DataError> {
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut bytes = vec![0; self.record_bytes()];
        for record in 0..records {
            reader.read_exact(&mut bytes).map_err(io_error("read", path))?;
            let (label, classes) = (u32::from(bytes[self.label_bytes - 1]), self.classes.len());
            if label as usize >= classes {
                return Err(DataError::WrongLabel { path: path.to_owned(), record, label, classes });
            }
            self.labels.push(label);
        }
        Ok(())
    }

    fn record_bytes(&self) -> usize {
        self.label_bytes + 3 * PLANE
    }

    /// The file of a sample, and the record in it.
    fn place(&self, index: usize) -> (&RecordFile, usize) {
        let file = &self.files[self.files.partition_point(|file| file.first <= index) - 1];
        (file, index - file.first)
    }
}

impl Source for Records {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        let (file, record) = self.place(index);
        Cow::Owned(format!("{}#{record}", file.path.display()))
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        let (file, record) = self.place(index);
        let mut planes = [0; 3 * PLANE]; // (3, H, W)
        let offset = record * self.record_bytes() + self.label_bytes;
        file.file
            .read_exact_at(&mut planes, offset as u64)
            .map_err(|source| ReadError { name: self.name(index).into_owned(), source })?;
        into.clear();
        into.extend((0..PLANE).flat_map(|pixel| [planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]]));
        Ok(Encoding::Rgb { width: SIDE as u32, height: SIDE as u32 })
    }
}
