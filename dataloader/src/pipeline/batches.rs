//! The caller's end of a loader: batches in order, in memory that is leased and given back.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};

use crate::pipeline::stats::Clock;
use crate::{DataError, LoaderStats, SampleKey};

/// Memory for one batch, supplied by the caller: a tensor's, pinned, or a plain vector.
pub trait BatchMemory: Send {
    /// The bytes, the same ones at every call: at least [`LoaderSpec::batch_bytes`](crate::LoaderSpec::batch_bytes),
    /// aligned for 32-bit floats where those are delivered.
    fn bytes(&mut self) -> &mut [u8];
}

impl BatchMemory for Vec<u8> {
    fn bytes(&mut self) -> &mut [u8] {
        self
    }
}

impl BatchMemory for Vec<f32> {
    fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(self)
    }
}

impl<M: BatchMemory> BatchMemory for &mut M {
    fn bytes(&mut self) -> &mut [u8] {
        M::bytes(self)
    }
}

/// A whole batch on its way to the caller.
pub(crate) struct Filled<M> {
    pub(crate) index: u64,
    pub(crate) size: u32,
    pub(crate) memory: M,
    pub(crate) labels: Vec<i64>,
    pub(crate) samples: Vec<SampleKey>,
}

/// The batches of a running loader.
pub struct Batches<'a, M: BatchMemory> {
    /// Whole batches in any order, or the error that ends the loader.
    pub(crate) filled: Receiver<Result<Filled<M>, DataError>>,
    pub(crate) free: Sender<M>,
    /// Dropped with `self`: the sign for all threads to end.
    pub(crate) _stop: Sender<()>,
    pub(crate) stats: &'a LoaderStats,
    pub(crate) early: BTreeMap<u64, Filled<M>>,
    pub(crate) next: u64,
    /// How many batches there are, where the order ends.
    pub(crate) end: Option<u64>,
    pub(crate) buffers: usize,
    pub(crate) leased: Arc<AtomicUsize>,
    pub(crate) failed: bool,
}

impl<M: BatchMemory> Batches<'_, M> {
    /// The next batch of the stream; `None` after the last one of a sequential order.
    ///
    /// Waits until it is whole. At least one buffer must not be leased: with `n` buffers up to `n − 1` leases may be
    /// out (two for a copy that overlaps with the next batch, so supply three or more).
    ///
    /// # Errors
    /// When all images are bad, a thread of the loader panicked, or every buffer is leased.
    #[allow(clippy::should_implement_trait)] // an iterator could not say that it failed for good
    pub fn next(&mut self) -> Result<Option<Lease<M>>, DataError> {
        if self.failed {
            return Err(DataError::Stopped);
        }
        if self.end.is_some_and(|end| self.next >= end) {
            return Ok(None);
        }
        if self.leased.load(Ordering::Acquire) == self.buffers {
            return Err(DataError::AllLeased { buffers: self.buffers });
        }
        let began = Instant::now();
        let filled = self.wait();
        self.stats.spent(Clock::ConsumerWait, began.elapsed());
        let Filled { size, memory, labels, samples, .. } = filled.inspect_err(|_| self.failed = true)?;
        self.next += 1;
        self.stats.batches_taken(1);
        self.stats.count_batch();
        self.leased.fetch_add(1, Ordering::AcqRel);
        let (free, leased) = (self.free.clone(), Arc::clone(&self.leased));
        Ok(Some(Lease { memory: Some(memory), size, labels, samples, free, leased }))
    }

    fn wait(&mut self) -> Result<Filled<M>, DataError> {
        loop {
            if let Some(filled) = self.early.remove(&self.next) {
                return Ok(filled);
            }
            let filled = self.filled.recv().map_err(|_| DataError::Stopped)??;
            self.early.insert(filled.index, filled);
        }
    }
}

impl<M: BatchMemory> Drop for Batches<'_, M> {
    fn drop(&mut self) {
        let waiting = self.filled.try_iter().filter(Result::is_ok).count() + self.early.len();
        self.stats.batches_taken(waiting as u64);
    }
}

/// One batch, in memory that goes back to the loader when the lease is dropped. May be sent to another thread.
pub struct Lease<M: BatchMemory> {
    memory: Option<M>,
    size: u32,
    labels: Vec<i64>,
    samples: Vec<SampleKey>,
    free: Sender<M>,
    leased: Arc<AtomicUsize>,
}

impl<M: BatchMemory> Lease<M> {
    /// How many samples the batch has: the micro-batch, or fewer at the end of a sequential order.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: there are no empty batches.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows and columns of its images, which lie one after the other from the beginning of the memory.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The labels, one a sample; of the replacement where a bad image was replaced.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The samples' places in the stream, from which all random choices made for them follow.
    pub fn samples(&self) -> &[SampleKey] {
        &self.samples
    }
}

impl<M: BatchMemory> Deref for Lease<M> {
    type Target = M;

    fn deref(&self) -> &M {
        self.memory.as_ref().expect("taken only by drop")
    }
}

impl<M: BatchMemory> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M {
        self.memory.as_mut().expect("taken only by drop")
    }
}

impl<M: BatchMemory> Drop for Lease<M> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.leased.fetch_sub(1, Ordering::AcqRel);
            // Where the loader has ended, nobody waits for the memory.
            let _ = self.free.send(memory);
        }
    }
}

impl<M: BatchMemory> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("labels", &self.labels).field("samples", &self.samples).finish_non_exhaustive()
    }
}
