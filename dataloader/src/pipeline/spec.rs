//! What one loader is asked to do, and whether that fits together.

use std::path::PathBuf;

use crate::augment::RandomErasing;
use crate::pipeline::sizes::Sizes;
use crate::pipeline::threads::usable_cores;
use crate::{BadPolicy, DataError, Decode, Order, Share, Transform};

/// One rank's loader over one source.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderSpec {
    /// The seed of the run: orders and augmentations follow from it.
    pub seed: u64,
    /// Endless and shuffled in one of several ways, or once in order.
    pub order: Order,
    /// How often each sample comes in a row in an endless order, each time with draws of its own; at least 1.
    pub repeats: usize,
    /// What becomes of each image.
    pub transform: Transform,
    /// Progressive resizing of an endless order: an epoch, and what `transform.size` is from then on; the epochs rise
    /// from 0. Empty leaves the size as it is.
    pub sizes: Vec<(u64, u32)>,
    /// Samples of one step over all ranks: a multiple of `world_size · micro_batch`. Not used by [`Order::Sequential`].
    pub global_batch: usize,
    /// This process, in `0..world_size`.
    pub rank: usize,
    /// How many processes share the stream.
    pub world_size: usize,
    /// Samples of one delivered batch, at least 1.
    pub micro_batch: usize,
    /// The first step to deliver: the steps before it are skipped without reading them.
    pub start_step: u64,
    /// Decode threads; 0 means one a core that this process may use.
    pub workers: usize,
    /// Whether each decode thread stays on one core of those that this process may use.
    pub pin_workers: bool,
    /// Reading threads, which is how many files are read at once; 0 means 1.
    pub readers: usize,
    /// How much of a JPEG is looked at.
    pub decode: Decode,
    /// What becomes of a bad image.
    pub bad: BadPolicy,
    /// Where bad images are listed; `None` lists them nowhere.
    pub bad_images: Option<PathBuf>,
}

impl LoaderSpec {
    /// A loader of one process that goes once through a source in order, as evaluation does.
    pub fn once(transform: Transform, batch: usize) -> LoaderSpec {
        LoaderSpec {
            seed: 0,
            order: Order::Sequential,
            repeats: 1,
            transform,
            sizes: Vec::new(),
            global_batch: batch,
            rank: 0,
            world_size: 1,
            micro_batch: batch,
            start_step: 0,
            workers: 0,
            pin_workers: false,
            readers: 1,
            decode: Decode::Region,
            bad: BadPolicy::Replace,
            bad_images: None,
        }
    }

    /// Bytes of memory that a delivered batch of the largest size needs.
    pub fn batch_bytes(&self) -> usize {
        self.micro_batch * self.sizes().largest().image_bytes()
    }

    /// Records of erased rectangles of a delivered batch: none where it holds floats, from which
    /// the loader erases by itself. A record has [`Erasure::WORDS`](crate::augment::Erasure::WORDS)
    /// words, whatever the sizes of rectangle and image, so memory for the most rectangles is
    /// small, and a batch never needs more.
    pub fn batch_erasures(&self) -> usize {
        self.micro_batch * self.transform.noted().map_or(0, RandomErasing::most)
    }

    /// Rows and columns of the images of a step, over a source of `len` samples.
    pub fn size_at(&self, step: u64, len: usize) -> u32 {
        let sizes = self.sizes();
        sizes.transform(sizes.stage_at(step * self.global_batch as u64, len.max(1) as u64)).size
    }

    /// The sizes of its batches.
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::new(self)
    }

    /// This rank's part of the stream.
    pub(crate) fn share(&self) -> Share {
        Share {
            order: self.order,
            global_batch: self.global_batch as u64,
            rank: self.rank as u64,
            world_size: self.world_size as u64,
            micro_batch: self.micro_batch as u64,
            start_step: self.start_step,
        }
    }

    pub(crate) fn worker_threads(&self) -> usize {
        if self.workers > 0 { self.workers } else { usable_cores() }
    }

    pub(crate) fn reader_threads(&self) -> usize {
        self.readers.max(1)
    }

    /// Refuses what does not fit together.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let invalid = |field, problem| Err(DataError::InvalidSpec { field, problem });
        if self.micro_batch == 0 {
            return invalid("micro_batch", "0 samples; at least 1 is needed".to_owned());
        }
        if self.rank >= self.world_size {
            return invalid("rank", format!("rank {} of a world of {}", self.rank, self.world_size));
        }
        let shared = self.world_size * self.micro_batch;
        if self.order == (Order::Windowed { shards: 0 }) {
            return invalid("order", "a window of 0 shards; at least 1 is needed".to_owned());
        }
        if self.order != Order::Sequential && (self.global_batch == 0 || !self.global_batch.is_multiple_of(shared)) {
            let problem = format!(
                "{} is not a positive multiple of {} ranks times micro-batches of {}",
                self.global_batch, self.world_size, self.micro_batch
            );
            return invalid("global_batch", problem);
        }
        if self.repeats == 0 {
            return invalid("repeats", "0; each sample comes at least once".to_owned());
        }
        let rising = self.sizes.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !rising || self.sizes.first().is_some_and(|(epoch, _)| *epoch != 0) {
            return invalid("sizes", format!("the epochs of {:?} do not rise from 0", self.sizes));
        }
        if self.sizes.iter().any(|(_, size)| *size == 0) {
            return invalid("sizes", "a size of 0; at least 1 pixel is needed".to_owned());
        }
        self.transform.check()
    }
}
