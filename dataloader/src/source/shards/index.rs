//! An index in memory or mapped: every access is checked, since the file may be damaged.

use std::ops::Deref;

use super::layout::{Head, RECORD_BYTES, Record, Shard, is_sound};

/// An index over bytes that are held or mapped.
#[derive(Debug)]
pub(crate) struct Index<B> {
    bytes: B,
    head: Head,
}

/// One image: its record, and what its blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Refers to a shard and a class that exist, and to bytes inside the shard.
    pub(crate) record: Record,
    /// The segment index; empty where there is none.
    pub(crate) segments: &'a [u8],
    /// The original name; may be empty.
    pub(crate) name: &'a str,
}

impl<B: Deref<Target = [u8]>> Index<B> {
    /// Checks the head alone.
    ///
    /// # Errors
    /// Says in words what is wrong.
    pub(crate) fn parse(bytes: B) -> Result<Index<B>, String> {
        let head = Head::parse(&bytes)?;
        if head.images == 0 {
            return Err("it holds no images".to_owned());
        }
        Ok(Index { bytes, head })
    }

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.head.images as usize
    }

    /// The shards, as records number them.
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.head.shards
    }

    /// The classes, as labels number them.
    pub(crate) fn classes(&self) -> &[String] {
        &self.head.classes
    }

    /// What the index says of image `number`.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub(crate) fn entry(&self, number: usize) -> Result<Entry<'_>, String> {
        let damaged = |what: &str| format!("record {number} of the index is damaged: {what}; pack the data set again");
        if number >= self.len() {
            return Err(damaged("it is not there"));
        }
        let at = self.head.records_at as usize + number * RECORD_BYTES;
        let bytes: &[u8; RECORD_BYTES] =
            self.bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(|| damaged("it is cut"))?;
        let record = Record::from_bytes(bytes).ok_or_else(|| damaged("its format is unknown"))?;
        let start = usize::try_from(record.blob).map_err(|_| damaged("its blob lies outside"))?;
        let end = start.checked_add(record.blob_bytes()).filter(|_| record.blob >= self.head.blobs_at);
        let blob = end.and_then(|end| self.bytes.get(start..end)).ok_or_else(|| damaged("its blob lies outside"))?;
        if !is_sound(bytes, blob) {
            return Err(damaged("its checksum is wrong"));
        }
        let shard = self.head.shards.get(record.shard as usize).ok_or_else(|| damaged("there is no such shard"))?;
        if record.offset.checked_add(u64::from(record.length)).is_none_or(|end| end > shard.bytes) {
            return Err(damaged("it points behind the end of its shard"));
        }
        if record.label as usize >= self.head.classes.len() {
            return Err(damaged("there is no such class"));
        }
        let (segments, name) = blob.split_at(record.segment_bytes as usize);
        let name = std::str::from_utf8(name).map_err(|_| damaged("its name is no text"))?;
        Ok(Entry { record, segments, name })
    }
}
