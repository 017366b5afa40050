//! Losses: how logits are compared with labels, plain or mixed.

mod binary;
pub mod distillation;
mod targets;

use dataloader::SKIPPED;
use plan::config::LossName;
use tch::{Reduction, Tensor};

use crate::mixing::{Mixes, mixed_cross_entropy};

pub use binary::Binary;
pub use targets::Targets;

/// What is minimised: a mean over all images of the batch, to which skipped ones add nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Cross-entropy of the softmax over all classes.
    CrossEntropy {
        /// Share of the target spread evenly over all classes, in `[0, 1)`.
        smoothing: f64,
    },
    /// A binary cross-entropy for each class.
    Binary(Binary),
}

impl Loss {
    /// What a config asks for.
    pub fn configured(config: &plan::config::Loss) -> Loss {
        match config.name {
            LossName::CrossEntropy => Loss::CrossEntropy { smoothing: config.smoothing },
            LossName::Bce => Loss::Binary(Binary {
                smoothing: config.smoothing,
                threshold: config.target_threshold,
                sum_classes: config.sum_classes.unwrap_or(false),
            }),
        }
    }

    /// The loss of `logits` `(N, C)`, a differentiable scalar, where `labels` `(N)` and `mixes` say what N images show.
    ///
    /// # Panics
    /// When logits, labels and mixes are not as many.
    pub fn of(&self, logits: &Tensor, labels: &Tensor, mixes: Option<&Mixes>) -> Tensor {
        let targets = || Targets::new(labels, mixes, logits.kind());
        match self {
            Loss::Binary(binary) => binary.of(logits, &targets()),
            Loss::CrossEntropy { smoothing } if mixes.is_some() => mixed_cross_entropy(logits, &targets(), *smoothing),
            Loss::CrossEntropy { smoothing } => cross_entropy(logits, labels, *smoothing),
        }
    }
}

/// As PyTorch's `cross_entropy` with smoothing; what is skipped counts in the divisor alone.
fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Tensor {
    let sum = logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Sum, SKIPPED, smoothing);
    sum / labels.size()[0] as f64
}

#[cfg(test)]
mod tests {
    use dataloader::{Blend, Mix};
    use tch::{Device, Kind};

    use super::distillation::{Distillation, Lesson};
    use super::*;

    fn logits(phase: f64, rows: i64) -> Tensor {
        let values: Vec<f64> = (0..rows * 5).map(|i| 2.0 * (0.9 * i as f64 + phase).sin()).collect();
        Tensor::from_slice(&values).view([rows, 5])
    }

    fn tensors(labels: &[i64], mixes: Option<&[Mix]>) -> (Tensor, Option<Mixes>) {
        (Tensor::from_slice(labels), mixes.map(|mixes| Mixes::new(mixes, false, Device::Cpu)))
    }

    /// An image that was left out changes nothing for the others, plain or mixed with one another.
    #[test]
    fn skipped_images_add_nothing_to_any_loss() {
        let binary = |threshold, sum_classes| Loss::Binary(Binary { smoothing: 0.1, threshold, sum_classes });
        let losses = [Loss::CrossEntropy { smoothing: 0.1 }, binary(None, true), binary(Some(0.3), false)];
        let mix = |partner, weight| Mix { partner, weight, blend: Blend::Whole };
        let pairs = [mix(1, 0.7), mix(0, 0.4), mix(3, 0.6), mix(2, 0.6)];
        let lessons = [Lesson::Hard, Lesson::Soft { tau: 2.0 }];
        for (loss, mixes) in losses.iter().flat_map(|loss| [None, Some(&pairs)].map(|mixes| (loss, mixes))) {
            let of = |labels: &[i64], lesson: Option<Lesson>| {
                let rows = labels.len();
                let logits = logits(0.1, rows as i64);
                let (labels, mixes) = tensors(labels, mixes.map(|mixes| &mixes[..rows]));
                let base = loss.of(&logits, &labels, mixes.as_ref());
                let found = match lesson {
                    None => base,
                    Some(lesson) => {
                        let targets = Targets::new(&labels, mixes.as_ref(), Kind::Double);
                        let teacher = self::logits(0.5, rows as i64);
                        Distillation { lesson, alpha: 0.5 }.of(base, &logits, &teacher, &targets)
                    }
                };
                assert_eq!(found.kind(), Kind::Double);
                found.double_value(&[]) * rows as f64
            };
            for lesson in lessons.map(Some).into_iter().chain([None]) {
                let (alone, with_skipped) = (of(&[3, 1], lesson), of(&[3, 1, SKIPPED, SKIPPED], lesson));
                assert!((alone - with_skipped).abs() < 1e-12, "{loss:?} {lesson:?}: {alone} and {with_skipped}");
            }
        }
    }

    /// Where a partner is left out, the image counts as much as it is itself, for its own class alone.
    #[test]
    fn an_image_whose_partner_is_skipped_counts_in_part() {
        let mixes = [1, 0].map(|partner| Mix { partner, weight: 0.7, blend: Blend::Whole });
        let loss = Loss::Binary(Binary { smoothing: 0.0, threshold: Some(0.0), sum_classes: true });
        let (labels, mixes) = tensors(&[3, SKIPPED], Some(&mixes));
        let found = loss.of(&logits(0.1, 2), &labels, mixes.as_ref()).double_value(&[]) * 2.0;
        let label = labels.narrow(0, 0, 1);
        let row = |place| loss.of(&logits(0.1, 2).narrow(0, place, 1), &label, None).double_value(&[]);
        let expected = 0.7 * row(0) + 0.3 * row(1);
        assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
    }
}
