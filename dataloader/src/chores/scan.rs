//! Looking at every sample of a source on all cores, with what was found in the order of the samples.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

use crate::pixels::decode::panic_message;
use crate::{BadImage, DataError, Encoding, Reason, Source, Wants};

/// Samples that a thread takes at a time: few, since files differ in size.
const TAKEN: usize = 8;

/// Looks at each sample's bytes, and calls `seen` after each; `begin` makes what a thread keeps between samples.
///
/// `look` gets the sample's index and its bytes, or why they cannot be read.
///
/// # Errors
/// When a thread cannot be started, or panics.
pub(crate) fn scan<K, T: Send>(
    source: &dyn Source,
    seen: &(dyn Fn() + Sync),
    begin: impl Fn() -> K + Sync,
    look: impl Fn(&mut K, usize, Result<(&[u8], Encoding), BadImage>) -> T + Sync,
) -> Result<Vec<T>, DataError> {
    let (len, next) = (source.len(), AtomicUsize::new(0));
    let work = || {
        let (mut kept, mut bytes, mut found) = (begin(), Vec::new(), Vec::new());
        loop {
            let first = next.fetch_add(TAKEN, Ordering::Relaxed);
            if first >= len {
                return found;
            }
            for index in first..len.min(first + TAKEN) {
                let read = source.read(index, Wants::EVERYTHING, &mut bytes);
                let read = read.map_err(|error| BadImage::new(Reason::Unreadable, error.source));
                found.push((index, look(&mut kept, index, read.map(|encoding| (&bytes[..], encoding)))));
                seen();
            }
        }
    };
    let threads = available_parallelism().map_or(1, usize::from).min(len.div_ceil(TAKEN)).max(1);
    let mut found = scope(|scope| {
        let spawn = |_| Builder::new().name("scan".to_owned()).spawn_scoped(scope, work);
        let running: Vec<_> = (0..threads).map(spawn).collect();
        let mut found = Vec::with_capacity(len);
        for thread in running {
            let thread = thread.map_err(|source| DataError::Thread { source })?;
            let part = thread.join().map_err(|panic| DataError::WorkerPanicked {
                thread: "scan",
                message: panic_message(panic.as_ref()),
            })?;
            found.extend(part);
        }
        Ok(found)
    })?;
    found.sort_unstable_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, found)| found).collect())
}
