//! The average over the ranks of a model's buffers, where they are used.

use collectives::{CommError, Communicator, Phase};
use models::Parameters;
use tch::{Device, Kind, Tensor, no_grad};

use crate::memory::floats;

/// Replaces every rank's buffers, such as BatchNorm's running means, by their mean over all ranks.
///
/// Each rank sees its own share of every batch, so they differ; training itself does not read them.
///
/// # Errors
/// When a rank does not come within the time-out, or ranks disagree on what they do.
pub fn average_buffers(communicator: &dyn Communicator, parameters: &Parameters, step: u64) -> Result<(), CommError> {
    let buffers: Vec<&Tensor> = parameters.statistics().collect();
    if communicator.size() == 1 || buffers.is_empty() {
        return Ok(());
    }
    let flat: Vec<Tensor> = buffers.iter().map(|buffer| buffer.flatten(0, -1)).collect();
    let mut all = Tensor::cat(&flat, 0).to_kind(Kind::Float).to_device(Device::Cpu);
    communicator.all_reduce_mean(Phase::of_step("buffers", step), floats(&mut all))?;
    let mut start = 0;
    for buffer in buffers {
        let count = buffer.numel() as i64;
        no_grad(|| buffer.shallow_clone().copy_(&all.narrow(0, start, count).view(buffer.size().as_slice())));
        start += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use collectives::local_ranks;
    use models::Model;
    use plan::config::DecayRule;

    use super::*;

    /// Each rank's running means are its own; afterwards all hold the mean, and still count their own batches.
    #[test]
    fn ranks_share_the_mean_of_their_buffers() {
        let spec = plan::models::find("resnet18").expect("a model of the table");
        let averaged = |rank: &dyn Communicator| {
            let model = Model::empty(&spec, DecayRule::Matrices, Device::Cpu, Kind::Float).expect("a model");
            let own = rank.rank() as f64;
            for (_, buffer) in model.parameters().buffers() {
                let _ = no_grad(|| buffer.shallow_clone().fill_(own));
            }
            average_buffers(rank, model.parameters(), 7).expect("all ranks come");
            let value = |(name, buffer): &(String, Tensor)| {
                let [low, high] = [buffer.min(), buffer.max()].map(|one| one.double_value(&[]));
                let expected = if name.ends_with("num_batches_tracked") { own } else { 1.0 };
                (low, high) == (expected, expected)
            };
            model.parameters().buffers().iter().all(value)
        };
        thread::scope(|scope| {
            let ranks = local_ranks(3, Duration::from_secs(60));
            let threads: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(|| averaged(&*{ rank }))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().expect("no panic")));
        });
    }
}
