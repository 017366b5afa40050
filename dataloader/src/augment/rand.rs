//! RandAugment in timm's grammar: which operations are drawn, and how strong each is at a magnitude.

use random::Rng;

use super::grammar::{PolicyError, in_range, nearest, split, unknown_section, whole};
use super::{Op, Sampling, Warp};

/// timm's scale of magnitudes: 10 is the strongest that its tables mean.
pub(super) const FULL: f64 = 10.0;
/// The share of a side by which timm's relative translations move at full magnitude, where nothing else is said.
pub(super) const SHIFT: f64 = 0.45;

/// RandAugment as timm's `rand_augment_transform` (Cubuk et al., 2019, with timm's changes).
///
/// `layers` operations are drawn, each from the whole set (or, from a weighted set, without repetition); each is left out
/// with probability `1 − probability`.
#[derive(Clone, Debug, PartialEq)]
pub struct RandAugment {
    /// Mean magnitude, 0 to 10 (`m9`).
    pub magnitude: f64,
    /// How magnitudes vary from one operation to the next (`mstd0.5`).
    pub spread: Spread,
    /// The largest magnitude (`mmax`): 10 where the policy does not say.
    pub magnitude_max: f64,
    /// Operations drawn for an image (`n2`).
    pub layers: usize,
    /// The probability of each that it is applied (`p0.5`).
    pub probability: f64,
    /// What is drawn from (`inc1`, `t…`).
    pub set: Set,
    /// The colour of what comes from outside the image: timm takes the data set's mean.
    pub fill: [u8; 3],
    /// How moved pixels are sampled: `None` draws bilinear or bicubic for each operation, as timm's "random".
    pub sampling: Option<Sampling>,
}

/// How magnitudes vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Normally, with this standard deviation.
    Normal(f64),
    /// Uniformly between 0 and the magnitude (timm's `mstd101` and more).
    Uniform,
}

/// A set of operations to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// timm's first: some operations are weaker at larger magnitudes.
    Standard,
    /// `inc1`: all are stronger at larger magnitudes.
    Increasing,
    /// `t3a`: the three of 3-Augment.
    ThreeAugment,
    /// `t3aw`: those of 3-Augment most often, and others.
    ThreeAugmentWeighted,
    /// `tweights`: mostly geometric ones.
    Weighted,
}

/// An operation whose parameters are still to be drawn; timm's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    PosterizeIncreasing,
    PosterizeOriginal,
    Solarize,
    SolarizeIncreasing,
    SolarizeAdd,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ColorIncreasing,
    ContrastIncreasing,
    BrightnessIncreasing,
    SharpnessIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
    Desaturate,
    GaussianBlur,
}

impl Spread {
    /// A magnitude around `mean`, from 0 to `max`.
    pub(super) fn draw(self, mean: f64, max: f64, rng: &mut Rng) -> f64 {
        let magnitude = match self {
            Spread::Uniform => rng.uniform_in(0.0, mean),
            Spread::Normal(std) => mean + std * rng.normal(),
        };
        magnitude.clamp(0.0, max)
    }
}

