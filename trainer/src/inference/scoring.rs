//! How well a network does on a set of images whose labels may be of an unusual kind.

use collectives::Communicator;
use dataloader::{EvaluationSet, LoaderSpec, LoaderStats, SKIPPED};
use models::{Mode, Model};
use tch::{Kind, Tensor};

use crate::classification::{Accuracy, ImageBatch};
use crate::evaluation::{for_each_batch, sum_over_ranks};
use crate::failure::Failure;
use crate::tally::{Tally, best};

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
    let device = model.parameters().device();
    let shut = set.chosen_from.as_ref().map(|open| shut_out(open, set.images.classes().len()).to_device(device));
    let (mut tally, mut answers) = (Tally::new(device), Answers::default());
    for_each_batch(&*set.images, spec, image_size, stats, device, |batch| {
        let mut logits = model.forward(batch.prepared(model), Mode::Evaluate).logits.to_kind(Kind::Float);
        if let Some(shut) = &shut {
            logits += shut;
        }
        match &set.accepted {
            None => tally.add(&logits, batch.labels),
            Some(_) => answers.add(&logits, batch),
        }
        Ok(())
    })?;
    let own = set.accepted.as_ref().map_or_else(|| tally.read(), |accepted| answers.count(accepted));
    let accuracy = sum_over_ranks(own, communicator)?;
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

/// The best classes of images that may have several right ones; they stay on the device until they are counted.
#[derive(Default)]
struct Answers(Vec<Batch>);

struct Batch {
    /// The best classes, `(N, 5)`.
    best: Tensor,
    /// The number of each image in its set; `None` where it was left out.
    images: Vec<Option<u64>>,
}

impl Answers {
    fn add(&mut self, logits: &Tensor, batch: &ImageBatch<'_>) {
        let keys = batch.samples.iter().zip(batch.labels);
        let images = keys.map(|(key, &label)| (label != SKIPPED).then_some(key.sample)).collect();
        self.0.push(Batch { best: best(logits), images });
    }

    /// Counts an image as right where its answer is one of those that are accepted for it.
    fn count(&self, accepted: &[Vec<u32>]) -> Accuracy {
        let (mut seen, mut first, mut first_five) = (0, 0, 0);
        for Batch { best, images } in &self.0 {
            let columns = best.size()[1] as usize;
            let best: Vec<i64> = Vec::try_from(best.flatten(0, -1)).expect("indices are whole numbers");
            for (answers, image) in best.chunks(columns).zip(images) {
                let Some(image) = *image else { continue };
                let right = |answer: &i64| accepted[image as usize].iter().any(|&class| i64::from(class) == *answer);
                seen += 1;
                first += u64::from(right(&answers[0]));
                first_five += u64::from(answers.iter().any(right));
            }
        }
        Accuracy::of_counts(seen, first, first_five)
    }
}

#[cfg(test)]
mod tests {
    use dataloader::SampleKey;
    use tch::Device;

    use super::*;

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
        let mut found = Answers::default();
        found.add(&answers(&[[4, 0, 1], [6, 0, 1], [2, 3, 0], [1, 2, 3]]), &batch);
        let accuracy = found.count(&accepted);
        assert_eq!(accuracy.images(), 3);
        assert!((accuracy.top1() - 200.0 / 3.0).abs() < 1e-9 && (accuracy.top5() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn classes_that_are_shut_out_are_never_chosen() {
        let logits = answers(&[[4, 0, 1], [6, 5, 1]]) + shut_out(&[0, 1, 5], 8);
        let mut tally = Tally::new(Device::Cpu);
        tally.add(&logits, &[0, 5]);
        let accuracy = tally.read();
        assert_eq!((accuracy.top1(), accuracy.images()), (100.0, 2));
        assert!(accuracy.loss().is_finite());
    }
}
