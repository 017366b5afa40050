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

/// Writes the index; returns its length in bytes.
///
/// Records are in the order of the data set, blobs in that of the shards. Only the records are held in memory.
pub(crate) fn write(folder: &Path, split: Split, finished: &[Finished], classes: &[String]) -> Result<u64, DataError> {
    let images = finished.iter().map(|finished| finished.counts.images).sum();
    let blob_bytes = finished.iter().map(|finished| finished.blob_bytes).sum();
    let shards = finished.iter().map(|finished| finished.shard.clone()).collect();
    let head = Head::new(images, blob_bytes, shards, classes.to_vec());
    let records = records(folder, split, finished.len(), &head)?;

    let name = split.index_name();
    let partial = folder.join(format!("{name}{PARTIAL}"));
    let file = File::create(&partial).map_err(io_error("create", &partial))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let failed = write_error(&partial);
    out.write_all(&head.to_bytes()).map_err(&failed)?;
    for (_, record) in &records {
        out.write_all(record).map_err(&failed)?;
    }
    for number in 0..finished.len() {
        out.write_all(parts(folder, split, number)?.blobs()).map_err(&failed)?;
    }
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    settle(&file, folder, &name)?;
    Ok(head.bytes)
}

/// All records by their keys, with the final places of their blobs.
fn records(
    folder: &Path,
    split: Split,
    shards: usize,
    head: &Head,
) -> Result<Vec<(u32, [u8; RECORD_BYTES])>, DataError> {
    let mut records = Vec::with_capacity(head.images as usize);
    let mut first_blob = head.blobs_at;
    for number in 0..shards {
        let parts = parts(folder, split, number)?;
        for bytes in parts.records() {
            let record = Record::from_bytes(bytes);
            let placed = record.and_then(|record| {
                let start = usize::try_from(record.blob).ok()?;
                let blob = parts.blobs().get(start..start.checked_add(record.blob_bytes())?)?;
                Some((record.key, Record { blob: first_blob + record.blob, ..record }.to_bytes(blob)))
            });
            records.push(placed.ok_or_else(|| lost(folder, split, number))?);
        }
        first_blob += parts.blobs().len() as u64;
    }
    records.sort_unstable_by_key(|(key, _)| *key);
    Ok(records)
}

fn parts(folder: &Path, split: Split, number: usize) -> Result<Parts, DataError> {
    journal::read(folder, split.file_stem(), number as u32).ok_or_else(|| lost(folder, split, number))
}

/// The journal was there a moment ago.
fn lost(folder: &Path, split: Split, number: usize) -> DataError {
    let name = shard_name(split.file_stem(), number as u32);
    let problem = format!("{name} or its journal was changed meanwhile; give the same command again");
    DataError::Pack { path: folder.to_owned(), problem }
}
