//! Image classification: the loss of labels, mixed ones too, and of a teacher's answers; top-1 and top-5.

use dataloader::{Mixing, SampleKey};
use models::{Images, Masks, Mode, Model, Output};
use tch::Tensor;

use crate::loss::{Loss, Targets};
use crate::masks;
use crate::memory::sent;
use crate::mixing::Mixes;
use crate::normalisation::BatchImages;
use crate::replay::Operands;
use crate::tally::Tally;
use crate::task::{Scores, Task};
use crate::teacher::Teacher;

/// The task of naming what an image shows.
pub struct Classification {
    /// Seed of the run, from which masks are drawn.
    pub seed: u64,
    /// How logits are compared with labels.
    pub loss: Loss,
    /// How training samples are mixed, if they are.
    pub mixing: Option<Mixing>,
    /// Who is learned from as well.
    pub teacher: Option<Teacher>,
}

/// A micro-batch of images.
pub struct ImageBatch<'a> {
    /// As they came from the loader.
    pub images: BatchImages,
    /// Class of each image, or [`dataloader::SKIPPED`] where a bad one was left out.
    pub labels: &'a [i64],
    /// Key of each image.
    pub samples: &'a [SampleKey],
}

impl ImageBatch<'_> {
    /// The images as `model` reads them, on its device, not mixed.
    pub fn prepared(&self, model: &Model) -> Images {
        let device = model.parameters().device();
        let images = self.images.map(|tensor| tensor.to_device(device));
        images.prepared(images.form(model.image_form()), &sent(Tensor::from_slice(self.labels), device), None)
    }
}

/// What the loss of a micro-batch reads: tensors on the model's device, of the same shapes from step to step.
#[derive(Debug)]
pub struct Inputs {
    /// As they came from the loader.
    pub images: BatchImages,
    /// `(N)`: the class of each image, or [`dataloader::SKIPPED`].
    pub labels: Tensor,
    /// What the model leaves out.
    pub masks: Masks,
    /// How images and labels are mixed, if they are.
    pub mixes: Option<Mixes>,
}

impl Operands for Inputs {
    fn tensors(&self) -> Vec<&Tensor> {
        let Inputs { images, labels, masks: Masks { drop_path, dropout }, mixes } = self;
        let of_mixes = mixes.iter().flat_map(|Mixes { partners, weights, own, boxes }| {
            [Some(partners), Some(weights), Some(own), boxes.as_ref()].into_iter().flatten()
        });
        images.tensors().chain([labels]).chain(drop_path).chain(dropout).chain(of_mixes).collect()
    }

    fn copy(&self) -> Inputs {
        let copy = |tensor: &Tensor| tensor.copy();
        let Inputs { images, labels, masks: Masks { drop_path, dropout }, mixes } = self;
        Inputs {
            images: images.map(copy),
            labels: copy(labels),
            masks: Masks { drop_path: drop_path.as_ref().map(copy), dropout: dropout.as_ref().map(copy) },
            mixes: mixes.as_ref().map(|Mixes { partners, weights, own, boxes }| Mixes {
                partners: copy(partners),
                weights: copy(weights),
                own: copy(own),
                boxes: boxes.as_ref().map(copy),
            }),
        }
    }
}

/// Sums of an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy([f64; 4]);

impl Accuracy {
    /// Of the images whose class came first, or among the first five, and of the summed cross-entropy of all `images`.
    pub fn of_sums(images: u64, [first, first_five, loss]: [f64; 3]) -> Accuracy {
        Accuracy([images as f64, first, first_five, loss])
    }

    /// Of counts that were made elsewhere, where there is no loss.
    pub fn of_counts(images: u64, first: u64, first_five: u64) -> Accuracy {
        Accuracy([images, first, first_five, 0].map(|count| count as f64))
    }

    /// How many images were seen.
    pub fn images(&self) -> u64 {
        self.0[0] as u64
    }

    /// Share of images whose class came first, in percent.
    pub fn top1(&self) -> f64 {
        100.0 * self.0[1] / self.0[0].max(1.0)
    }

    /// Share of images whose class was among the first five, in percent.
    pub fn top5(&self) -> f64 {
        100.0 * self.0[2] / self.0[0].max(1.0)
    }

    /// Mean cross-entropy, without smoothing.
    pub fn loss(&self) -> f64 {
        self.0[3] / self.0[0].max(1.0)
    }
}

