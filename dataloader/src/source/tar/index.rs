//! Where the images of a split of tars lie, found by reading their headers once, and kept in the user's cache.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Crc;

use crate::DataError;
use crate::source::classes::MAX_CLASSES;
use crate::source::manifest::{Cache, write_whole};
use crate::source::parallel::look_up;
use crate::source::storage::{Blob, Storage};

const MAGIC: &[u8] = b"rectify tar index 1\n";
const EXTENSION: &str = "tar-index";

/// Images inside one or more archives, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    /// Names, one behind the other; sample `i` ends at `ends[i]`.
    names: String,
    ends: Vec<usize>,
    /// Offset and length in bytes.
    places: Vec<(u64, u64)>,
    pub(crate) labels: Vec<u32>,
}

impl Samples {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn push(&mut self, name: &str, (offset, bytes): (u64, u64), label: u32) {
        self.names.push_str(name);
        self.ends.push(self.names.len());
        self.places.push((offset, bytes));
        self.labels.push(label);
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[start..self.ends[index]]
    }

    /// Offset and length in bytes.
    pub(crate) fn place(&self, index: usize) -> (u64, u64) {
        self.places[index]
    }

    /// The same samples by rising label, and by name among those of one label.
    pub(crate) fn sorted(&self) -> Samples {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|&a, &b| (self.labels[a], self.name(a)).cmp(&(self.labels[b], self.name(b))));
        let mut sorted = Samples::default();
        for index in order {
            sorted.push(self.name(index), self.places[index], self.labels[index]);
        }
        sorted
    }

    pub(crate) fn append(&mut self, others: &Samples) {
        self.ends.extend(others.ends.iter().map(|end| self.names.len() + end));
        self.names.push_str(&others.names);
        self.places.extend_from_slice(&others.places);
        self.labels.extend_from_slice(&others.labels);
    }
}

/// The images of one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its path in the storage.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// What [`Storage::version`] said of it.
    pub(crate) version: Option<String>,
    pub(crate) found: Found,
}

/// What the headers of an archive say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The names of classes, where the archive has them.
    pub(crate) classes: Vec<String>,
    pub(crate) samples: Samples,
}

/// The index of the archives at `paths`: from the cache where an archive has not changed, else from `scan`.
///
/// `what` names the split in the cache. A cache that cannot be read or written is done without.
///
/// # Errors
/// When an archive cannot be opened, or `scan` fails.
pub(crate) fn index(
    storage: &dyn Storage,
    paths: &[String],
    cache: Option<&Cache>,
    what: &str,
    scan: impl Fn(&str, &dyn Blob) -> Result<Found, DataError> + Sync,
) -> Result<Vec<Shard>, DataError> {
    let file = cache.map(|cache| cache.file_of(format!("{what} {}", storage.name("")).as_bytes(), EXTENSION));
    let cached =
        file.as_ref().and_then(|file| fs::read(file).ok()).and_then(|bytes| decode(&bytes)).unwrap_or_default();
    let known = |path: &str| cached.binary_search_by(|shard| shard.path.as_str().cmp(path)).ok();
    let scanned = AtomicBool::new(false);
    let shards = look_up(paths.len(), |index| {
        let path = &paths[index];
        let opened = storage.open(path).map_err(|source| DataError::Io {
            action: "open",
            path: storage.name(path).into(),
            source,
        })?;
        let (bytes, version) = (opened.len(), storage.version(path));
        let same = |shard: &&Shard| version.is_some() && shard.version == version && shard.bytes == bytes;
        if let Some(shard) = known(path).map(|place| &cached[place]).filter(same) {
            return Ok(shard.clone());
        }
        scanned.store(true, Ordering::Relaxed);
        let found = scan(path, opened.as_ref())?;
        Ok(Shard { path: path.clone(), bytes, version, found })
    })?;
    let samples = shards.iter().map(|shard| shard.found.samples.len()).sum();
    if let (Some(file), Some(cache), true) = (file, cache, scanned.into_inner())
        && cache.keeps(samples)
        && let Err(error) = write_whole(&file, &encode(&shards))
    {
        tracing::debug!("cannot cache the index of tars in {}: {error}", file.display());
    }
    Ok(shards)
}

/// Shards whose version is known, sorted by path, as varints and strings with their lengths; a CRC-32 at the end.
fn encode(shards: &[Shard]) -> Vec<u8> {
    let mut kept: Vec<&Shard> = shards.iter().filter(|shard| shard.version.is_some()).collect();
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    let mut out = MAGIC.to_vec();
    put(&mut out, kept.len() as u64);
    for shard in kept {
        put_text(&mut out, &shard.path);
        put(&mut out, shard.bytes);
        put_text(&mut out, shard.version.as_deref().unwrap_or_default());
        put(&mut out, shard.found.classes.len() as u64);
        for class in &shard.found.classes {
            put_text(&mut out, class);
        }
        let samples = &shard.found.samples;
        put(&mut out, samples.len() as u64);
        for index in 0..samples.len() {
            put_text(&mut out, samples.name(index));
            let (offset, bytes) = samples.place(index);
            put(&mut out, offset);
            put(&mut out, bytes);
            put(&mut out, u64::from(samples.labels[index]));
        }
    }
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    out
}

