//! Where a batch is filled: every sample goes into its own slot, and no worker ever waits for another one's write.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use random::Purpose;

use crate::SampleKey;
use crate::augment::{Erasure, RandomErasing};
use crate::pipeline::batches::{BatchMemory, SKIPPED};

/// Memory for one batch on its way through the loader, and what is told about the samples in it.
///
/// The vectors travel with the memory, so that nothing is allocated for a batch once they have their size.
pub(crate) struct Batch<M> {
    /// Which of the loader's seats it is filled at; the same for ever.
    pub(crate) seat: usize,
    /// Counted from the first batch delivered.
    pub(crate) index: u64,
    /// Rows and columns of its images.
    pub(crate) size: u32,
    pub(crate) memory: M,
    pub(crate) labels: Vec<i64>,
    pub(crate) samples: Vec<SampleKey>,
}

/// A prepared sample that is to be written.
#[derive(Clone, Copy)]
pub(crate) struct Prepared<'a> {
    /// Its place in the batch.
    pub(crate) slot: usize,
    /// Its label, or [`SKIPPED`] where there is nothing to write but zeros.
    pub(crate) label: i64,
    /// (size, size, 4) bytes; none where it is skipped.
    pub(crate) pixels: &'a [u8],
}

/// The place of one batch that is being filled.
///
/// A worker that finds the memory in another one's hands leaves its pixels, and goes on; whoever has the memory writes
/// what was left before it lets go, or just after. So one thread at a time writes to a batch, and none waits.
pub(crate) struct Seat<M> {
    filling: Mutex<Filling<M>>,
    left: Mutex<Left>,
}

struct Filling<M> {
    batch: Option<Batch<M>>,
    missing: usize,
}

/// Pixels that wait to be written, and vectors for more of them.
#[derive(Default)]
struct Left {
    samples: Vec<LeftSample>,
    spare: Vec<Vec<u8>>,
}

struct LeftSample {
    slot: usize,
    label: i64,
    pixels: Vec<u8>,
}

/// How pixels become what a batch holds, and how many bytes that is for one image.
pub(crate) struct Writer<'a, F> {
    pub(crate) image_bytes: usize,
    pub(crate) write: F,
    /// What is noted beside the pixels.
    pub(crate) noted: Option<Noted<'a>>,
}

/// Rectangles that are erased later.
pub(crate) struct Noted<'a> {
    pub(crate) erasing: &'a RandomErasing,
    /// Rows and columns of the images.
    pub(crate) side: usize,
    /// The seed of the run.
    pub(crate) seed: u64,
}

impl<M> Default for Seat<M> {
    fn default() -> Seat<M> {
        Seat { filling: Mutex::new(Filling { batch: None, missing: 0 }), left: Mutex::default() }
    }
}

impl<M: BatchMemory> Seat<M> {
    /// Begins to fill `batch`, whose samples are known and none of whose pixels are.
    pub(crate) fn begin(&self, mut batch: Batch<M>) {
        let missing = batch.samples.len();
        batch.labels.clear();
        batch.labels.resize(missing, SKIPPED);
        *self.filling.lock().unwrap_or_else(PoisonError::into_inner) = Filling { batch: Some(batch), missing };
    }

    /// Writes one sample into its slot, or leaves it to the thread that is writing there now. The batch, where that made
    /// it whole: exactly one call for each batch returns it.
    pub(crate) fn put<F: Fn(SampleKey, &[u8], &mut [u8])>(
        &self,
        sample: Prepared<'_>,
        writer: &Writer<'_, F>,
    ) -> Option<Batch<M>> {
        match self.try_filling() {
            Some(mut filling) => {
                filling.write(sample, writer);
                if let Some(whole) = filling.take_whole() {
                    return Some(whole);
                }
            }
            None => self.leave(sample),
        }
        self.write_left(writer)
    }

    /// Writes what other threads left here. They may have left it after the writer looked for the last time, so every
    /// thread looks again when its own sample is written or left.
    fn write_left<F: Fn(SampleKey, &[u8], &mut [u8])>(&self, writer: &Writer<'_, F>) -> Option<Batch<M>> {
        while !self.lock_left().samples.is_empty() {
            let mut filling = self.try_filling()?;
            loop {
                let Some(LeftSample { slot, label, pixels }) = self.lock_left().samples.pop() else { break };
                filling.write(Prepared { slot, label, pixels: &pixels }, writer);
                self.lock_left().spare.push(pixels);
            }
            if let Some(whole) = filling.take_whole() {
                return Some(whole);
            }
        }
        None
    }

    fn leave(&self, Prepared { slot, label, pixels: from }: Prepared<'_>) {
        let mut pixels = self.lock_left().spare.pop().unwrap_or_default();
        pixels.clear();
        pixels.extend_from_slice(from);
        self.lock_left().samples.push(LeftSample { slot, label, pixels });
    }

