//! The first samples of a fixed shuffle, as a source of its own.

use std::borrow::Cow;

use random::{Key, Permutation, Purpose};

use crate::{DataError, Encoding, ReadError, Source, Wants};

/// Some samples of another source; the classes stay the same.
pub(crate) struct Subset {
    whole: Box<dyn Source>,
    kept: Vec<usize>,
}

impl Subset {
    /// The first `len` samples of the shuffle that `seed` fixes; `key` of the config asked for that many.
    ///
    /// # Errors
    /// When `whole` has fewer than `len` samples.
    pub(crate) fn new(whole: Box<dyn Source>, key: &'static str, len: usize, seed: u64) -> Result<Subset, DataError> {
        if len > whole.len() {
            return Err(DataError::SubsetTooLarge { key, subset: len, len: whole.len() });
        }
        let order = Permutation::new(Key::root(seed).child(Purpose::Subset as u64), whole.len() as u64);
        let kept = (0..len as u64).map(|position| order.at(position) as usize).collect();
        Ok(Subset { whole, kept })
    }
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.whole.label(self.kept[index])
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        self.whole.name(self.kept[index])
    }

    fn read(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        self.whole.read(self.kept[index], wants, into)
    }
}
