//! Steps from which bad images were left out: the mean over the images that count, of all ranks.

use collectives::{CommError, Communicator, Phase};
use dataloader::SKIPPED;
use models::Parameters;
use tch::no_grad;

/// How many labels are of images that count.
pub fn counted(labels: &[i64]) -> usize {
    labels.iter().filter(|&&label| label != SKIPPED).count()
}

/// What turns a sum over the images that count, divided by all `global_batch` images of the step, into their mean.
///
/// `counted` is this rank's number of them. Where nothing counts on any rank, the sum is zero and stays so.
///
/// # Errors
/// When a rank does not come within the time-out.
pub fn correction(
    communicator: &dyn Communicator,
    counted: usize,
    global_batch: usize,
    step: u64,
) -> Result<f64, CommError> {
    let mut total = [counted as f64];
    communicator.all_reduce_sum_f64(Phase::of_step("skipped images", step), &mut total)?;
    Ok(if total[0] > 0.0 { global_batch as f64 / total[0] } else { 1.0 })
}

/// Multiplies all gradients by `factor`.
pub fn scale_gradients(parameters: &Parameters, factor: f64) {
    no_grad(|| {
        for group in parameters.groups() {
            let _ = group.grads.shallow_clone().g_mul_scalar_(factor);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use collectives::local_ranks;

    use super::*;

    fn factors(ranks: Vec<&'static [i64]>, global_batch: usize) -> Vec<f64> {
        let communicators = local_ranks(ranks.len(), Duration::from_secs(20));
        std::thread::scope(|scope| {
            let threads: Vec<_> = communicators
                .into_iter()
                .zip(ranks)
                .map(|(ends, labels)| scope.spawn(move || correction(&*ends, counted(labels), global_batch, 0)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic").expect("all ranks are there")).collect()
        })
    }

    /// One of two ranks has lost an image: both learn the same factor.
    #[test]
    fn ranks_that_lost_different_images_agree_on_the_mean() {
        assert_eq!(factors(vec![&[3, SKIPPED, 0, 1], &[2, 2, 2, 2]], 8), [8.0 / 7.0; 2]);
        assert_eq!(factors(vec![&[SKIPPED]], 1), [1.0], "nothing counts");
    }
}
