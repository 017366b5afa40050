//! The images of another source under the labels of a model: some of them, each with the class that the model knows it by.

use std::borrow::Cow;
use std::sync::Arc;

use crate::{Encoding, ReadError, Source, Wants};

/// A source whose classes are those of a model.
pub(crate) struct Relabelled {
    images: Box<dyn Source>,
    /// The model's class of each class of `images`.
    labels: Vec<u32>,
    classes: Arc<[String]>,
}

impl Relabelled {
    /// `labels[c]` is the class, of `classes`, that class `c` of `images` stands for.
    pub(crate) fn new(images: Box<dyn Source>, labels: Vec<u32>, classes: Arc<[String]>) -> Relabelled {
        Relabelled { images, labels, classes }
    }
}

impl Source for Relabelled {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[self.images.label(index) as usize]
    }

    fn groups(&self) -> &[usize] {
        self.images.groups()
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        self.images.name(index)
    }

    fn read(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        self.images.read(index, wants, into)
    }
}
