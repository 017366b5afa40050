//! The augmentation of one image from its key: a policy by name, colour jitter, and erasing after normalisation.

use random::{Key, Rng};

use super::auto::AutoAugment;
use super::erase::{RandomErasing, rng_of};
use super::grammar::PolicyError;
use super::jitter::ColorJitter;
use super::mix::AugMix;
use super::rand::RandAugment;
use super::{Op, Sampling, Scratch, Warp};
use crate::Draw;

/// What is drawn for an image beyond crop and flip. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    /// Operations on bytes.
    pub policy: Policy,
    /// Changes of colour, after the policy.
    pub jitter: Option<ColorJitter>,
    /// The probability that the image becomes grey, in `[0, 1]` (torchvision's `RandomGrayscale`).
    pub grayscale: f64,
    /// The probability of a blur, in `[0, 1]`: PIL's `GaussianBlur` of a radius uniform in 0.1 to 2, as BYOL, DINO and
    /// DeiT III draw it.
    pub blur: f64,
    /// The probability that values of at least 128 are inverted, in `[0, 1]` (torchvision's `RandomSolarize(128)`).
    pub solarise: f64,
    /// Rectangles erased from the normalised image.
    pub erasing: Option<RandomErasing>,
}

/// Which operations are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Policy {
    /// None.
    #[default]
    None,
    /// timm's RandAugment.
    Rand(RandAugment),
    /// timm's AutoAugment.
    Auto(AutoAugment),
    /// timm's AugMix.
    Mix(AugMix),
    /// DeiT III's 3-Augment: one of grayscale, solarise (128) and Gaussian blur (radius 0.1 to 2), each as often.
    Three,
    /// torchvision's `TrivialAugmentWide` with its defaults: 31 bins, nearest pixel, black.
    TrivialWide,
}

impl Policy {
    /// Reads a policy: `none`, `3-augment`, `trivial-wide`, or one in timm's grammar: RandAugment (`rand-m9-mstd0.5-inc1`),
    /// AutoAugment (`original`, `originalr`, `v0`, `v0r`; `v0-mstd0.5`) or AugMix (`augmix-m5-w4-d2`).
    ///
    /// `fill` is the colour of what comes from outside (timm: the data set's mean times 255, rounded), and `sampling` how
    /// moved pixels are sampled (none draws bilinear or bicubic); both for timm's policies.
    ///
    /// # Errors
    /// When the policy or one of its sections is unknown; the error names the nearest.
    pub fn parse(policy: &str, fill: [u8; 3], sampling: Option<Sampling>) -> Result<Policy, PolicyError> {
        match policy.split('-').next().unwrap_or_default() {
            _ if policy == "3-augment" => Ok(Policy::Three),
            _ if policy == "trivial-wide" => Ok(Policy::TrivialWide),
            "none" if policy == "none" => Ok(Policy::None),
            "rand" => RandAugment::parse(policy, fill, sampling).map(Policy::Rand),
            "augmix" => AugMix::parse(policy, fill, sampling).map(Policy::Mix),
            _ => AutoAugment::parse(policy, fill, sampling).map(Policy::Auto),
        }
    }

    /// Draws the operations for one image, and changes it by each in order.
    pub(super) fn change(&self, pixels: &mut Vec<u8>, width: usize, rng: &mut Rng, scratch: &mut Scratch) {
        match self {
            Policy::None => {}
            Policy::Rand(rand) => rand.draw(rng, |op| op.apply(pixels, width, scratch)),
            Policy::Auto(auto) => auto.draw(rng, |op| op.apply(pixels, width, scratch)),
            Policy::Mix(mix) => mix.change(pixels, width, rng, scratch),
            Policy::Three => three(rng).apply(pixels, width, scratch),
            Policy::TrivialWide => {
                let (kind, bin) = (rng.below(TRIVIAL_KINDS), rng.below(TRIVIAL_BINS));
                if let Some(op) = trivial(kind, bin, rng.chance(0.5)) {
                    op.apply(pixels, width, scratch);
                }
            }
        }
    }
}

/// One of 3-Augment's three.
pub(super) fn three(rng: &mut Rng) -> Op {
    match rng.below(3) {
        0 => Op::Grayscale,
        1 => Op::Solarise { threshold: 128.0 },
        _ => blur(rng),
    }
}