impl Set {
    /// The operations with the weight of each; all weights are 1 in sets that are drawn from with repetition.
    pub(super) fn table(self) -> &'static [(Kind, f64)] {
        use Kind::*;
        match self {
            Set::Standard => &[
                (AutoContrast, 1.0),
                (Equalize, 1.0),
                (Invert, 1.0),
                (Rotate, 1.0),
                (Posterize, 1.0),
                (Solarize, 1.0),
                (SolarizeAdd, 1.0),
                (Color, 1.0),
                (Contrast, 1.0),
                (Brightness, 1.0),
                (Sharpness, 1.0),
                (ShearX, 1.0),
                (ShearY, 1.0),
                (TranslateXRel, 1.0),
                (TranslateYRel, 1.0),
            ],
            Set::Increasing => &[
                (AutoContrast, 1.0),
                (Equalize, 1.0),
                (Invert, 1.0),
                (Rotate, 1.0),
                (PosterizeIncreasing, 1.0),
                (SolarizeIncreasing, 1.0),
                (SolarizeAdd, 1.0),
                (ColorIncreasing, 1.0),
                (ContrastIncreasing, 1.0),
                (BrightnessIncreasing, 1.0),
                (SharpnessIncreasing, 1.0),
                (ShearX, 1.0),
                (ShearY, 1.0),
                (TranslateXRel, 1.0),
                (TranslateYRel, 1.0),
            ],
            Set::ThreeAugment => &[(SolarizeIncreasing, 1.0), (Desaturate, 1.0), (GaussianBlur, 1.0)],
            Set::ThreeAugmentWeighted => &[
                (SolarizeIncreasing, 6.0),
                (Desaturate, 6.0),
                (GaussianBlur, 6.0),
                (Rotate, 3.0),
                (ShearX, 2.0),
                (ShearY, 2.0),
                (PosterizeIncreasing, 1.0),
                (AutoContrast, 1.0),
                (ColorIncreasing, 1.0),
                (SharpnessIncreasing, 1.0),
                (ContrastIncreasing, 1.0),
                (BrightnessIncreasing, 1.0),
                (Equalize, 1.0),
                (Invert, 1.0),
            ],
            Set::Weighted => &[
                (Rotate, 3.0),
                (ShearX, 2.0),
                (ShearY, 2.0),
                (TranslateXRel, 1.0),
                (TranslateYRel, 1.0),
                (ColorIncreasing, 0.25),
                (SharpnessIncreasing, 0.25),
                (AutoContrast, 0.25),
                (SolarizeIncreasing, 0.05),
                (SolarizeAdd, 0.05),
                (ContrastIncreasing, 0.05),
                (BrightnessIncreasing, 0.05),
                (Equalize, 0.05),
                (PosterizeIncreasing, 0.05),
                (Invert, 0.05),
            ],
        }
    }

    fn is_weighted(self) -> bool {
        matches!(self, Set::ThreeAugmentWeighted | Set::Weighted)
    }
}

impl Kind {
    /// The operation at a magnitude, with its direction drawn, and where `sampling` is none that too.
    pub(super) fn draw(
        self,
        magnitude: f64,
        shift: f64,
        sampling: Option<Sampling>,
        fill: [u8; 3],
        rng: &mut Rng,
    ) -> Op {
        let turned = rng.chance(0.5);
        let drawn = if rng.chance(0.5) { Sampling::Bilinear } else { Sampling::Bicubic };
        self.at(magnitude, turned, shift, sampling.unwrap_or(drawn), fill)
    }

    /// The operation at a magnitude, as timm's `LEVEL_TO_ARG`. `turned` says whether what has a direction goes the other
    /// way, `shift` by which share of a side a translation moves at full magnitude.
    pub(super) fn at(self, magnitude: f64, turned: bool, shift: f64, sampling: Sampling, fill: [u8; 3]) -> Op {
        let level = magnitude / FULL;
        let signed = |value: f64| if turned { -value } else { value };
        let decreasing = level * 1.8 + 0.1;
        let increasing = || (1.0 + signed(level * 0.9)).max(0.1);
        let bits = (level * 4.0) as u8;
        let threshold = (level * 256.0).trunc().min(256.0);
        match self {
            Kind::AutoContrast => Op::AutoContrast,
            Kind::Equalize => Op::Equalise,
            Kind::Invert => Op::Invert,
            Kind::Rotate => Op::Warp(Warp::rotate(signed(level * 30.0), sampling, fill)),
            Kind::Posterize => Op::Posterise { bits },
            Kind::PosterizeIncreasing => Op::Posterise { bits: 4_u8.saturating_sub(bits) },
            Kind::PosterizeOriginal => Op::Posterise { bits: bits + 4 },
            Kind::Solarize => Op::Solarise { threshold },
            Kind::SolarizeIncreasing => Op::Solarise { threshold: 256.0 - threshold },
            Kind::SolarizeAdd => Op::SolariseAdd { add: (level * 110.0).min(128.0) as u8 },
            Kind::Color => Op::Saturation(decreasing),
            Kind::Contrast => Op::Contrast(decreasing),
            Kind::Brightness => Op::Brightness(decreasing),
            Kind::Sharpness => Op::Sharpness(decreasing),
            Kind::ColorIncreasing => Op::Saturation(increasing()),
            Kind::ContrastIncreasing => Op::Contrast(increasing()),
            Kind::BrightnessIncreasing => Op::Brightness(increasing()),
            Kind::SharpnessIncreasing => Op::Sharpness(increasing()),
            Kind::ShearX => Op::Warp(Warp::shear_x(signed(level * 0.3), sampling, fill)),
            Kind::ShearY => Op::Warp(Warp::shear_y(signed(level * 0.3), sampling, fill)),
            Kind::TranslateXRel => Op::Warp(Warp::shift_x_by(signed(level * shift), sampling, fill)),
            Kind::TranslateYRel => Op::Warp(Warp::shift_y_by(signed(level * shift), sampling, fill)),
            Kind::Desaturate => Op::Saturation((1.0 - (0.5 + 0.5 * level).clamp(0.5, 1.0)).clamp(0.0, 1.0)),
            Kind::GaussianBlur => Op::Blur { radius: (0.1 + (2.0 - 0.1) * level).clamp(0.1, 2.0) },
        }
    }
}

