//! Exact evaluation over all ranks: every sample of the validation set once.

use std::time::{Duration, Instant};

use collectives::{Communicator, Phase};
use dataloader::{LoaderSpec, LoaderStats, Source, with_batches};
use models::Model;
use tch::{Device, no_grad};

use crate::classification::{Accuracy, Classification, ImageBatch};
use crate::failure::Failure;
use crate::memory::ImageMemory;
use crate::state::TrainState;
use crate::task::{Scores, Task};

/// Batches in memory while the model works on one.
const MEMORIES: usize = 3;

/// The validation set and how to go through it.
pub struct Evaluation<'a> {
    source: &'a dyn Source,
    spec: LoaderSpec,
    image_size: usize,
    stats: &'a LoaderStats,
    last: Option<Evaluated>,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluated {
    /// The scores of the weights.
    pub weights: Accuracy,
    /// The scores of their moving average, where there is one.
    pub ema: Option<Accuracy>,
    /// How long it took, in all.
    pub took: Duration,
}

impl Evaluated {
    /// The better top-1 of the two, in percent: the one by which the best checkpoint is chosen.
    pub fn best_top1(&self) -> f64 {
        self.ema.map_or(0.0, |ema| ema.top1()).max(self.weights.top1())
    }
}

impl<'a> Evaluation<'a> {
    /// Goes through `source` as `spec` says, this rank's share of it.
    pub fn new(source: &'a dyn Source, spec: LoaderSpec, image_size: usize, stats: &'a LoaderStats) -> Evaluation<'a> {
        Evaluation { source, spec, image_size, stats, last: None }
    }

    /// Scores the model of `state`, and its moving average where there is one; the same on each rank.
    ///
    /// # Errors
    /// When the loader gives up or a rank is lost.
    pub fn run(
        &mut self,
        state: &TrainState,
        task: &Classification,
        communicator: &dyn Communicator,
    ) -> Result<Evaluated, Failure> {
        let begun = Instant::now();
        let weights = self.score(&state.model, task, communicator)?;
        let average = state.ema.as_ref();
        let ema = average
            .map(|ema| ema.lend(state.model.parameters(), || self.score(&state.model, task, communicator)))
            .transpose()?;
        let found = Evaluated { weights, ema, took: begun.elapsed() };
        self.last = Some(found);
        Ok(found)
    }

    /// Goes through the set once; the sums over all ranks.
    fn score(
        &self,
        model: &Model,
        task: &Classification,
        communicator: &dyn Communicator,
    ) -> Result<Accuracy, Failure> {
        let score = |batch: &ImageBatch<'_>| task.score(model, batch);
        sum_of_scores(self.source, &self.spec, self.image_size, self.stats, communicator, score)
    }

    /// The names of the classes, in the order of the model's outputs.
    pub fn classes(&self) -> &[String] {
        self.source.classes()
    }

    /// What the last evaluation found.
    pub fn last(&self) -> Option<Evaluated> {
        self.last
    }
}

/// Adds up what `score` finds in the batches of `source`, over all ranks: the same on each.
///
/// # Errors
/// When the loader gives up or a rank is lost.
pub fn sum_of_scores(
    source: &dyn Source,
    spec: &LoaderSpec,
    image_size: usize,
    stats: &LoaderStats,
    communicator: &dyn Communicator,
    score: impl Fn(&ImageBatch<'_>) -> Accuracy,
) -> Result<Accuracy, Failure> {
    let mut total = Accuracy::default();
    for_each_batch(source, spec, image_size, stats, |batch| {
        total.add(&score(batch));
        Ok(())
    })?;
    communicator.all_reduce_sum_f64(Phase::new("evaluation"), total.counts())?;
    Ok(total)
}

/// Shows `work` this rank's batches of `source`, without gradients.
///
/// # Errors
/// When the loader gives up, and those of `work`.
pub fn for_each_batch(
    source: &dyn Source,
    spec: &LoaderSpec,
    image_size: usize,
    stats: &LoaderStats,
    mut work: impl FnMut(&ImageBatch<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let memory = (0..MEMORIES)
        .map(|_| ImageMemory::new(spec.micro_batch, image_size, &spec.transform.pixels, Device::Cpu))
        .collect::<Result<_, _>>()?;
    with_batches(source, spec, memory, stats, |batches| {
        while let Some(lease) = batches.next()? {
            let images = lease.images(lease.len(), lease.size()).into();
            let batch = ImageBatch { images, labels: lease.labels(), samples: lease.samples() };
            no_grad(|| work(&batch))?;
        }
        Ok(())
    })?
}