fn blur(rng: &mut Rng) -> Op {
    Op::Blur { radius: rng.uniform_in(0.1, 2.0) }
}

/// Operations of `TrivialAugmentWide`, the one that changes nothing included.
const TRIVIAL_KINDS: u64 = 14;
/// Strengths of each.
pub(super) const TRIVIAL_BINS: u64 = 31;

/// The strength of a bin, as `torch.linspace` computes it in 32-bit floats: from both ends towards the middle, fused.
fn strength(from: f32, to: f32, bin: u64) -> f64 {
    let step = (to - from) / (TRIVIAL_BINS - 1) as f32;
    let first_half = bin < TRIVIAL_BINS / 2;
    f64::from(if first_half {
        step.mul_add(bin as f32, from)
    } else {
        step.mul_add(-((TRIVIAL_BINS - 1 - bin) as f32), to)
    })
}

/// The operation number `kind`, in torchvision's order, at strength `bin`; none for the one that changes nothing.
pub(super) fn trivial(kind: u64, bin: u64, turned: bool) -> Option<Op> {
    let signed = |full: f32| if turned { -strength(0.0, full, bin) } else { strength(0.0, full, bin) };
    let (nearest, black) = (Sampling::Nearest, [0; 3]);
    Some(match kind {
        0 => return None,
        1 => Op::Warp(Warp::shear_x(signed(0.99), nearest, black)),
        2 => Op::Warp(Warp::shear_y(signed(0.99), nearest, black)),
        // Whole pixels; torchvision's sign is the way the content moves.
        3 => Op::Warp(Warp::shift_x(-signed(32.0).trunc(), nearest, black)),
        4 => Op::Warp(Warp::shift_y(-signed(32.0).trunc(), nearest, black)),
        5 => Op::Warp(Warp::rotate(signed(135.0), nearest, black)),
        6 => Op::Brightness(1.0 + signed(0.99)),
        7 => Op::Saturation(1.0 + signed(0.99)),
        8 => Op::Contrast(1.0 + signed(0.99)),
        9 => Op::Sharpness(1.0 + signed(0.99)),
        // torchvision divides by 5 and rounds halves to even.
        10 => Op::Posterise { bits: 8 - (bin as f32 / 5.0).round_ties_even() as u8 },
        11 => Op::Solarise { threshold: strength(255.0, 0.0, bin) },
        12 => Op::AutoContrast,
        _ => Op::Equalise,
    })
}

impl Augment {
    /// The probabilities, with their names.
    pub(crate) fn probabilities(&self) -> [(&'static str, f64); 4] {
        let erase = self.erasing.map_or(0.0, |erasing| erasing.probability);
        [("grayscale", self.grayscale), ("blur", self.blur), ("solarise", self.solarise), ("erase", erase)]
    }

    /// Changes the bytes of one image, (H, W, 4) of which the fourth means nothing, as its sample's key says.
    ///
    /// `key` is the sample's, for [`Purpose::Augment`](random::Purpose::Augment).
    pub fn change(&self, pixels: &mut Vec<u8>, width: usize, key: Key, scratch: &mut Scratch) {
        self.policy.change(pixels, width, &mut key.child(Draw::Policy as u64).rng(), scratch);
        if let Some(jitter) = &self.jitter {
            jitter.draw(&mut key.child(Draw::Jitter as u64).rng(), |op| op.apply(pixels, width, scratch));
        }
        if key.child(Draw::Grayscale as u64).rng().chance(self.grayscale) {
            Op::Grayscale.apply(pixels, width, scratch);
        }
        let mut rng = key.child(Draw::Blur as u64).rng();
        if rng.chance(self.blur) {
            blur(&mut rng).apply(pixels, width, scratch);
        }
        if key.child(Draw::Solarise as u64).rng().chance(self.solarise) {
            Op::Solarise { threshold: 128.0 }.apply(pixels, width, scratch);
        }
    }

    /// Erases rectangles of a normalised image, (3, H, W), as its sample's key says.
    pub fn erase(&self, values: &mut [f32], width: usize, key: Key) {
        if let Some(erasing) = &self.erasing {
            erasing.erase(values, width, &mut rng_of(key));
        }
    }
}
