//! A source whose images are whole files, each with a label of its own.

use std::borrow::Cow;
use std::sync::Arc;

use crate::source::storage::{Storage, read_image};
use crate::{Encoding, ReadError, Source, Wants};

/// One split of files.
pub(crate) struct Files {
    storage: Arc<dyn Storage>,
    paths: Paths,
    labels: Vec<u32>,
    classes: Arc<[String]>,
}

impl Files {
    /// Files of a storage and their labels, of which there are as many.
    pub(crate) fn new(storage: Arc<dyn Storage>, paths: Paths, labels: Vec<u32>, classes: Arc<[String]>) -> Files {
        Files { storage, paths, labels, classes }
    }
}

impl Source for Files {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(self.storage.name(self.paths.get(index)))
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        self.storage
            .open(self.paths.get(index))
            .and_then(|file| read_image(file.as_ref(), 0, file.len(), into))
            .map(|()| Encoding::File)
            .map_err(|source| ReadError { name: self.name(index).into_owned(), source })
    }
}

/// Many paths in little memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// One behind the other; path `i` ends at `ends[i]`.
    text: String,
    ends: Vec<usize>,
}

impl Paths {
    pub(crate) fn push(&mut self, path: &str) {
        self.text.push_str(path);
        self.ends.push(self.text.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }
}
