//! The caller's end of a loader: batches in order, in memory that is leased and given back.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};

use crate::augment::ErasureWords;
use crate::pipeline::seat::Batch;
use crate::pipeline::stats::Clock;
use crate::{DataError, LoaderStats, SampleKey};

/// The label of a sample that was left out because its image is bad; its pixels are zeros. See [`BadPolicy::Skip`].
///
/// [`BadPolicy::Skip`]: crate::BadPolicy::Skip
pub const SKIPPED: i64 = -1;

/// Memory for one batch, supplied by the caller: a tensor's, pinned, or a plain vector.
pub trait BatchMemory: Send {
    /// The bytes, the same ones at every call: at least [`LoaderSpec::batch_bytes`](crate::LoaderSpec::batch_bytes),
    /// aligned for 32-bit floats where those are delivered.
    fn bytes(&mut self) -> &mut [u8];

    /// Room for what is erased from the images later, where the batches hold bytes: at least
    /// [`LoaderSpec::batch_erasures`](crate::LoaderSpec::batch_erasures) records, the same ones at
    /// every call. Each image has [`RandomErasing::most`](crate::augment::RandomErasing::most) of
    /// them, one image after the other.
    fn erasures(&mut self) -> &mut [ErasureWords] {
        &mut []
    }
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

    fn erasures(&mut self) -> &mut [ErasureWords] {
        M::erasures(self)
    }
}

/// The batches of a running loader.
pub struct Batches<'a, M: BatchMemory> {
    /// Whole batches in any order, or the error that ends the loader.
    pub(crate) filled: Receiver<Result<Batch<M>, DataError>>,
    pub(crate) free: Sender<Batch<M>>,
    /// Dropped with `self`: the sign for all threads to end.
    pub(crate) _stop: Sender<()>,
    pub(crate) stats: &'a LoaderStats,
    /// Whole batches that came before their turn; at most one a buffer.
    pub(crate) early: Vec<Batch<M>>,
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
        let whole = self.wait();
        self.stats.spent(Clock::ConsumerWait, began.elapsed());
        let whole = whole.inspect_err(|_| self.failed = true)?;
        self.next += 1;
        self.stats.batch_taken();
        self.stats.count_batch();
        self.leased.fetch_add(1, Ordering::AcqRel);
        let (free, leased) = (self.free.clone(), Arc::clone(&self.leased));
        Ok(Some(Lease { batch: Some(whole), free, leased }))
    }

    fn wait(&mut self) -> Result<Batch<M>, DataError> {
        loop {
            if let Some(place) = self.early.iter().position(|batch| batch.index == self.next) {
                return Ok(self.early.swap_remove(place));
            }
            self.early.push(self.filled.recv().map_err(|_| DataError::Stopped)??);
        }
    }
}

/// One batch, in memory that goes back to the loader when the lease is dropped. May be sent to another thread.
pub struct Lease<M: BatchMemory> {
    /// There until the lease is dropped.
    batch: Option<Batch<M>>,
    free: Sender<Batch<M>>,
    leased: Arc<AtomicUsize>,
}

impl<M: BatchMemory> Lease<M> {
    /// How many samples the batch has: the micro-batch, or fewer at the end of a sequential order. Skipped ones count.
    pub fn len(&self) -> usize {
        self.batch().labels.len()
    }

    /// Never true: there are no empty batches.
    pub fn is_empty(&self) -> bool {
        self.batch().labels.is_empty()
    }

    /// Rows and columns of its images, which lie one after the other from the beginning of the memory.
    pub fn size(&self) -> u32 {
        self.batch().size
    }

    /// The labels, one a sample; of the replacement where a bad image was replaced, [`SKIPPED`] where it was left out.
    pub fn labels(&self) -> &[i64] {
        &self.batch().labels
    }

    /// The samples' places in the stream, from which all random choices made for them follow.
    pub fn samples(&self) -> &[SampleKey] {
        &self.batch().samples
    }

    fn batch(&self) -> &Batch<M> {
        self.batch.as_ref().expect("taken only by drop")
    }
}

impl<M: BatchMemory> Deref for Lease<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.batch().memory
    }
}

impl<M: BatchMemory> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.batch.as_mut().expect("taken only by drop").memory
    }
}

impl<M: BatchMemory> Drop for Lease<M> {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.leased.fetch_sub(1, Ordering::AcqRel);
            // Where the loader has ended, nobody waits for the memory.
            let _ = self.free.send(batch);
        }
    }
}

impl<M: BatchMemory> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("labels", &self.labels())
            .field("samples", &self.samples())
            .finish_non_exhaustive()
    }
}
