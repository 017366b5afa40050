//! Mixup and CutMix on tensors, and the loss of mixed labels.

use dataloader::{Blend, CropBox, Mix};
use tch::Tensor;

use crate::loss::Targets;
use crate::memory::sent;

/// The images `(N, 3, H, W)` mixed as `mixes` says, one entry an image, as timm's `Mixup`; `images` stay as they are.
///
/// # Panics
/// When there are not N entries, a partner is none of the N images, or a box is not inside them.
pub fn mix_images(images: &Tensor, mixes: &[Mix]) -> Tensor {
    assert_eq!(images.size()[0], mixes.len() as i64, "one entry an image");
    if mixes.iter().all(|mix| mix.blend == Blend::Alone) {
        return images.shallow_clone();
    }
    let partners = images.index_select(0, &sent(partners(mixes), images.device())); // (N, 3, H, W)
    let own = column(mixes.iter().map(|mix| if mix.blend == Blend::Whole { mix.weight } else { 1.0 }), images);
    let own = own.view([-1, 1, 1, 1]);
    let rest: Tensor = 1.0 - &own;
    let mut mixed: Tensor = &partners * rest;
    let _ = mixed.addcmul_(images, &own);
    // Neighbours often share a box: a group in mode "batch" is one copy.
    let mut start = 0;
    for run in mixes.chunk_by(|a, b| a.blend == b.blend) {
        if let Blend::Patch(from) = run[0].blend {
            paste(&mut mixed, &partners, start, run.len(), from);
        }
        start += run.len();
    }
    mixed
}

/// The mean cross-entropy of logits `(N, C)` with the mixed and smoothed targets of timm's `mixup_target`, as its
/// `SoftTargetCrossEntropy`: λ times that of the own label and 1 − λ times that of the partner's.
///
/// No target of C numbers is made: of the log-probabilities, only two an image and their mean are read. A skipped image
/// is black, and its share of every target is left out.
///
/// # Panics
/// When logits, labels and mixes are not as many.
pub fn mixed_cross_entropy(logits: &Tensor, labels: &[i64], mixes: &[Mix], smoothing: f64) -> Tensor {
    let targets = Targets::new(labels, Some(mixes), logits);
    let log_probabilities = logits.log_softmax(-1, logits.kind()); // (N, C)
    let hard = (log_probabilities.gather(1, &targets.classes, false) * &targets.shares).sum_dim_intlist(
        [1i64].as_slice(),
        false,
        logits.kind(),
    );
    if smoothing == 0.0 {
        return -hard.mean(logits.kind());
    }
    let even = log_probabilities.mean_dim([1i64].as_slice(), false, logits.kind()) * targets.weights(); // (N)
    -(hard * (1.0 - smoothing) + even * smoothing).mean(logits.kind())
}

/// Writes the box of `len` partners from `start` on over the images at the same places.
fn paste(mixed: &mut Tensor, partners: &Tensor, start: usize, len: usize, from: CropBox) {
    let CropBox { top, left, height, width } = from;
    if height == 0 || width == 0 {
        return;
    }
    let part = |images: &Tensor| {
        let rows = images.narrow(0, start as i64, len as i64).narrow(2, top.into(), height.into());
        rows.narrow(3, left.into(), width.into())
    };
    part(mixed).copy_(&part(partners));
}

/// `(N)`: the place of each image's partner.
fn partners(mixes: &[Mix]) -> Tensor {
    let places: Vec<i64> = mixes.iter().map(|mix| mix.partner as i64).collect();
    Tensor::from_slice(&places)
}

/// Numbers as a vector of the kind and on the device of `like`.
fn column(values: impl Iterator<Item = f64>, like: &Tensor) -> Tensor {
    let values: Vec<f64> = values.collect();
    sent(Tensor::from_slice(&values).to_kind(like.kind()), like.device())
}

#[cfg(test)]
mod tests {
    use dataloader::SKIPPED;
    use serde::Deserialize;
    use tch::{Device, Kind};

    use super::*;

    /// What timm made: `make_mix_figures.py` beside the file.
    #[derive(Deserialize)]
    struct Figures {
        batch: i64,
        size: i64,
        classes: i64,
        labels: Vec<i64>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        mode: String,
        smoothing: f64,
        mixes: Vec<Drawn>,
        images: Vec<f64>,
        targets: Vec<f64>,
        loss: f64,
        gradient: Vec<f64>,
    }

    #[derive(Deserialize)]
    struct Drawn {
        mixed: bool,
        patch: Option<[u32; 4]>,
        weight: f64,
    }

    fn figures() -> Figures {
        serde_json::from_str(include_str!("../../dataloader/tests/fixtures/mix.json")).expect("the fixture")
    }

