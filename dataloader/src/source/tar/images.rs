//! A source whose images lie in tars, each read where it lies.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::paths::shown;
use crate::source::storage::{Blob, Storage, read_image};
use crate::source::tar::index::{Samples, Shard};
use crate::{Encoding, ReadError, Source, Wants};

/// Archives that one split keeps open: two splits stay well below the 1,024 files that a process may usually have open.
const MAX_OPEN: usize = 256;

/// One split of images in tars.
pub(crate) struct TarImages {
    shelf: Shelf,
    /// Where the samples of each archive end.
    ends: Vec<usize>,
    samples: Samples,
    classes: Arc<[String]>,
}

impl TarImages {
    /// The samples of all shards, one shard after the other.
    pub(crate) fn new(storage: Arc<dyn Storage>, shards: &[Shard], classes: Arc<[String]>) -> TarImages {
        let (mut ends, mut samples) = (Vec::new(), Samples::default());
        for shard in shards {
            samples.append(&shard.found.samples);
            ends.push(samples.len());
        }
        TarImages { shelf: Shelf::new(storage, shards, MAX_OPEN), ends, samples, classes }
    }

    fn shard(&self, index: usize) -> usize {
        self.ends.partition_point(|&end| end <= index)
    }
}

impl Source for TarImages {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.samples.labels[index]
    }

    fn groups(&self) -> &[usize] {
        &self.ends
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(format!("{}#{}", self.shelf.name(self.shard(index)), shown(self.samples.name(index))))
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        let (offset, bytes) = self.samples.place(index);
        self.shelf
            .open(self.shard(index))
            .and_then(|archive| read_image(archive.as_ref(), offset, bytes, into))
            .map(|()| Encoding::File)
            .map_err(|source| ReadError { name: self.name(index).into_owned(), source })
    }
}

/// Archives that are opened when they are needed; those opened longest ago are closed where too many are open.
struct Shelf {
    storage: Arc<dyn Storage>,
    archives: Vec<Archive>,
    /// The open ones, in the order of their opening.
    opened: Mutex<VecDeque<usize>>,
    max_open: usize,
}

struct Archive {
    path: String,
    bytes: u64,
    open: Mutex<Option<Arc<dyn Blob>>>,
}

impl Shelf {
    fn new(storage: Arc<dyn Storage>, shards: &[Shard], max_open: usize) -> Shelf {
        let closed = |shard: &Shard| Archive { path: shard.path.clone(), bytes: shard.bytes, open: Mutex::new(None) };
        let archives = shards.iter().map(closed).collect();
        Shelf { storage, archives, opened: Mutex::default(), max_open }
    }

    fn name(&self, archive: usize) -> String {
        self.storage.name(&self.archives[archive].path)
    }

    fn open(&self, archive: usize) -> io::Result<Arc<dyn Blob>> {
        let Archive { path, bytes, open: place } = &self.archives[archive];
        let mut place = lock(place);
        if let Some(open) = place.as_ref() {
            return Ok(Arc::clone(open));
        }
        let open: Arc<dyn Blob> = Arc::from(self.storage.open(path)?);
        if open.len() != *bytes {
            let problem = format!("the archive has {} bytes, but had {bytes} when it was indexed", open.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        *place = Some(Arc::clone(&open));
        drop(place);
        let mut opened = lock(&self.opened);
        opened.push_back(archive);
        let oldest = if opened.len() > self.max_open { opened.pop_front() } else { None };
        drop(opened);
        if let Some(oldest) = oldest {
            *lock(&self.archives[oldest].open) = None;
        }
        Ok(open)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::storage::Local;

    #[test]
    fn few_archives_stay_open_and_all_are_read() {
        let scratch = tempfile::tempdir().expect("scratch");
        let shards: Vec<Shard> = (0..5u8)
            .map(|index| {
                let path = format!("{index}.tar");
                fs::write(scratch.path().join(&path), [index; 9]).expect("written");
                Shard { path, bytes: 9, ..Shard::default() }
            })
            .collect();
        let shelf = Shelf::new(Arc::new(Local::new(scratch.path())), &shards, 2);
        for archive in [0, 1, 0, 2, 3, 4, 0, 4, 1, 1] {
            let mut bytes = [9; 3];
            shelf.open(archive).and_then(|open| open.read_at(2, &mut bytes)).expect("read");
            assert_eq!(bytes, [archive as u8; 3]);
            let open = shelf.archives.iter().filter(|archive| lock(&archive.open).is_some()).count();
            assert!(open <= 2, "{open} are open");
        }
        fs::write(scratch.path().join("3.tar"), [3; 8]).expect("shortened");
        assert!(shelf.open(3).expect_err("it has changed").to_string().contains("had 9 when it was indexed"));
    }
}