impl RandAugment {
    /// timm's defaults, which a policy's sections change: magnitude 10, no spread, two layers, probability 0.5.
    pub fn new(fill: [u8; 3], sampling: Option<Sampling>) -> RandAugment {
        RandAugment {
            magnitude: FULL,
            spread: Spread::Normal(0.0),
            magnitude_max: FULL,
            layers: 2,
            probability: 0.5,
            set: Set::Standard,
            fill,
            sampling,
        }
    }

    /// Reads timm's grammar: `rand` and sections behind dashes, such as `rand-m9-mstd0.5-inc1`.
    ///
    /// # Errors
    /// When a section is unknown or its value is not a number in its range; the error names the nearest section.
    pub fn parse(policy: &str, fill: [u8; 3], sampling: Option<Sampling>) -> Result<RandAugment, PolicyError> {
        let mut parsed = RandAugment::new(fill, sampling);
        let mut named = None;
        let (mut increasing, mut sections) = (false, policy.split('-'));
        if sections.next() != Some("rand") {
            return Err(PolicyError::unknown(policy));
        }
        for section in sections {
            if let Some(name) = section.strip_prefix('t') {
                named = Some(set(policy, name)?);
                continue;
            }
            let (key, value) = split(section);
            let bounds = match key {
                "m" | "mmax" => (0.0, 100.0),
                "mstd" => (0.0, f64::MAX),
                "n" => (1.0, 16.0),
                "p" | "inc" => (0.0, 1.0),
                _ => return Err(unknown_section(policy, section, &SECTIONS)),
            };
            let number = in_range(policy, section, value, bounds)?;
            match key {
                "m" => parsed.magnitude = number,
                "mmax" if number > 0.0 => parsed.magnitude_max = number,
                "mstd" if number > 100.0 => parsed.spread = Spread::Uniform,
                "mstd" => parsed.spread = Spread::Normal(number),
                "n" => parsed.layers = whole(policy, section, number)?,
                "p" => parsed.probability = number,
                "inc" => increasing = whole(policy, section, number)? == 1,
                _ => {}
            }
        }
        parsed.set = named.unwrap_or(if increasing { Set::Increasing } else { Set::Standard });
        Ok(parsed)
    }

    /// Draws the operations for one image and hands each to `apply`, in order.
    pub fn draw(&self, rng: &mut Rng, mut apply: impl FnMut(Op)) {
        let table = self.set.table();
        let mut taken = 0_u32;
        for _ in 0..self.layers {
            let Some(place) = pick(table, taken, rng) else { return };
            if self.set.is_weighted() {
                taken |= 1 << place;
            }
            if !rng.chance(self.probability) {
                continue;
            }
            let magnitude = self.spread.draw(self.magnitude, self.magnitude_max, rng);
            apply(table[place].0.draw(magnitude, SHIFT, self.sampling, self.fill, rng));
        }
    }
}

/// A place in the table, by weight, of those not taken; none when all are.
fn pick(table: &[(Kind, f64)], taken: u32, rng: &mut Rng) -> Option<usize> {
    let free = || table.iter().enumerate().filter(move |(place, _)| taken >> place & 1 == 0);
    let mut left = rng.uniform() * free().map(|(_, (_, weight))| weight).sum::<f64>();
    let found = free().find(|(_, (_, weight))| {
        left -= weight;
        left < 0.0
    });
    found.or_else(|| free().next_back()).map(|(place, _)| place)
}

const SETS: [(&str, Set); 3] =
    [("3a", Set::ThreeAugment), ("3aw", Set::ThreeAugmentWeighted), ("weights", Set::Weighted)];
const SECTIONS: [&str; 7] = ["m", "mstd", "mmax", "n", "p", "inc", "t"];

fn set(policy: &str, name: &str) -> Result<Set, PolicyError> {
    let found = SETS.iter().find(|(known, _)| *known == name).map(|(_, set)| *set);
    found.ok_or_else(|| {
        let expected =
            format!("t3a, t3aw or tweights; the nearest is t{}", nearest(name, SETS.map(|(known, _)| known)));
        PolicyError::section(policy, &format!("t{name}"), expected)
    })
}