    fn mixes(case: &Case) -> Vec<Mix> {
        let blend = |drawn: &Drawn| match (drawn.mixed, drawn.patch) {
            (false, _) => Blend::Alone,
            (true, None) => Blend::Whole,
            (true, Some([top, left, height, width])) => Blend::Patch(CropBox { top, left, height, width }),
        };
        let count = case.mixes.len();
        let mix = |(place, drawn): (usize, &Drawn)| Mix {
            partner: count - 1 - place,
            weight: drawn.weight,
            blend: blend(drawn),
        };
        case.mixes.iter().enumerate().map(mix).collect()
    }

    /// The formula of the script.
    fn fill(shape: &[i64], factor: i64) -> Tensor {
        let count: i64 = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|i| ((i * factor + 11) % 101) as f64 / 50.0 - 1.0).collect();
        Tensor::from_slice(&values).to_kind(Kind::Float).view(shape)
    }

    #[track_caller]
    fn near(found: &Tensor, expected: &[f64], tolerance: f64, what: &str) {
        let found = Vec::<f64>::try_from(found.detach().flatten(0, -1).to_kind(Kind::Double)).expect("numbers");
        assert_eq!(found.len(), expected.len(), "{what}");
        for (place, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= tolerance, "{what}, number {place}: {a} instead of {b}");
        }
    }

    #[test]
    fn mixed_images_are_timms() {
        let figures = figures();
        let images = fill(&[figures.batch, 3, figures.size, figures.size], 37);
        let before = images.copy();
        for case in &figures.cases {
            near(&mix_images(&images, &mixes(case)), &case.images, 1e-6, &case.mode);
            assert_eq!(images, before, "the images of the batch stay");
        }
    }

    #[test]
    fn the_loss_of_mixed_labels_and_its_gradient_are_timms() {
        let figures = figures();
        for case in &figures.cases {
            let logits = (fill(&[figures.batch, figures.classes], 29) * 3.0).set_requires_grad(true);
            let loss = mixed_cross_entropy(&logits, &figures.labels, &mixes(case), case.smoothing);
            near(&loss, &[case.loss], 1e-6, &case.mode);
            loss.backward();
            near(&logits.grad(), &case.gradient, 1e-6, &case.mode);
            // timm's targets, summed by hand.
            let targets = Tensor::from_slice(&case.targets).view([figures.batch, figures.classes]);
            let soft = -(targets * logits.log_softmax(-1, Kind::Double)).sum(Kind::Double) / figures.batch as f64;
            near(&soft, &[case.loss], 1e-6, &case.mode);
        }
    }

    #[test]
    fn without_a_partner_it_is_plain_cross_entropy() {
        let logits = fill(&[4, 5], 29);
        let (labels, alone) = ([1, 0, 4, 2], Mix { partner: 0, weight: 1.0, blend: Blend::Alone });
        for smoothing in [0.0, 0.1] {
            let plain = logits.cross_entropy_loss::<Tensor>(
                &Tensor::from_slice(&labels),
                None,
                tch::Reduction::Mean,
                -100,
                smoothing,
            );
            let mixed = mixed_cross_entropy(&logits, &labels, &[alone; 4], smoothing);
            near(&mixed, &[plain.double_value(&[])], 1e-6, "loss");
        }
        let images = fill(&[4, 3, 2, 2], 37);
        assert_eq!(mix_images(&images, &[alone; 4]), images);
    }

    /// Two images that share a weight: the sum over both loses just the one that was left out.
    #[test]
    fn a_skipped_image_has_no_share_in_any_target() {
        let logits = fill(&[2, 5], 29);
        let mixes = [1, 0].map(|partner| Mix { partner, weight: 0.7, blend: Blend::Whole });
        for smoothing in [0.0, 0.1] {
            let found = mixed_cross_entropy(&logits, &[3, SKIPPED], &mixes, smoothing) * 2.0;
            let target = Tensor::from_slice(&[3i64, 3]);
            let each = logits.cross_entropy_loss::<Tensor>(&target, None, tch::Reduction::None, -100, smoothing);
            let expected = 0.7 * each.double_value(&[0]) + 0.3 * each.double_value(&[1]);
            near(&found, &[expected], 1e-5, "loss");
        }
    }

    #[test]
    fn an_empty_box_changes_nothing() {
        let images = fill(&[2, 3, 4, 4], 37).to_device(Device::Cpu);
        let none = Blend::Patch(CropBox { top: 4, left: 1, height: 0, width: 2 });
        let mixes = [1, 0].map(|partner| Mix { partner, weight: 1.0, blend: none });
        assert_eq!(mix_images(&images, &mixes), images);
    }
}
