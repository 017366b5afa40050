//! What the index needs of a finished shard, kept beside it until the index is written: by it packing goes on where it
//! was stopped.
//!
//! A journal holds 8 bytes of magic, the length of a JSON text (8 bytes, little endian), the text, the records as the
//! index has them (48 bytes each; places of blobs counted from the first blob), the blobs, and the BLAKE3 of all that.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::pack::shard::shard_name;
use crate::pack::{SplitSummary, write_whole};
use crate::source::shards::{RECORD_BYTES, Record, Shard};
use crate::{BadImage, DataError};

const MAGIC: [u8; 8] = *b"\x89RPARTS\n";
const HASH_BYTES: usize = 32;

/// What has been packed into one shard.
pub(crate) struct Journal {
    text: Text,
    records: Vec<u8>,
    blobs: Vec<u8>,
}

/// A finished shard; records and blobs stay on disk.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) shard: Shard,
    /// The positions of the order that it holds, or that were left out meanwhile.
    pub(crate) positions: std::ops::Range<u64>,
    pub(crate) counts: SplitSummary,
    /// Lines for the list of what was left out.
    pub(crate) left_out: Vec<String>,
    pub(crate) blob_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Text {
    first: u64,
    end: u64,
    counts: SplitSummary,
    left_out: Vec<String>,
    shard: Option<ShardText>,
}

#[derive(Serialize, Deserialize)]
struct ShardText {
    name: String,
    bytes: u64,
    opening: [u8; 16],
    hash: [u8; 32],
}

impl Journal {
    /// Of a shard that begins at a position of the order.
    pub(crate) fn new(position: u64) -> Journal {
        let text =
            Text { first: position, end: position, counts: SplitSummary::default(), left_out: Vec::new(), shard: None };
        Journal { text, records: Vec::new(), blobs: Vec::new() }
    }

    /// Images packed so far.
    pub(crate) fn images(&self) -> u64 {
        self.text.counts.images
    }

    /// Notes that the sample at the next position was read, and had so many bytes.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.text.end += 1;
        self.text.counts.bytes_in += bytes as u64;
    }

    /// Notes an image that was written.
    pub(crate) fn add(&mut self, record: Record, segments: &[u8], name: &str) {
        let start = self.blobs.len();
        self.blobs.extend_from_slice(segments);
        self.blobs.extend_from_slice(name.as_bytes());
        let record = Record { blob: start as u64, ..record };
        self.records.extend(record.to_bytes(&self.blobs[start..]));
        self.text.counts.images += 1;
        self.text.counts.as_they_are += u64::from(segments.is_empty());
    }

    /// Notes an image that was left out.
    pub(crate) fn leave_out(&mut self, name: &str, bad: &BadImage) {
        // One line an image, whatever its name holds.
        let name = name.replace(char::is_control, "\u{FFFD}");
        self.text.left_out.push(format!("{name}\t{}\n", bad.reason));
        self.text.counts.left_out += 1;
    }

    /// Writes the journal of a shard that is whole.
    pub(crate) fn finish(mut self, folder: &Path, shard: Shard) -> Result<Finished, DataError> {
        self.text.counts.shards = 1;
        self.text.counts.bytes_out = shard.bytes;
        let Shard { name, bytes, opening, hash } = shard;
        let file = journal_name(&name);
        self.text.shard = Some(ShardText { name, bytes, opening, hash });
        let text = serde_json::to_vec(&self.text).expect("plain numbers and text");
        let mut whole = Vec::with_capacity(16 + text.len() + self.records.len() + self.blobs.len() + HASH_BYTES);
        whole.extend(MAGIC);
        whole.extend((text.len() as u64).to_le_bytes());
        for part in [&text, &self.records, &self.blobs] {
            whole.extend_from_slice(part);
        }
        let hash = blake3::hash(&whole);
        whole.extend(hash.as_bytes());
        write_whole(folder, &file, &whole)?;
        Ok(finished(self.text, self.blobs.len() as u64).expect("the shard was put in above"))
    }
}

fn finished(text: Text, blob_bytes: u64) -> Option<Finished> {
    let ShardText { name, bytes, opening, hash } = text.shard?;
    let shard = Shard { name, bytes, opening, hash };
    Some(Finished { shard, positions: text.first..text.end, counts: text.counts, left_out: text.left_out, blob_bytes })
}

/// A journal read again.
pub(crate) struct Parts {
    pub(crate) finished: Finished,
    bytes: Vec<u8>,
    records_at: usize,
    blobs_at: usize,
}

impl Parts {
    /// Each record as it lies in the journal.
    pub(crate) fn records(&self) -> &[[u8; RECORD_BYTES]] {
        self.bytes[self.records_at..self.blobs_at].as_chunks().0
    }

    pub(crate) fn blobs(&self) -> &[u8] {
        &self.bytes[self.blobs_at..self.bytes.len() - HASH_BYTES]
    }
}

/// The journal of shard `number`, where both are there and whole.
///
/// The shard itself is not read again: it was synced before its journal was written.
pub(crate) fn read(folder: &Path, stem: &str, number: u32) -> Option<Parts> {
    let name = shard_name(stem, number);
    let bytes = fs::read(folder.join(journal_name(&name))).ok()?;
    let (content, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
    if blake3::hash(content) != *hash || !content.starts_with(&MAGIC) {
        return None;
    }
    let length = u64::from_le_bytes(*content.get(8..)?.first_chunk()?);
    let records_at = 16usize.checked_add(usize::try_from(length).ok()?)?;
    let text: Text = serde_json::from_slice(content.get(16..records_at)?).ok()?;
    let blobs_at = records_at + usize::try_from(text.counts.images).ok()? * RECORD_BYTES;
    let blob_bytes = content.len().checked_sub(blobs_at)? as u64;
    let finished = finished(text, blob_bytes)?;
    let there = fs::metadata(folder.join(&name)).ok()?.len();
    (finished.shard.name == name && there == finished.shard.bytes).then_some(Parts {
        finished,
        bytes,
        records_at,
        blobs_at,
    })
}

/// Removes the journals of a split whose index is written.
pub(crate) fn remove<'a>(folder: &Path, shards: impl Iterator<Item = &'a String>) {
    for shard in shards {
        // One that stays is in nobody's way, and the next call tries again.
        let _ = fs::remove_file(folder.join(journal_name(shard)));
    }
}

fn journal_name(shard: &str) -> String {
    format!("{shard}.journal")
}
