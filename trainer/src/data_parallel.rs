//! Averages gradients over the ranks, bucket by bucket.

use collectives::{CommError, Communicator, Phase};
use models::Parameters;

use crate::memory::floats;

/// Replaces every rank's gradients by their mean over all ranks, in buckets of at most `bucket_mib` MiB.
///
/// # Errors
/// When a rank does not come within the time-out, or ranks disagree on what they do.
pub fn average_gradients(
    communicator: &dyn Communicator,
    parameters: &Parameters,
    bucket_mib: f64,
    step: u64,
) -> Result<(), CommError> {
    if communicator.size() == 1 {
        return Ok(());
    }
    let bucket_elements = (bucket_mib * f64::from(1 << 20)) as usize / size_of::<f32>();
    for group in parameters.groups() {
        let mut grads = group.grads.shallow_clone();
        for bucket in floats(&mut grads).chunks_mut(bucket_elements.max(1)) {
            communicator.all_reduce_mean(Phase::of_step("gradients", step), bucket)?;
        }
    }
    Ok(())
}
