//! The augmentation of one image from its key: a policy by name, colour jitter, and erasing after normalisation.

use random::{Key, Rng};

use super::erase::RandomErasing;
use super::jitter::ColorJitter;
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
    /// DeiT III's 3-Augment: one of grayscale, solarise (128) and Gaussian blur (radius 0.1 to 2), each as often.
    Three,
    /// torchvision's `TrivialAugmentWide` with its defaults: 31 bins, nearest pixel, black.
    TrivialWide,
}

/// A policy string that says nothing that is known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No policy has such a name.
    #[error(
        "no augmentation policy {policy:?}: the nearest is {nearest:?}; known are none, rand-…, 3-augment and trivial-wide"
    )]
    Unknown {
        /// What was asked for.
        policy: String,
        /// The known name nearest to it.
        nearest: String,
    },
    /// A section of RandAugment's grammar is unknown or has a bad value.
    #[error(
        "section {section:?} of the augmentation policy {policy:?}: expected {expected}, e.g. rand-m9-mstd0.5-inc1"
    )]
    Section {
        /// The whole policy.
        policy: String,
        /// Its wrong section.
        section: String,
        /// What may stand there, and what is nearest.
        expected: String,
    },
}

const NAMES: [&str; 4] = ["none", "rand", "3-augment", "trivial-wide"];

impl PolicyError {
    pub(super) fn unknown(policy: &str) -> PolicyError {
        let first = if policy.starts_with("rand") { "rand" } else { policy };
        PolicyError::Unknown { policy: policy.to_owned(), nearest: nearest(first, NAMES).to_owned() }
    }

    pub(super) fn section(policy: &str, section: &str, expected: String) -> PolicyError {
        PolicyError::Section { policy: policy.to_owned(), section: section.to_owned(), expected }
    }
}

/// The name that needs the fewest changes of letters to become `name`.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> &'a str {
    names.into_iter().min_by_key(|known| distance(name, known)).unwrap_or_default()
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut costs[0], row + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = costs[column + 1];
            costs[column + 1] = replaced.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs[to.len()]
}

impl Policy {
    /// Reads a policy: `none`, `3-augment`, `trivial-wide`, or RandAugment in timm's grammar (`rand-m9-mstd0.5-inc1`).
    ///
    /// `fill` is RandAugment's colour of what comes from outside (timm: the data set's mean times 255, rounded), and
    /// `sampling` how it samples (none draws bilinear or bicubic).
    ///
    /// # Errors
    /// When the policy or one of its sections is unknown; the error names the nearest.
    pub fn parse(policy: &str, fill: [u8; 3], sampling: Option<Sampling>) -> Result<Policy, PolicyError> {
        match policy {
            "none" => Ok(Policy::None),
            "3-augment" => Ok(Policy::Three),
            "trivial-wide" => Ok(Policy::TrivialWide),
            _ => RandAugment::parse(policy, fill, sampling).map(Policy::Rand),
        }
    }

    /// Draws the operations for one image and hands each to `apply`, in order.
    pub fn draw(&self, rng: &mut Rng, mut apply: impl FnMut(Op)) {
        match self {
            Policy::None => {}
            Policy::Rand(rand) => rand.draw(rng, apply),
            Policy::Three => apply(match rng.below(3) {
                0 => Op::Grayscale,
                1 => Op::Solarise { threshold: 128.0 },
                _ => Op::Blur { radius: rng.uniform_in(0.1, 2.0) },
            }),
            Policy::TrivialWide => {
                let (kind, bin) = (rng.below(TRIVIAL_KINDS), rng.below(TRIVIAL_BINS));
                if let Some(op) = trivial(kind, bin, rng.chance(0.5)) {
                    apply(op);
                }
            }
        }
    }
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
    /// Changes the bytes of one image, (H, W, 3), as its sample's key says.
    ///
    /// `key` is the sample's, for [`Purpose::Augment`](random::Purpose::Augment).
    pub fn change(&self, pixels: &mut Vec<u8>, width: usize, key: Key, scratch: &mut Scratch) {
        self.policy.draw(&mut key.child(Draw::Policy as u64).rng(), |op| op.apply(pixels, width, scratch));
        if let Some(jitter) = &self.jitter {
            jitter.draw(&mut key.child(Draw::Jitter as u64).rng(), |op| op.apply(pixels, width, scratch));
        }
    }

    /// Erases rectangles of a normalised image, (3, H, W), as its sample's key says.
    pub fn erase(&self, values: &mut [f32], width: usize, key: Key) {
        if let Some(erasing) = &self.erasing {
            erasing.erase(values, width, &mut key.child(Draw::Erase as u64).rng());
        }
    }
}
