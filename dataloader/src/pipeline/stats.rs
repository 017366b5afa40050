//! What a loader counts while it works: plain atomics that the caller reads at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Reason;

/// Counters of one or several loaders; all grow for ever, except the queue depth.
#[derive(Debug, Default)]
pub struct LoaderStats {
    images: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    ready: AtomicU64,
    bad: [AtomicU64; Reason::ALL.len()],
    reading_ns: AtomicU64,
    preparing_ns: AtomicU64,
    decoding_ns: AtomicU64,
    resizing_ns: AtomicU64,
    writing_ns: AtomicU64,
    consumer_waited_ns: AtomicU64,
    workers_waited_ns: AtomicU64,
    memory_waited_ns: AtomicU64,
}

/// A place where time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Reading,
    Preparing,
    Decoding,
    Resizing,
    Writing,
    ConsumerWait,
    WorkerWait,
    MemoryWait,
}

impl LoaderStats {
    /// All counters at zero.
    pub fn new() -> LoaderStats {
        LoaderStats::default()
    }

    /// Images written into batches; skipped ones are not among them.
    pub fn images(&self) -> u64 {
        self.images.load(Ordering::Relaxed)
    }

    /// Encoded bytes read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Batches handed to the caller.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Whole batches that wait for the caller now.
    pub fn queue_depth(&self) -> u64 {
        self.ready.load(Ordering::Relaxed)
    }

    /// Different bad images met so far, for one reason.
    pub fn bad(&self, reason: Reason) -> u64 {
        self.bad[reason as usize].load(Ordering::Relaxed)
    }

    /// Different bad images met so far, for any reason.
    pub fn bad_total(&self) -> u64 {
        Reason::ALL.iter().map(|&reason| self.bad(reason)).sum()
    }

    /// Time spent reading files, summed over the readers.
    pub fn reading(&self) -> Duration {
        duration(&self.reading_ns)
    }

    /// Time spent decoding and transforming, summed over the workers.
    pub fn preparing(&self) -> Duration {
        duration(&self.preparing_ns)
    }

    /// Time spent decoding, summed over the workers: a part of [`preparing`](Self::preparing).
    pub fn decoding(&self) -> Duration {
        duration(&self.decoding_ns)
    }

    /// Time spent cropping, resizing and mirroring, summed over the workers.
    pub fn resizing(&self) -> Duration {
        duration(&self.resizing_ns)
    }

    /// Time spent writing pixels into batches, summed over the workers.
    pub fn writing(&self) -> Duration {
        duration(&self.writing_ns)
    }

    /// Time the caller waited for a batch: where it grows, the loader is too slow.
    pub fn consumer_waited(&self) -> Duration {
        duration(&self.consumer_waited_ns)
    }

    /// Time the workers waited for bytes, summed over them: where it grows, storage or the caller is too slow.
    pub fn workers_waited(&self) -> Duration {
        duration(&self.workers_waited_ns)
    }

    /// Time the loader waited for free batch memory: where it grows, the caller is slower than the loader.
    pub fn memory_waited(&self) -> Duration {
        duration(&self.memory_waited_ns)
    }

    pub(crate) fn count_image(&self) {
        self.images.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn batch_ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn batch_taken(&self) {
        self.ready.fetch_sub(1, Ordering::Relaxed);
    }

    /// What was ready when the loader ended waits for nobody.
    pub(crate) fn none_ready(&self) {
        self.ready.store(0, Ordering::Relaxed);
    }

    pub(crate) fn count_bad(&self, reason: Reason) {
        self.bad[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn spent(&self, clock: Clock, time: Duration) {
        let counter = match clock {
            Clock::Reading => &self.reading_ns,
            Clock::Preparing => &self.preparing_ns,
            Clock::Decoding => &self.decoding_ns,
            Clock::Resizing => &self.resizing_ns,
            Clock::Writing => &self.writing_ns,
            Clock::ConsumerWait => &self.consumer_waited_ns,
            Clock::WorkerWait => &self.workers_waited_ns,
            Clock::MemoryWait => &self.memory_waited_ns,
        };
        counter.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

fn duration(counter: &AtomicU64) -> Duration {
    Duration::from_nanos(counter.load(Ordering::Relaxed))
}
