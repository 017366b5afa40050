//! Writing the index of a split from the journals of its shards.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::pack::journal::{self, Finished, Parts};
use crate::pack::shard::shard_name;
use crate::pack::{PARTIAL, settle, write_error};
use crate::source::manifest::io_error;
use crate::source::shards::{Head, RECORD_BYTES, Record};
use crate::{DataError, Split};

/// An index that is to be written.
pub(crate) struct Draft<'a> {
    folder: &'a Path,
    split: Split,
    shards: usize,
    head: Head,
}

impl<'a> Draft<'a> {
    /// The index of these shards.
    pub(crate) fn new(folder: &'a Path, split: Split, finished: &[Finished], classes: &[String]) -> Draft<'a> {
        let images = finished.iter().map(|finished| finished.counts.images).sum();
        let blob_bytes = finished.iter().map(|finished| finished.blob_bytes).sum();
        let shards = finished.iter().map(|finished| finished.shard.clone()).collect();
        Draft { folder, split, shards: finished.len(), head: Head::new(images, blob_bytes, shards, classes.to_vec()) }
    }

    /// How long it will be.
    pub(crate) fn bytes(&self) -> u64 {
        self.head.bytes
    }

    /// Writes it: records in the order of the data set, blobs in that of the shards. Only the records are held in memory.
    pub(crate) fn write(&self) -> Result<(), DataError> {
        let records = self.records()?;
        let name = self.split.index_name();
        let partial = self.folder.join(format!("{name}{PARTIAL}"));
        let file = File::create(&partial).map_err(io_error("create", &partial))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let failed = write_error(&partial);
        out.write_all(&self.head.to_bytes()).map_err(&failed)?;
        for (_, record) in &records {
            out.write_all(record).map_err(&failed)?;
        }
        for number in 0..self.shards {
            out.write_all(self.parts(number)?.blobs()).map_err(&failed)?;
        }
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        settle(&file, self.folder, &name)
    }

    /// All records by their keys, with the final places of their blobs.
    fn records(&self) -> Result<Vec<(u32, [u8; RECORD_BYTES])>, DataError> {
        let mut records = Vec::with_capacity(self.head.images as usize);
        let mut first_blob = self.head.blobs_at;
        for number in 0..self.shards {
            let parts = self.parts(number)?;
            for bytes in parts.records() {
                let placed = Record::from_bytes(bytes).and_then(|record| {
                    let start = usize::try_from(record.blob).ok()?;
                    let blob = parts.blobs().get(start..start.checked_add(record.blob_bytes())?)?;
                    Some((record.key, Record { blob: first_blob + record.blob, ..record }.to_bytes(blob)))
                });
                records.push(placed.ok_or_else(|| self.lost(number))?);
            }
            first_blob += parts.blobs().len() as u64;
        }
        records.sort_unstable_by_key(|(key, _)| *key);
        Ok(records)
    }

    fn parts(&self, number: usize) -> Result<Parts, DataError> {
        journal::read(self.folder, self.split.file_stem(), number as u32).ok_or_else(|| self.lost(number))
    }

    /// The journal was there a moment ago.
    fn lost(&self, number: usize) -> DataError {
        let name = shard_name(self.split.file_stem(), number as u32);
        let problem = format!("{name} or its journal was changed meanwhile; give the same command again");
        DataError::Pack { path: self.folder.to_owned(), problem }
    }
}
