//! How well a network does on a set of images whose labels may be of an unusual kind.

use collectives::Communicator;
use dataloader::{EvaluationSet, LoaderSpec, LoaderStats, SKIPPED};
use models::{Mode, Model};
use tch::{Device, Kind, Tensor};

use crate::classification::{Accuracy, ImageBatch};
use crate::evaluation::sum_of_scores;
use crate::failure::Failure;

/// What came of an evaluation, over all ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Right answers; with several right classes an image there is no loss.
    pub accuracy: Accuracy,
    /// Mean cross-entropy, where an image has one right class.
    pub loss: Option<f64>,
}

/// Scores `model` on this rank's share of `set`, for images of `image_size` × `image_size` pixels.
///
/// # Errors
/// When the loader gives up or a rank is lost.
pub fn score(
    model: &Model,
    set: &EvaluationSet,
    spec: &LoaderSpec,
    image_size: usize,
    stats: &LoaderStats,
    communicator: &dyn Communicator,
) -> Result<Scored, Failure> {
    let shut = set.chosen_from.as_ref().map(|open| shut_out(open, set.images.classes().len()));
    let of_batch = |batch: &ImageBatch<'_>| {
        let logits = model.forward(batch.prepared(model), Mode::Evaluate).logits;
        let mut logits = logits.to_kind(Kind::Float).to_device(Device::Cpu);
        if let Some(shut) = &shut {
            logits += shut;
        }
        match &set.accepted {
            None => Accuracy::of(&logits, batch.labels),
            Some(accepted) => accepting(&logits, batch, accepted),
        }
    };
    let accuracy = sum_of_scores(&*set.images, spec, image_size, stats, communicator, of_batch)?;
    Ok(Scored { accuracy, loss: set.accepted.is_none().then(|| accuracy.loss()) })
}

/// What is added to logits so that only the classes `open` can be chosen, (C): 0 for those, −∞ for the others.
fn shut_out(open: &[u32], classes: usize) -> Tensor {
    let mut shut = vec![f32::NEG_INFINITY; classes];
    for &class in open {
        shut[class as usize] = 0.0;
    }
    Tensor::from_slice(&shut)
}

/// Counts an image as right where its answer is one of those that are accepted for it.
fn accepting(logits: &Tensor, batch: &ImageBatch<'_>, accepted: &[Vec<u32>]) -> Accuracy {
    let best = logits.topk(logits.size()[1].min(5), 1, true, true).1; // (N, 5)
    let columns = best.size()[1] as usize;
    let best: Vec<i64> = Vec::try_from(best.flatten(0, -1)).expect("indices are whole numbers");
    let (mut images, mut first, mut first_five) = (0, 0, 0);
    for ((answers, key), &label) in best.chunks(columns).zip(batch.samples).zip(batch.labels) {
        if label == SKIPPED {
            continue;
        }
        let right = |answer: &i64| accepted[key.sample as usize].iter().any(|&class| i64::from(class) == *answer);
        images += 1;
        first += u64::from(right(&answers[0]));
        first_five += u64::from(answers.iter().any(right));
    }
    Accuracy::of_counts(images, first, first_five)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataloader::SampleKey;

    /// Logits whose best answers are the columns named, best first.
    fn answers(rows: &[[i64; 3]]) -> Tensor {
        let logits = Tensor::zeros([rows.len() as i64, 8], (Kind::Float, Device::Cpu));
        for (row, columns) in (0..).zip(rows) {
            for (place, &column) in columns.iter().enumerate() {
                let _ = logits.get(row).get(column).fill_(9.0 - place as f64);
            }
        }
        logits
    }

    #[test]
    fn any_accepted_class_is_right_and_bad_images_count_nowhere() {
        let key = |sample| SampleKey { epoch: 0, position: sample, sample };
        let samples = [key(2), key(0), key(1), key(0)];
        let labels = [4, 1, 0, SKIPPED];
        let batch = ImageBatch { images: Tensor::new().into(), labels: &labels, samples: &samples };
        let accepted = [vec![1, 6], vec![0], vec![4]];
        let accuracy = accepting(&answers(&[[4, 0, 1], [6, 0, 1], [2, 3, 0], [1, 2, 3]]), &batch, &accepted);
        assert_eq!(accuracy.images(), 3);
        assert!((accuracy.top1() - 200.0 / 3.0).abs() < 1e-9 && (accuracy.top5() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn classes_that_are_shut_out_are_never_chosen() {
        let logits = answers(&[[4, 0, 1], [6, 5, 1]]) + shut_out(&[0, 1, 5], 8);
        let accuracy = Accuracy::of(&logits, &[0, 5]);
        assert_eq!((accuracy.top1(), accuracy.images()), (100.0, 2));
        assert!(accuracy.loss().is_finite());
    }
}
