//! Mixup and CutMix on tensors, and the loss of mixed labels.

use dataloader::{Blend, CropBox, Mix};
use tch::{Device, Kind, Tensor};

use crate::loss::Targets;
use crate::memory::sent;

/// How the images of a micro-batch and their labels are mixed: what a loader planned, as tensors on the images' device. Their shapes
/// depend on the number of images alone.
#[derive(Debug)]
pub struct Mixes {
    /// `(N)` whole numbers: the place of each image's partner.
    pub partners: Tensor,
    /// `(N)` f64: the weight of each own label; the partner's has the rest.
    pub weights: Tensor,
    /// `(N)` f64: the weight of each image's own pixels.
    pub own: Tensor,
    /// `(4, N)` whole numbers: top, bottom, left and right of what is pasted from the partner, nothing where they meet. None where
    /// nothing is ever pasted.
    pub boxes: Option<Tensor>,
}

impl Mixes {
    /// What `mixes` says, one entry an image; `pastes` says whether any batch of the run has a box.
    ///
    /// # Panics
    /// When there is a box and `pastes` is false.
    pub fn new(mixes: &[Mix], pastes: bool, device: Device) -> Mixes {
        let own = |mix: &Mix| if mix.blend == Blend::Whole { mix.weight } else { 1.0 };
        let edges = |mix: &Mix| match mix.blend {
            Blend::Patch(CropBox { top, left, height, width }) => [top, top + height, left, left + width],
            Blend::Alone | Blend::Whole => [0; 4],
        };
        let edges: Vec<[u32; 4]> = mixes.iter().map(edges).collect();
        assert!(pastes || edges.iter().all(|edges| *edges == [0; 4]), "a box where none is expected");
        let by_edge: Vec<i64> = (0..4).flat_map(|edge| edges.iter().map(move |edges| edges[edge].into())).collect();
        let whole = |numbers: Vec<i64>| Tensor::from_slice(&numbers);
        let shares = |numbers: Vec<f64>| sent(Tensor::from_slice(&numbers), device);
        Mixes {
            partners: sent(whole(mixes.iter().map(|mix| mix.partner as i64).collect()), device),
            weights: shares(mixes.iter().map(|mix| mix.weight).collect()),
            own: shares(mixes.iter().map(own).collect()),
            boxes: pastes.then(|| sent(whole(by_edge).view([4, -1]), device)),
        }
    }

    /// The images `(N, 3, H, W)` mixed, as timm's `Mixup`; `images` stay as they are.
    ///
    /// # Panics
    /// When there are not N entries, or a partner is none of the N images.
    pub fn images(&self, images: &Tensor) -> Tensor {
        let partners = images.index_select(0, &self.partners); // (N, 3, H, W)
        let own = self.own.to_kind(images.kind()).view([-1, 1, 1, 1]);
        let mut mixed: Tensor = &partners * (1.0 - &own);
        let _ = mixed.addcmul_(images, &own);
        match &self.boxes {
            Some(boxes) => partners.where_self(&inside(boxes, images), &mixed),
            None => mixed,
        }
    }
}

/// `(N, 1, H, W)`: which pixels of `images` lie in their boxes.
fn inside(boxes: &Tensor, images: &Tensor) -> Tensor {
    let (_, _, rows, columns) = images.size4().expect("(N, 3, H, W)");
    let between = |count: i64, first: i64, shape: [i64; 4]| {
        let places = Tensor::arange(count, (Kind::Int64, images.device())).view(shape);
        let edge = |edge: i64| boxes.get(edge).view([-1, 1, 1, 1]);
        places.ge_tensor(&edge(first)).logical_and(&places.lt_tensor(&edge(first + 1)))
    };
    between(rows, 0, [1, 1, rows, 1]).logical_and(&between(columns, 2, [1, 1, 1, columns]))
}

/// The mean cross-entropy of logits `(N, C)` with the mixed and smoothed targets of timm's `mixup_target`, as its
/// `SoftTargetCrossEntropy`: λ times that of the own label and 1 − λ times that of the partner's.
///
/// No target of C numbers is made: of the log-probabilities, only two an image and their mean are read. A skipped image
/// is black, and its share of every target is left out.
pub fn mixed_cross_entropy(logits: &Tensor, targets: &Targets, smoothing: f64) -> Tensor {
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

#[cfg(test)]
mod tests {
    use dataloader::SKIPPED;
    use serde::Deserialize;

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

    fn loss_of(logits: &Tensor, labels: &[i64], mixes: &[Mix], smoothing: f64) -> Tensor {
        let mixes = Mixes::new(mixes, true, Device::Cpu);
        let targets = Targets::new(&Tensor::from_slice(labels), Some(&mixes), logits.kind());
        mixed_cross_entropy(logits, &targets, smoothing)
    }

    #[test]
    fn mixed_images_are_timms() {
        let figures = figures();
        let images = fill(&[figures.batch, 3, figures.size, figures.size], 37);
        let before = images.copy();
        for case in &figures.cases {
            let mixes = Mixes::new(&mixes(case), true, Device::Cpu);
            near(&mixes.images(&images), &case.images, 1e-6, &case.mode);
            assert_eq!(images, before, "the images of the batch stay");
        }
    }

    #[test]
    fn the_loss_of_mixed_labels_and_its_gradient_are_timms() {
        let figures = figures();
        for case in &figures.cases {
            let logits = (fill(&[figures.batch, figures.classes], 29) * 3.0).set_requires_grad(true);
            let loss = loss_of(&logits, &figures.labels, &mixes(case), case.smoothing);
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
            let mixed = loss_of(&logits, &labels, &[alone; 4], smoothing);
            near(&mixed, &[plain.double_value(&[])], 1e-6, "loss");
        }
        let images = fill(&[4, 3, 2, 2], 37);
        for pastes in [false, true] {
            assert_eq!(Mixes::new(&[alone; 4], pastes, Device::Cpu).images(&images), images);
        }
    }

    /// Two images that share a weight: the sum over both loses just the one that was left out.
    #[test]
    fn a_skipped_image_has_no_share_in_any_target() {
        let logits = fill(&[2, 5], 29);
        let mixes = [1, 0].map(|partner| Mix { partner, weight: 0.7, blend: Blend::Whole });
        for smoothing in [0.0, 0.1] {
            let found = loss_of(&logits, &[3, SKIPPED], &mixes, smoothing) * 2.0;
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
        assert_eq!(Mixes::new(&mixes, true, Device::Cpu).images(&images), images);
    }
}
