//! What a run learns: a task turns a batch into a loss, and a model into scores.

use models::Model;
use tch::Tensor;

/// Batch → loss → evaluation. Image classification is the first; a language model would be another.
pub trait Task {
    /// What the loader hands over: inputs, targets, and the keys of the samples.
    type Batch<'a>;
    /// What an evaluation counts; sums over batches and ranks.
    type Scores: Scores;

    /// The mean loss of the batch, a differentiable scalar: the sum over the samples that count, divided by all.
    fn loss(&self, model: &Model, batch: &Self::Batch<'_>) -> Tensor;

    /// The scores of the batch, with the model as it is used.
    fn score(&self, model: &Model, batch: &Self::Batch<'_>) -> Self::Scores;
}

/// Counts that add up over batches and ranks, so that a distributed evaluation is exact.
pub trait Scores: Default {
    /// Adds the counts of another batch.
    fn add(&mut self, other: &Self);
    /// The counts as numbers that ranks can sum; integers up to 2⁵³ stay exact.
    fn counts(&mut self) -> &mut [f64];
}
