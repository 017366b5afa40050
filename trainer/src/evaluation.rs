//! Exact evaluation over all ranks: every sample of the validation set once.

use std::time::{Duration, Instant};

use collectives::{Communicator, Phase};
use dataloader::{LoaderSpec, LoaderStats, Source, with_batches};
use models::Model;
use tch::{Device, no_grad};

use crate::classification::{Accuracy, Classification, ImageBatch};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::memory::ImageMemory;
use crate::normalisation::Normalisation;
use crate::state::TrainState;
use crate::step::MicroBatches;
use crate::tally::Tally;
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
        let device = model.parameters().device();
        let mut tally = Tally::new(device);
        for_each_batch(self.source, &self.spec, self.image_size, self.stats, device, |batch| {
            task.score(model, batch, &mut tally);
            Ok(())
        })?;
        sum_over_ranks(tally.read(), communicator)
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

/// Adds up what each rank found: the same on each.
///
/// # Errors
/// When a rank is lost.
pub fn sum_over_ranks(mut own: Accuracy, communicator: &dyn Communicator) -> Result<Accuracy, Failure> {
    communicator.all_reduce_sum_f64(Phase::new("evaluation"), own.counts())?;
    Ok(own)
}

/// Shows `work` this rank's batches of `source`, without gradients. The images are on `device`: to a GPU they travel as bytes
/// out of pinned memory, each batch while the GPU computes with the one before, and are normalised there.
///
/// # Errors
/// When the loader gives up, and those of `work`.
pub fn for_each_batch(
    source: &dyn Source,
    spec: &LoaderSpec,
    image_size: usize,
    stats: &LoaderStats,
    device: Device,
    mut work: impl FnMut(&ImageBatch<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut spec = spec.clone();
    let normalisation = match device {
        Device::Cuda(_) => Normalisation::instead_of(&mut spec, device),
        _ => Normalisation::none(),
    };
    feed_each_batch(source, &spec, image_size, stats, normalisation, device, &mut work)
}

/// The same by a loader that `normalisation` may have taken over from.
fn feed_each_batch(
    source: &dyn Source,
    spec: &LoaderSpec,
    image_size: usize,
    stats: &LoaderStats,
    normalisation: Normalisation,
    device: Device,
    work: &mut dyn FnMut(&ImageBatch<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let memory = (0..MEMORIES)
        .map(|_| ImageMemory::new(spec.micro_batch, image_size, &spec.transform.pixels, device))
        .collect::<Result<_, _>>()?;
    with_batches(source, spec, memory, stats, |batches| {
        let mut feed = Feed::new(batches, normalisation, device)?;
        while let Some(done) = feed.next_if_any(|batch| no_grad(|| work(batch)))? {
            done?;
            feed.prepare()?;
        }
        Ok(())
    })?
}

#[cfg(test)]
mod tests {
    use dataloader::DatasetSpec;

    use super::*;
    use crate::loss::Loss;
    use crate::small;

    /// On the digits, in batches of 12, of which the last is smaller: each batch scored, read and added up by itself on the host;
    /// in a tally; and with the bytes and the normalisation that a GPU gets.
    #[test]
    fn a_tally_over_a_feed_finds_the_bits_of_batches_that_are_read_one_by_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
        let path = format!("data.path={}", folder.path().join("digits").display());
        let config = small::plan_with(&[&path]).config;
        let digits = dataloader::open(&DatasetSpec::configured(&config)).expect("the digits").validation;
        let model = small::model();
        let task = Classification { seed: 1, loss: Loss::CrossEntropy { smoothing: 0.0 }, mixing: None, teacher: None };
        let spec = LoaderSpec::evaluation(&config, 16, 12);
        let scored = |by_bytes: bool, one_by_one: bool| {
            let mut spec = spec.clone();
            let normalisation = match by_bytes {
                true => Normalisation::instead_of(&mut spec, Device::Cpu),
                false => Normalisation::none(),
            };
            let (mut tally, mut sum) = (Tally::new(Device::Cpu), Accuracy::default());
            feed_each_batch(&*digits, &spec, 16, &LoaderStats::new(), normalisation, Device::Cpu, &mut |batch| {
                if one_by_one {
                    tally = Tally::new(Device::Cpu);
                }
                task.score(&model, batch, &mut tally);
                if one_by_one {
                    sum.add(&tally.read());
                }
                Ok(())
            })
            .expect("a loader");
            if one_by_one { sum } else { tally.read() }
        };
        let expected = scored(false, true);
        assert_eq!(expected.images(), digits.len() as u64);
        assert!(!digits.len().is_multiple_of(12) && expected.top5() > expected.top1() && expected.loss() > 0.0);
        assert_eq!(expected, scored(false, false), "in a tally");
        assert_eq!(expected, scored(true, false), "from bytes");
    }
}
