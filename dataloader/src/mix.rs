//! Which samples of a batch are mixed with which, and how: mixup and CutMix with timm's switching, drawn from keys.

use random::{Purpose, Rng};

use crate::{CropBox, SampleKey};

/// Mixup and CutMix, as timm 1.0.31's `Mixup` with `correct_lam`, within groups of consecutive global positions.
///
/// timm mixes the batch of a process with its own reverse, so what is mixed depends on the number of processes. Here a
/// group of fixed size takes the place of that batch: as long as micro-batches consist of whole groups, any number of
/// ranks mixes the same pairs with the same weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    /// The seed of the run.
    pub seed: u64,
    /// α of the Beta distribution of mixup's weights, at least 0; 0 = no mixup.
    pub mixup_alpha: f64,
    /// α of the Beta distribution of CutMix's weights, at least 0; 0 = no CutMix, unless `cutmix_minmax` is given.
    pub cutmix_alpha: f64,
    /// Sides of CutMix's boxes as shares of the image's side, `0 ≤ low ≤ high ≤ 1`, in place of a Beta distribution.
    pub cutmix_minmax: Option<[f64; 2]>,
    /// The probability that anything is mixed, in `[0, 1]`: of a group, a pair or a sample, as `mode` says.
    pub probability: f64,
    /// The probability of CutMix where mixup is on too, in `[0, 1]`.
    pub switch_probability: f64,
    /// What shares one choice and one weight.
    pub mode: MixMode,
    /// Samples of a group, at least 1. A group should be even: the middle sample of an odd one has no partner.
    pub group: usize,
}

/// What shares one choice between mixup and CutMix and one weight (timm's `mixup_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixMode {
    /// A group.
    Batch,
    /// A sample and its partner.
    Pair,
    /// Nothing: each sample has its own.
    Elem,
}

/// What becomes of one sample of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The place in the batch of the sample that is mixed in.
    pub partner: usize,
    /// Weight of the sample's own label, in `[0, 1]`; its partner's label has the rest.
    pub weight: f64,
    /// How the pixels are mixed.
    pub blend: Blend,
}

/// How the pixels of a sample and of its partner become one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blend {
    /// The sample as it is; its weight is 1.
    Alone,
    /// Mixup: every pixel is the mean of both, with the weight.
    Whole,
    /// CutMix: this box, which may be empty, is the partner's. The weight is the share of the image outside it.
    Patch(CropBox),
}

/// The draws for a group, a pair or a sample; children of the group's key.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drawn {
    weight: f64,
    blend: Blend,
}

impl Drawn {
    const ALONE: Drawn = Drawn { weight: 1.0, blend: Blend::Alone };
}

impl Mixing {
    /// Whether anything is ever mixed.
    pub fn is_on(&self) -> bool {
        self.probability > 0.0 && (self.mixup_alpha > 0.0 || self.has_cutmix())
    }

    /// How the samples of a micro-batch of `size` × `size` pixels are mixed, one entry a sample.
    ///
    /// A pure function of the keys: a group's choices follow from the key of its first sample, its partners are its own
    /// samples in reverse. The first sample is taken to begin a group.
    pub fn plan(&self, samples: &[SampleKey], size: u32) -> Vec<Mix> {
        let group = self.group.max(1);
        (0..samples.len())
            .map(|place| {
                let start = place - place % group;
                let last = (start + group).min(samples.len()) - 1;
                let partner = start + last - place;
                let draw = match self.mode {
                    MixMode::Batch => 0,
                    MixMode::Pair => place.min(partner) - start,
                    MixMode::Elem => place - start,
                };
                let key = samples[start].key(self.seed, Purpose::Mix).child(draw as u64);
                let Drawn { weight, blend } = self.draw(&mut key.rng(), size);
                Mix { partner, weight, blend }
            })
            .collect()
    }

    /// Whether any box is ever pasted.
    pub fn has_cutmix(&self) -> bool {
        self.cutmix_alpha > 0.0 || self.cutmix_minmax.is_some()
    }

    /// timm's `_params_per_batch`, with its box and corrected weight.
    fn draw(&self, rng: &mut Rng, size: u32) -> Drawn {
        if !self.is_on() || !rng.chance(self.probability) {
            return Drawn::ALONE;
        }
        let mixup = self.mixup_alpha > 0.0;
        let cutmix = self.has_cutmix() && (!mixup || rng.chance(self.switch_probability));
        match (cutmix, self.cutmix_minmax) {
            (false, _) => match rng.beta(self.mixup_alpha, self.mixup_alpha) {
                1.0 => Drawn::ALONE,
                weight => Drawn { weight, blend: Blend::Whole },
            },
            (true, Some(shares)) => patch(box_within(size, shares, rng), size),
            (true, None) => match rng.beta(self.cutmix_alpha, self.cutmix_alpha) {
                1.0 => Drawn::ALONE,
                weight => {
                    let center = [rng.below(size.into()) as u32, rng.below(size.into()) as u32];
                    patch(box_around(size, weight, center), size)
                }
            },
        }
    }
}

/// A box with the weight that its area leaves.
fn patch(from: CropBox, size: u32) -> Drawn {
    let share = f64::from(from.height) * f64::from(from.width) / (f64::from(size) * f64::from(size));
    Drawn { weight: 1.0 - share, blend: Blend::Patch(from) }
}

/// timm's `rand_bbox`: a square of the share `1 − weight` around (row, column), cut off at the image's edge.
fn box_around(size: u32, weight: f64, [row, column]: [u32; 2]) -> CropBox {
    let side = (f64::from(size) * (1.0 - weight).sqrt()) as u32;
    let span = |center: u32| (center.saturating_sub(side / 2), (center + side.div_ceil(2)).min(size));
    let ((top, bottom), (left, right)) = (span(row), span(column));
    CropBox { top, left, height: bottom - top, width: right - left }
}

/// timm's `rand_bbox_minmax`: sides drawn between two shares of the image's, the upper one excluded, anywhere inside.
fn box_within(size: u32, shares: [f64; 2], rng: &mut Rng) -> CropBox {
    let [low, high] = shares.map(|share| (f64::from(size) * share) as u32);
    // timm fails where both shares round to the same side.
    let mut side = || low + rng.below(u64::from(high.saturating_sub(low).max(1))) as u32;
    let (height, width) = (side(), side());
    let top = rng.below(u64::from(size - height) + 1) as u32;
    let left = rng.below(u64::from(size - width) + 1) as u32;
    CropBox { top, left, height, width }
}

#[cfg(test)]
mod tests;
