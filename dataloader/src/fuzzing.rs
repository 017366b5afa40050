//! Entry points for fuzzers: each takes any bytes and panics only on a bug.

use std::io;

use crate::source::storage::Blob;
use crate::source::tar::{Member, Tar, index};
use crate::source::webdataset;

/// Takes bytes for a tar archive, its members for archives too; for a shard of a WebDataset; and for a cached index.
pub fn tar(data: &[u8]) {
    let blob = Bytes(data);
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

#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl Blob for Bytes<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let found = rest.and_then(|rest| rest.get(..into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }
}
