//! Entry points for fuzzers: each takes any bytes and panics only on a bug.

use std::io;

use crate::source::shards::{Head, Index, PartReader, RECORD_BYTES, Record, Shard};
use crate::source::storage::Blob;
use crate::source::tar::{Member, Tar, index};
use crate::source::webdataset;
use crate::{CropBox, Wants};

/// Takes bytes as the index of a packed split, and as a record and a blob of an index that is otherwise in order: opens
/// it, looks at every record, and reads a crop of every image from a shard that answers with the same bytes.
pub fn shard_index(data: &[u8]) {
    if let Ok(index) = Index::parse(data) {
        read_all(&index, data);
    }
    let Some((record, blob)) = data.split_first_chunk::<RECORD_BYTES>() else { return };
    let Some(record) = Record::from_bytes(record) else { return };
    let shard = Shard { name: "a.tar".to_owned(), bytes: data.len() as u64, opening: [0; 16], hash: [0; 32] };
    let head = Head::new(1, blob.len() as u64, vec![shard], vec!["a".to_owned(), "b".to_owned()]);
    let record = Record { blob: head.blobs_at, shard: 0, label: record.label & 1, ..record };
    let mut bytes = head.to_bytes();
    bytes.extend(record.to_bytes(blob.get(..record.blob_bytes()).unwrap_or(blob)));
    bytes.extend(blob);
    read_all(&Index::parse(bytes.as_slice()).expect("a head as it is written"), data);
}

fn read_all(index: &Index<&[u8]>, data: &[u8]) {
    let (mut reader, mut into) = (PartReader::default(), Vec::new());
    for number in 0..=index.len() {
        let Ok(entry) = index.entry(number) else { continue };
        assert!((entry.record.label as usize) < index.classes().len(), "a label without a class");
        let shard = &index.shards()[entry.record.shard as usize];
        assert!(entry.record.offset + u64::from(entry.record.length) <= shard.bytes, "an image behind its shard");
        let wanted = |width: u32, height: u32| CropBox {
            top: height / 3,
            left: width / 3,
            height: height.div_ceil(3),
            width: width.div_ceil(3),
        };
        // What it reads is nonsense more often than not; it must say so.
        let _ = reader.read(&Held(data), &entry, Wants::new(&wanted), &mut into);
    }
}

/// Takes bytes for a tar archive, its members for archives too; for a shard of a WebDataset; and for a cached index.
pub fn tar(data: &[u8]) {
    let blob = Held(data);
    for member in members(Tar::new(&blob)) {
        let end = member.offset + member.bytes;
        assert!(end <= blob.len(), "a member lies outside of its archive");
        for inner in members(Tar::within(&blob, &member)) {
            assert!(inner.offset >= member.offset && inner.offset + inner.bytes <= end, "a member leaves its archive");
        }
    }
    if let Ok(found) = webdataset::scan("fuzzed.tar", &blob) {
        assert!(found.samples.len() <= data.len() / 512, "more samples than headers");
    }
    for shard in index::decode(data).unwrap_or_default() {
        assert!(shard.found.samples.len() < data.len(), "more samples than bytes");
    }
}

/// The members up to the first fault.
fn members(mut tar: Tar<'_>) -> Vec<Member> {
    let members: Vec<Member> = std::iter::from_fn(|| tar.next().ok().flatten()).collect();
    for member in &members {
        let outside = member.name.starts_with('/') || member.name.split('/').any(|part| part == "..");
        assert!(!outside, "a name leads out of its archive");
    }
    members
}

/// Bytes as a file.
#[derive(Debug)]
struct Held<'a>(&'a [u8]);

impl Blob for Held<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let held = start.and_then(|start| self.0.get(start..)?.get(..into.len()));
        into.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
