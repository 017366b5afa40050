//! One shard while it is written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::pack::journal::{Finished, Journal};
use crate::pack::recode::Recoded;
use crate::pack::{PARTIAL, settle, tar, write_error};
use crate::source::manifest::io_error;
use crate::source::shards::{Record, Shard, key_text, opening_hash};
use crate::source::storage::{Local, Storage};

/// What is known of an image before it is recoded.
pub(crate) struct Sample<'a> {
    /// Its number in the data set.
    pub(crate) index: usize,
    pub(crate) label: u32,
    pub(crate) name: &'a str,
}

/// A shard that is being written under its partial name.
pub(crate) struct OpenShard {
    folder: PathBuf,
    name: String,
    number: u32,
    out: BufWriter<Hashing>,
    offset: u64,
    /// What the index will need of it.
    pub(crate) journal: Journal,
}

/// A file whose bytes are hashed as they are written.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OpenShard {
    /// Begins shard `number` of the split whose files begin with `stem`, with the image at `position` of the order.
    pub(crate) fn begin(folder: &Path, stem: &str, number: u32, position: u64) -> Result<OpenShard, DataError> {
        const BUFFER_BYTES: usize = 1 << 20;
        let name = shard_name(stem, number);
        let path = folder.join(format!("{name}{PARTIAL}"));
        let file = File::create(&path).map_err(io_error("create", &path))?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, Hashing { file, hasher: blake3::Hasher::new() });
        let journal = Journal::new(position);
        Ok(OpenShard { folder: folder.to_owned(), name, number, out, offset: 0, journal })
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Writes an image and its label.
    pub(crate) fn add(&mut self, sample: &Sample<'_>, recoded: &Recoded) -> Result<(), DataError> {
        let name = cut_at(sample.name, usize::from(u16::MAX));
        let record = Record {
            offset: self.offset + tar::BLOCK_BYTES as u64,
            blob: 0,
            length: recoded.bytes.len() as u32,
            shard: self.number,
            label: sample.label,
            width: recoded.width,
            height: recoded.height,
            segment_bytes: recoded.segments.len() as u32,
            name_bytes: name.len() as u16,
            format: recoded.format,
            key: sample.index as u32,
        };
        let label = sample.label.to_string();
        self.write(&record.file_name(), &recoded.bytes)?;
        self.write(&format!("{}.cls", key_text(record.key)), label.as_bytes())?;
        self.journal.add(record, &recoded.segments, name);
        Ok(())
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<(), DataError> {
        let written = tar::write_file(&mut self.out, name, content);
        written.map_err(|error| write_error(&self.folder.join(&self.name))(error))?;
        self.offset += tar::file_bytes(content.len());
        Ok(())
    }

    /// Ends the shard: it gets its name, then its journal is written beside it.
    pub(crate) fn finish(self) -> Result<Finished, DataError> {
        let path = self.folder.join(&self.name);
        let OpenShard { folder, name, mut out, journal, .. } = self;
        tar::write_end(&mut out).and_then(|()| out.flush()).map_err(write_error(&path))?;
        let Hashing { file, hasher } = out.into_inner().map_err(|error| write_error(&path)(error.into_error()))?;
        settle(&file, &folder, &name)?;
        let written = Local::new(&folder).open(&name).map_err(io_error("open", &path))?;
        let opening = opening_hash(written.as_ref()).map_err(io_error("read", &path))?;
        let shard = Shard { bytes: written.len(), opening, hash: *hasher.finalize().as_bytes(), name };
        journal.finish(&folder, shard)
    }
}

/// The name of a shard's file.
pub(crate) fn shard_name(stem: &str, number: u32) -> String {
    format!("{stem}-{number:06}.tar")
}

/// The longest beginning of a text that has at most so many bytes.
fn cut_at(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
