//! What a run learns: a task turns a batch into inputs, these into a loss, and a model into scores.

use models::Model;
use tch::Tensor;

/// Batch → inputs → loss → evaluation. Image classification is the first; a language model would be another.
pub trait Task {
    /// What the loader hands over: inputs, targets, and the keys of the samples.
    type Batch<'a>;
    /// What a loss reads of it: tensors on the model's device.
    type Inputs;
    /// What an evaluation counts in, on the device.
    type Tally;

    /// Draws what is drawn for each sample, and sends all to the device of `model`.
    fn inputs(&self, model: &Model, batch: &Self::Batch<'_>) -> Self::Inputs;

    /// The mean loss of a batch, a differentiable scalar: the sum over the samples that count, divided by all. It is made of
    /// operations on tensors alone, so that the same work can be done again on other inputs.
    fn loss(&self, model: &Model, inputs: &Self::Inputs) -> Tensor;

    /// Adds the scores of the batch, with the model as it is used, to `tally`. It does not wait for the device.
    fn score(&self, model: &Model, batch: &Self::Batch<'_>, tally: &mut Self::Tally);
}

/// Counts that add up over batches and ranks, so that a distributed evaluation is exact.
pub trait Scores: Default {
    /// Adds the counts of another batch.
    fn add(&mut self, other: &Self);
    /// The counts as numbers that ranks can sum; integers up to 2⁵³ stay exact.
    fn counts(&mut self) -> &mut [f64];
}
