//! The workers: bytes become pixels in a batch, and a bad image becomes what the policy makes of it.

use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};
use random::Purpose;

use crate::pipeline::batches::{BatchMemory, SKIPPED};
use crate::pipeline::read::Loaded;
use crate::pipeline::seat::{Batch, Noted, Prepared, Writer};
use crate::pipeline::stats::Clock;
use crate::pipeline::{Loader, Outcome, Task, stopping};
use crate::source::patience;
use crate::{BadImage, BadPolicy, DataError, Encoding, Preparer, SampleKey};

/// A vector that an unusually large file needed is given back, not kept.
const KEPT_BYTES: usize = 16 << 20;

impl<M: BatchMemory> Loader<'_, M> {
    /// Turns bytes into pixels, and sends each batch on when its last sample is there.
    pub(super) fn work(
        &self,
        loaded: &Receiver<Loaded>,
        spare: &Sender<Vec<u8>>,
        stop: &Receiver<()>,
        filled: &Sender<Outcome<M>>,
    ) {
        patience::ends_with(stop);
        let mut preparer = Preparer::new(self.spec.decode);
        loop {
            let began = Instant::now();
            let Ok(mut loaded) = loaded.recv() else { return };
            self.stats.spent(Clock::WorkerWait, began.elapsed());
            if stopping(stop) {
                return;
            }
            let held = loaded.bytes.len();
            let began = Instant::now();
            let whole = self.fill(&mut preparer, &mut loaded, stop);
            self.stats.spent(Clock::Preparing, began.elapsed());
            self.budget.give_back(held);
            if loaded.bytes.capacity() <= KEPT_BYTES {
                // Where all readers have ended, nobody needs it.
                let _ = spare.try_send(loaded.bytes);
            }
            let Some(outcome) = whole.transpose() else { continue };
            let failed = outcome.is_err();
            if outcome.is_ok() {
                self.stats.batch_ready();
            }
            if filled.send(outcome).is_err() || failed {
                return;
            }
        }
    }

    /// Writes one sample into its place. The batch, where that was its last missing one and the loader goes on.
    fn fill(
        &self,
        preparer: &mut Preparer,
        loaded: &mut Loaded,
        stop: &Receiver<()>,
    ) -> Result<Option<Batch<M>>, DataError> {
        let task = loaded.task;
        let mut sample = task.place.sample as usize;
        loop {
            let outcome = match &loaded.read {
                Ok(encoding) => self.prepare(preparer, &loaded.bytes, *encoding, task),
                Err(error) => Err(BadImage::unread(error)),
            };
            let bad = match outcome {
                Ok(pixels) => return Ok(self.deliver(task, pixels, i64::from(self.source.label(sample)))),
                Err(bad) => bad,
            };
            // A read that was cut off because the loader ends says nothing about its sample.
            if stopping(stop) {
                return Ok(None);
            }
            self.bad.note(sample, &self.source.name(sample), &bad, self.stats);
            match self.instead_of(sample, bad)? {
                Some(next) => sample = next,
                None => return Ok(self.deliver(task, &[], SKIPPED)),
            }
            loaded.read = self.read_sample(sample, task, &mut loaded.bytes);
        }
    }

    /// What to read in place of a bad sample, as the policy has it: the next good one of the source, or nothing.
    fn instead_of(&self, sample: usize, bad: BadImage) -> Result<Option<usize>, DataError> {
        let len = self.source.len();
        let name = || self.source.name(sample).into_owned();
        let replacement = match self.spec.bad {
            BadPolicy::Replace => (1..len).map(|ahead| (sample + ahead) % len).find(|&next| !self.bad.is_known(next)),
            BadPolicy::Skip if self.bad.len() < len => return Ok(None),
            BadPolicy::Skip => None,
            BadPolicy::Fail => return Err(DataError::BadImage { name: name(), bad }),
        };
        replacement.map(Some).ok_or_else(|| DataError::AllBad { len, name: name(), bad })
    }

    /// The pixels of one sample; counts how long its two stages took.
    fn prepare<'p>(
        &self,
        preparer: &'p mut Preparer,
        bytes: &[u8],
        encoding: Encoding,
        task: Task,
    ) -> Result<&'p [u8], BadImage> {
        let (transform, key) = (self.sizes.transform(task.stage), task.place.key(self.spec.seed, Purpose::Augment));
        let began = Instant::now();
        let decoded = preparer.decode(bytes, encoding, transform, key);
        self.stats.spent(Clock::Decoding, began.elapsed());
        let began = Instant::now();
        let pixels = preparer.resize(decoded?, transform, key);
        self.stats.spent(Clock::Resizing, began.elapsed());
        Ok(pixels)
    }

    fn deliver(&self, task: Task, pixels: &[u8], label: i64) -> Option<Batch<M>> {
        let began = Instant::now();
        let transform = self.sizes.transform(task.stage);
        let write = |place: SampleKey, pixels: &[u8], into: &mut [u8]| {
            transform.write(pixels, into);
            transform.erase(into, place.key(self.spec.seed, Purpose::Augment));
        };
        let noted =
            transform.noted().map(|erasing| Noted { erasing, side: transform.size as usize, seed: self.spec.seed });
        let writer = Writer { image_bytes: transform.image_bytes(), write, noted };
        let whole = self.seats[task.seat].put(Prepared { slot: task.slot, label, pixels }, &writer);
        self.stats.spent(Clock::Writing, began.elapsed());
        if label != SKIPPED {
            self.stats.count_image();
        }
        whole
    }
}