impl Scores for Accuracy {
    fn add(&mut self, other: &Accuracy) {
        for (sum, part) in self.0.iter_mut().zip(other.0) {
            *sum += part;
        }
    }

    fn counts(&mut self) -> &mut [f64] {
        &mut self.0
    }
}

impl Task for Classification {
    type Batch<'a> = ImageBatch<'a>;
    type Inputs = Inputs;
    type Tally = Tally;

    fn inputs(&self, model: &Model, batch: &ImageBatch<'_>) -> Inputs {
        let device = model.parameters().device();
        let size = batch.images.size();
        let mixes = self.mixing.as_ref().map(|mixing| {
            let plan = mixing.plan(batch.samples, size);
            Mixes::new(&plan, mixing.has_cutmix(), device)
        });
        Inputs {
            images: batch.images.map(|tensor| tensor.to_device(device)),
            labels: sent(Tensor::from_slice(batch.labels), device),
            masks: masks::draw(self.seed, model, batch.samples),
            mixes,
        }
    }

    fn loss(&self, model: &Model, inputs: &Inputs) -> Tensor {
        let Inputs { images, labels, masks, mixes } = inputs;
        let mixes = mixes.as_ref();
        let form = images.form(model.image_form());
        let own = images.prepared(form, labels, mixes);
        let Output { logits, distilled } = model.forward(&own, Mode::Train { masks });
        let Some(teacher) = &self.teacher else {
            // A distilled model without a teacher trains the mean of its heads, as timm does.
            let logits = distilled.map_or_else(|| logits.shallow_clone(), |distilled| (&logits + distilled) / 2.0);
            return self.loss.of(&logits, labels, mixes);
        };
        // The distillation head learns from the teacher; a model that has none learns from both with its only head.
        let base = self.loss.of(&logits, labels, mixes);
        let taught = distilled.as_ref().unwrap_or(&logits);
        let targets = Targets::new(labels, mixes, logits.kind());
        // The teacher sees the same images; those of another form are prepared from the same bytes.
        let teachers = images.form(teacher.model().image_form());
        let seen = if teachers == form { own } else { images.prepared(teachers, labels, mixes) };
        teacher.distillation.of(base, taught, &teacher.answer(&seen), &targets)
    }

    fn score(&self, model: &Model, batch: &ImageBatch<'_>, tally: &mut Tally) {
        tally.add(&model.forward(batch.prepared(model), Mode::Evaluate).logits, batch.labels);
    }
}

#[cfg(test)]
mod tests {
    use dataloader::SKIPPED;
    use tch::{Device, Kind};

    use super::*;
    use crate::small;

    /// Images that were left out change neither the loss of the others nor the counts of an evaluation.
    #[test]
    fn skipped_images_count_nowhere() {
        let model = small::model();
        let task = Classification { seed: 1, loss: Loss::CrossEntropy { smoothing: 0.1 }, mixing: None, teacher: None };
        let side = small::plan().model.image_size as i64;
        tch::manual_seed(3);
        let some = Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu));
        let zeros = Tensor::zeros([1, 3, side, side], (Kind::Float, Device::Cpu));
        let key = |position| SampleKey { epoch: 0, position, sample: position };
        let keys = [key(0), key(1), key(2)];
        let all = Tensor::cat(&[&some, &zeros], 0).into();
        let two = ImageBatch { images: some.into(), labels: &[1, 0], samples: &keys[..2] };
        let three = ImageBatch { images: all, labels: &[1, 0, SKIPPED], samples: &keys };
        let loss = |batch: &ImageBatch<'_>| task.loss(&model, &task.inputs(&model, batch)).double_value(&[]);
        let (expected, found) = (loss(&two), loss(&three) * 3.0 / 2.0);
        assert!((expected - found).abs() < 1e-5 * expected.abs(), "{expected} and {found}");
        let score = |batch: &ImageBatch<'_>| {
            let mut tally = Tally::new(Device::Cpu);
            task.score(&model, batch, &mut tally);
            tally.read()
        };
        let (expected, found) = (score(&two), score(&three));
        assert_eq!((expected.images(), expected.top1(), expected.top5()), (2, found.top1(), found.top5()));
        assert!((expected.loss() - found.loss()).abs() < 1e-5);
        assert_eq!(found.images(), 2);
    }
}
