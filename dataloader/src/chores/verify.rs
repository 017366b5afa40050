//! Which images of a data set cannot be decoded: `rectify-data verify`.

use crate::chores::scan::scan;
use crate::pixels::crop::Wanted;
use crate::pixels::decode::{Decoder, Rgbx};
use crate::{BadImage, DataError, Decode, Encoding, Source};

/// An image that cannot be trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The sample's index in its source.
    pub index: usize,
    /// What a person calls it.
    pub name: String,
    /// What is wrong with it.
    pub bad: BadImage,
}

/// Decodes every image of a split whole and strictly on all cores; tells of the bad ones, in the order of the source.
///
/// `seen` is called after each image.
///
/// # Errors
/// When threads cannot be started. Bad images are no error here.
pub fn run(source: &dyn Source, seen: &(dyn Fn() + Sync)) -> Result<Vec<Fault>, DataError> {
    let found = scan(source, seen, Strict::default, |strict, index, read| {
        let bad = read.and_then(|(bytes, encoding)| strict.decode(bytes, encoding)).err()?;
        Some(Fault { index, name: source.name(index).into_owned(), bad })
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Decodes whole images, and takes any damage for an error.
pub(crate) struct Strict {
    decoder: Decoder,
    image: Rgbx,
}

impl Default for Strict {
    fn default() -> Strict {
        Strict { decoder: Decoder::new(Decode::Strict), image: Rgbx::default() }
    }
}

impl Strict {
    pub(crate) fn decode(&mut self, bytes: &[u8], encoding: Encoding) -> Result<(), BadImage> {
        self.decoder.decode(bytes, encoding, &Wanted::whole, &mut self.image)?;
        self.image.shrink();
        Ok(())
    }
}
