//! The planner and the readers: which sample goes where, and its bytes, read ahead of the workers.

use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, select};
use random::{Key, Purpose};

use crate::pipeline::batches::BatchMemory;
use crate::pipeline::seat::Batch;
use crate::pipeline::stats::Clock;
use crate::pipeline::{Loader, Task, stopping};
use crate::{Encoding, ReadError, Stream, Wants};

/// A task with the bytes of its sample.
pub(super) struct Loaded {
    pub(super) task: Task,
    pub(super) bytes: Vec<u8>,
    pub(super) read: Result<Encoding, ReadError>,
}

impl<M: BatchMemory> Loader<'_, M> {
    /// Hands out tasks in order, one batch for each free buffer.
    pub(super) fn plan(&self, free: &Receiver<Batch<M>>, stop: &Receiver<()>, tasks: &Sender<Task>) {
        let len = self.source.len() as u64;
        let share = self.spec.share();
        let mut stream = Stream::over(self.spec.seed, self.spec.order, self.source);
        let mut places = Vec::with_capacity(self.spec.micro_batch);
        let mut index = 0;
        while let Some(positions) = share.positions(index, len) {
            let began = Instant::now();
            let batch = select! {
                recv(free) -> batch => batch.ok(),
                recv(stop) -> _ => None,
            };
            self.stats.spent(Clock::MemoryWait, began.elapsed());
            let Some(mut batch) = batch else { return };
            let seat = batch.seat;
            places.clear();
            places.extend(positions.map(|position| stream.at(position)));
            batch.index = index;
            batch.samples.clone_from(&places);
            self.seats[seat].begin(batch);
            for (slot, &place) in places.iter().enumerate() {
                if tasks.send(Task { seat, slot, place }).is_err() {
                    return;
                }
            }
            index += 1;
        }
    }

    /// Reads the bytes of each task's sample.
    pub(super) fn read(
        &self,
        tasks: &Receiver<Task>,
        spare: &Receiver<Vec<u8>>,
        stop: &Receiver<()>,
        out: &Sender<Loaded>,
    ) {
        for task in tasks {
            if stopping(stop) {
                return;
            }
            let mut bytes = spare.try_recv().unwrap_or_default();
            let key = task.place.key(self.spec.seed, Purpose::Augment);
            let read = self.read_sample(task.place.sample as usize, key, &mut bytes);
            self.budget.take(bytes.len(), || stopping(stop));
            if out.send(Loaded { task, bytes, read }).is_err() {
                return;
            }
        }
    }

    /// Reads a sample, or the part of it that the draws of `key` make of it.
    pub(super) fn read_sample(&self, sample: usize, key: Key, bytes: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        let began = Instant::now();
        let wanted = |width, height| self.spec.transform.wanted(width, height, key).pixels;
        let read = self.source.read(sample, Wants::new(&wanted), bytes);
        self.stats.spent(Clock::Reading, began.elapsed());
        self.stats.count_bytes(bytes.len());
        read
    }
}