    fn try_filling(&self) -> Option<MutexGuard<'_, Filling<M>>> {
        match self.filling.try_lock() {
            Ok(filling) => Some(filling),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock_left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: BatchMemory> Filling<M> {
    fn write<F: Fn(SampleKey, &[u8], &mut [u8])>(&mut self, sample: Prepared<'_>, writer: &Writer<'_, F>) {
        let batch = self.batch.as_mut().expect("a batch leaves its seat with its last sample");
        let slot = sample.slot;
        let into = &mut batch.memory.bytes()[slot * writer.image_bytes..][..writer.image_bytes];
        if sample.label == SKIPPED {
            into.fill(0);
        } else {
            (writer.write)(batch.samples[slot], sample.pixels, into);
        }
        if let Some(Noted { erasing, side, seed }) = writer.noted {
            let into = &mut batch.memory.erasures()[slot * erasing.most()..][..erasing.most()];
            // The memory is reused: what an earlier batch noted here must go, also where nothing is
            // erased.
            if sample.label == SKIPPED {
                into.fill(Erasure::NONE);
            } else {
                erasing.note(side, batch.samples[slot].key(seed, Purpose::Augment), into);
            }
        }
        batch.labels[slot] = sample.label;
        self.missing -= 1;
    }

    fn take_whole(&mut self) -> Option<Batch<M>> {
        if self.missing == 0 { self.batch.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn batch(samples: usize, image_bytes: usize) -> Batch<Vec<u8>> {
        let samples = (0..samples as u64).map(|sample| SampleKey { epoch: 0, position: sample, sample }).collect();
        let memory = vec![0xAA; 1024 * image_bytes];
        Batch { seat: 0, index: 0, size: 1, memory, labels: Vec::new(), samples }
    }

    /// Four threads that all want to write at once: nothing is lost, nothing is written twice or elsewhere, one thread gets
    /// the batch.
    #[test]
    fn every_sample_is_written_once_whoever_writes_it() {
        const THREADS: usize = 4;
        const SAMPLES: usize = 1000;
        let seat = Seat::default();
        let writer = Writer {
            image_bytes: 8,
            write: |place: SampleKey, pixels: &[u8], into: &mut [u8]| {
                assert!(pixels.iter().all(|&byte| byte == place.sample as u8) && into.iter().all(|&byte| byte == 0xAA));
                into.copy_from_slice(pixels);
            },
            noted: None,
        };
        for _ in 0..20 {
            seat.begin(batch(SAMPLES, 8));
            let start = Barrier::new(THREADS);
            let whole: Vec<Batch<Vec<u8>>> = std::thread::scope(|scope| {
                let fill = |thread: usize| {
                    start.wait();
                    let put = |slot| seat.put(Prepared { slot, label: slot as i64, pixels: &[slot as u8; 8] }, &writer);
                    (thread..SAMPLES).step_by(THREADS).filter_map(put).collect::<Vec<_>>()
                };
                let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || fill(thread))).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(whole.len(), 1);
            assert!(whole[0].labels.iter().copied().eq(0..SAMPLES as i64));
            let bytes = (0..SAMPLES).flat_map(|slot| [slot as u8; 8]);
            assert!(whole[0].memory[..SAMPLES * 8].iter().copied().eq(bytes));
        }
    }

    /// What is left while another thread writes is written by that thread when it is done.
    #[test]
    fn what_is_left_while_somebody_writes_is_not_forgotten() {
        let seat = Seat::default();
        seat.begin(batch(2, 4));
        let nothing = Writer { image_bytes: 4, write: |_: SampleKey, _: &[u8], _: &mut [u8]| (), noted: None };
        let meanwhile = |place: SampleKey, pixels: &[u8], into: &mut [u8]| {
            if place.sample == 0 {
                assert!(seat.put(Prepared { slot: 1, label: 5, pixels: &[7; 4] }, &nothing).is_none());
            }
            into.copy_from_slice(pixels);
        };
        let writer = Writer { image_bytes: 4, write: meanwhile, noted: None };
        let whole = seat.put(Prepared { slot: 0, label: 4, pixels: &[3; 4] }, &writer);
        let whole = whole.expect("both are written");
        assert_eq!((&whole.labels[..], &whole.memory[..8]), (&[4, 5][..], &[3, 3, 3, 3, 7, 7, 7, 7][..]));
    }

    #[test]
    fn a_skipped_sample_is_zeros() {
        let seat = Seat::default();
        seat.begin(batch(1, 4));
        let write = |_: SampleKey, _: &[u8], _: &mut [u8]| panic!("nothing to write");
        let writer = Writer { image_bytes: 4, write, noted: None };
        let whole = seat.put(Prepared { slot: 0, label: SKIPPED, pixels: &[] }, &writer).expect("one sample is all");
        assert_eq!((&whole.labels[..], &whole.memory[..4]), (&[SKIPPED][..], &[0; 4][..]));
    }
}
