//! Exact evaluation over all ranks: every sample of the validation set once.

use std::time::{Duration, Instant};

use collectives::{Communicator, Phase};
use dataloader::{LoaderSpec, LoaderStats, Source, with_batches};
use models::Model;
use tch::no_grad;

use crate::classification::{Accuracy, Classification, ImageBatch};
use crate::failure::Failure;
use crate::memory::ImageMemory;
use crate::task::{Scores, Task};

/// Batches in memory while the model works on one.
const MEMORIES: usize = 3;

/// The validation set and how to go through it.
pub struct Evaluation<'a> {
    source: &'a dyn Source,
    spec: LoaderSpec,
    image_size: usize,
    stats: &'a LoaderStats,
    last: Option<(Accuracy, Duration)>,
}

impl<'a> Evaluation<'a> {
    /// Goes through `source` as `spec` says, this rank's share of it.
    pub fn new(source: &'a dyn Source, spec: LoaderSpec, image_size: usize, stats: &'a LoaderStats) -> Evaluation<'a> {
        Evaluation { source, spec, image_size, stats, last: None }
    }

    /// Scores the model; the sums over all ranks, the same on each.
    ///
    /// # Errors
    /// When the loader gives up or a rank is lost.
    pub fn run(
        &mut self,
        model: &Model,
        task: &Classification,
        communicator: &dyn Communicator,
    ) -> Result<(Accuracy, Duration), Failure> {
        let begun = Instant::now();
        let memory = (0..MEMORIES).map(|_| ImageMemory::new(self.spec.micro_batch, self.image_size)).collect();
        let mut total = with_batches(self.source, &self.spec, memory, self.stats, |batches| {
            let mut total = Accuracy::default();
            while let Some(lease) = batches.next()? {
                let images = lease.images(lease.len(), lease.size());
                let batch = ImageBatch { images, labels: lease.labels(), samples: lease.samples() };
                total.add(&no_grad(|| task.score(model, &batch)));
            }
            Ok::<_, Failure>(total)
        })??;
        communicator.all_reduce_sum_f64(Phase::new("evaluation"), total.counts())?;
        self.last = Some((total, begun.elapsed()));
        Ok((total, begun.elapsed()))
    }

    /// What the last evaluation found, and how long it took.
    pub fn last(&self) -> Option<(Accuracy, Duration)> {
        self.last
    }
}