/// What [`encode`] wrote; `None` for anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Shard>> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if checksum(body) != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let shards = (0..take(&mut rest)?).map(|_| take_shard(&mut rest)).collect::<Option<Vec<Shard>>>()?;
    let sorted = shards.is_sorted_by(|a, b| a.path < b.path);
    (rest.is_empty() && sorted).then_some(shards)
}

fn take_shard(rest: &mut &[u8]) -> Option<Shard> {
    let (path, bytes) = (take_text(rest)?.to_owned(), take(rest)?);
    let version = Some(take_text(rest)?.to_owned());
    let mut found = Found::default();
    for _ in 0..take(rest)? {
        found.classes.push(take_text(rest)?.to_owned());
    }
    for _ in 0..take(rest)? {
        let name = take_text(rest)?;
        let (offset, length, label) = (take(rest)?, take(rest)?, u32::try_from(take(rest)?).ok()?);
        let inside = offset.checked_add(length).is_some_and(|end| end <= bytes);
        if !inside || label as usize >= MAX_CLASSES {
            return None;
        }
        found.samples.push(name, (offset, length), label);
    }
    Some(Shard { path, bytes, version, found })
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::source::storage::Local;

    /// Archives of 100 bytes, last changed a minute ago, and a cache for them.
    fn archives(names: &[&str]) -> (tempfile::TempDir, Local, Cache) {
        let scratch = tempfile::tempdir().expect("scratch");
        for name in names {
            let file = File::create(scratch.path().join(name)).expect("created");
            file.set_len(100).expect("long");
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("changed");
        }
        let cache = Cache::in_folder(&scratch.path().join("cache"), 2);
        let storage = Local::new(scratch.path());
        (scratch, storage, cache)
    }

    fn found(path: &str) -> Found {
        let mut samples = Samples::default();
        samples.push(&format!("{path} first"), (3, 90), 7);
        samples.push("sécond", (93, 7), MAX_CLASSES as u32 - 1);
        Found { classes: vec!["cat".to_owned()], samples }
    }

    /// The index, and how many archives were scanned for it.
    fn indexed(storage: &Local, cache: &Cache, names: &[&str]) -> (Vec<Shard>, usize) {
        let scans = AtomicUsize::new(0);
        let paths: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let shards = index(storage, &paths, Some(cache), "train", |path, _| {
            scans.fetch_add(1, Ordering::Relaxed);
            Ok(found(path))
        });
        (shards.expect("indexed"), scans.into_inner())
    }

    #[test]
    fn only_what_has_changed_is_scanned_again() {
        let names = ["b.tar", "a.tar"];
        let (scratch, storage, cache) = archives(&names);
        let (fresh, scans) = indexed(&storage, &cache, &names);
        assert_eq!(scans, 2);
        assert_eq!(indexed(&storage, &cache, &names), (fresh.clone(), 0));
        let file = File::options().write(true).open(scratch.path().join("a.tar")).expect("opened");
        file.set_len(101).expect("longer");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("changed");
        let (changed, scans) = indexed(&storage, &cache, &names);
        assert_eq!((scans, changed[1].bytes, &changed[0]), (1, 101, &fresh[0]));
        file.set_modified(SystemTime::now() - Duration::from_secs(50)).expect("changed");
        assert_eq!(indexed(&storage, &cache, &names).1, 1, "the time of change counts");
    }

    #[test]
    fn a_damaged_cache_is_done_without() {
        let (_scratch, storage, cache) = archives(&["a.tar"]);
        let (fresh, _) = indexed(&storage, &cache, &["a.tar"]);
        let file = cache.file_of(format!("train {}", storage.name("")).as_bytes(), EXTENSION);
        let whole = fs::read(&file).expect("a cache");
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 4;
            assert_eq!(decode(&damaged), None);
            assert_eq!(decode(&whole[..place]), None);
        }
        fs::write(&file, &whole[..50]).expect("written");
        assert_eq!(indexed(&storage, &cache, &["a.tar"]), (fresh, 1));
    }

    #[test]
    fn an_archive_that_has_just_changed_is_not_kept() {
        let (scratch, storage, cache) = archives(&["a.tar"]);
        File::create(scratch.path().join("a.tar")).expect("created anew");
        for _ in 0..2 {
            assert_eq!(indexed(&storage, &cache, &["a.tar"]).1, 1);
        }
    }

    #[test]
    fn samples_sort_by_label_and_name() {
        let mut samples = Samples::default();
        for (name, offset, label) in [("b", 0, 1), ("a", 1, 1), ("z", 2, 0)] {
            samples.push(name, (offset, 1), label);
        }
        let mut twice = samples.sorted();
        assert!((0..3).map(|index| twice.name(index)).eq(["z", "a", "b"]));
        assert_eq!((twice.place(0), &twice.labels), ((2, 1), &vec![0, 1, 1]));
        twice.append(&samples);
        assert!((0..6).map(|index| twice.name(index)).eq(["z", "a", "b", "b", "a", "z"]));
    }
}
