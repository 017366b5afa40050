//! `metrics.jsonl`: one JSON object a line, appended; a resumed run goes on where its checkpoint stands.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{MetricsError, Record, atomic};

/// What was found in the file of a run that goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Lines that stay.
    pub kept: usize,
    /// Lines of steps after the checkpoint, which will be made again.
    pub dropped: usize,
    /// Lines that are not whole JSON objects, as a killed process leaves them; dropped too.
    pub unreadable: usize,
}

/// Appends records to `metrics.jsonl`.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
    /// The last write failed, so the file may end in half a line.
    torn: bool,
}

impl JsonLines {
    /// An empty file, for a run that begins.
    ///
    /// # Errors
    /// [`MetricsError::File`] if the file cannot be made.
    pub fn create(path: &Path) -> Result<JsonLines, MetricsError> {
        atomic::replace(path, b"")?;
        JsonLines::append_to(path)
    }

    /// The file of a run that goes on from the checkpoint of `step`. Records of later steps are dropped, in one rename,
    /// so that no lost step appears twice; a step's records are written before its checkpoint, so those of `step` stay.
    /// A missing file is as good as an empty one.
    ///
    /// # Errors
    /// [`MetricsError::File`] if the file cannot be read or replaced.
    pub fn resume(path: &Path, step: u64) -> Result<(JsonLines, Resumed), MetricsError> {
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(MetricsError::File { action: "read", path: path.to_owned(), source }),
        };
        let (kept, resumed) = keep_until(&text, step);
        if kept != text || !path.exists() {
            atomic::replace(path, &kept)?;
        }
        Ok((JsonLines::append_to(path)?, resumed))
    }

    /// Appends one record in one write.
    ///
    /// # Errors
    /// [`MetricsError::File`] if the disk does not take it. The next record then starts on a line of its own, and a
    /// reader passes over the torn one.
    pub fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        let mut line = serde_json::to_vec(record).expect("a record has string keys only");
        line.push(b'\n');
        if self.torn {
            line.insert(0, b'\n');
        }
        let written = self.file.write_all(&line);
        self.torn = written.is_err();
        written.map_err(|source| MetricsError::File { action: "append to", path: self.path.clone(), source })
    }

    fn append_to(path: &Path) -> Result<JsonLines, MetricsError> {
        let file = OpenOptions::new().append(true).open(path).map_err(|source| MetricsError::File {
            action: "append to",
            path: path.to_owned(),
            source,
        })?;
        Ok(JsonLines { path: path.to_owned(), file, torn: false })
    }
}

/// The records of a `metrics.jsonl`, in order. Lines that are not whole records are passed over, so that the file of a
/// killed or a newer run can be read.
///
/// # Errors
/// [`MetricsError::File`] if the file cannot be read.
pub fn read_records(path: &Path) -> Result<Vec<Record>, MetricsError> {
    let bytes =
        fs::read(path).map_err(|source| MetricsError::File { action: "read", path: path.to_owned(), source })?;
    Ok(bytes.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// All that a line must have to be placed: kinds of records that a newer version adds are kept.
#[derive(Deserialize)]
struct Placed {
    step: u64,
}

fn keep_until(text: &[u8], step: u64) -> (Vec<u8>, Resumed) {
    let mut kept = Vec::with_capacity(text.len());
    let mut resumed = Resumed::default();
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Placed>(line) {
            Ok(placed) if placed.step <= step => {
                kept.extend_from_slice(line);
                kept.push(b'\n');
                resumed.kept += 1;
            }
            Ok(_) => resumed.dropped += 1,
            Err(_) => resumed.unreadable += 1,
        }
    }
    (kept, resumed)
}
