//! AugMix (Hendrycks et al., 2019): a weighted mean of chains of operations, blended with the image.

use random::Rng;

use super::grammar::{PolicyError, in_range, split, unknown_section, whole};
use super::rand::{FULL, Kind, Spread};
use super::{Op, Sampling, Scratch, blend};

/// AugMix as timm's `augment_and_mix_transform`, without its unfinished `b1`.
#[derive(Clone, Debug, PartialEq)]
pub struct AugMix {
    /// Magnitude of the operations, 0 to 10 (`m3`).
    pub magnitude: f64,
    /// How magnitudes vary (`mstd`): uniform where the policy does not say.
    pub spread: Spread,
    /// How many chains (`w3`).
    pub width: usize,
    /// Operations of a chain (`d2`): `None` draws 1 to 3.
    pub depth: Option<usize>,
    /// Concentration of the chains' weights and of the blend (`a1`), greater than 0.
    pub alpha: f64,
    /// The colour of what comes from outside the image: timm takes the data set's mean.
    pub fill: [u8; 3],
    /// How moved pixels are sampled: `None` draws bilinear or bicubic for each operation, as timm's "random".
    pub sampling: Option<Sampling>,
}

/// What chains draw from, each as often.
pub(super) const KINDS: [Kind; 13] = [
    Kind::AutoContrast,
    Kind::ColorIncreasing,
    Kind::ContrastIncreasing,
    Kind::BrightnessIncreasing,
    Kind::SharpnessIncreasing,
    Kind::Equalize,
    Kind::Rotate,
    Kind::PosterizeIncreasing,
    Kind::SolarizeIncreasing,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];

/// The share of a side by which a translation moves at full magnitude (timm sets `translate_pct` for AugMix).
pub(super) const SHIFT: f64 = 0.3;
const DEEPEST_DRAWN: u64 = 3;
const SECTIONS: [&str; 5] = ["m", "mstd", "w", "d", "a"];

impl AugMix {
    /// timm's defaults, which a policy's sections change.
    pub fn new(fill: [u8; 3], sampling: Option<Sampling>) -> AugMix {
        AugMix { magnitude: 3.0, spread: Spread::Uniform, width: 3, depth: None, alpha: 1.0, fill, sampling }
    }

    /// Reads timm's grammar: `augmix` and sections behind dashes, such as `augmix-m5-w4-d2`.
    ///
    /// # Errors
    /// When a section is unknown or its value is not a number in its range; the error names the nearest section.
    pub fn parse(policy: &str, fill: [u8; 3], sampling: Option<Sampling>) -> Result<AugMix, PolicyError> {
        let mut parsed = AugMix::new(fill, sampling);
        for section in policy.split('-').skip(1) {
            let (key, value) = split(section);
            let number = |bounds| in_range(policy, section, value, bounds);
            match key {
                "m" => parsed.magnitude = number((0.0, FULL))?,
                "mstd" => parsed.spread = Spread::Normal(number((0.0, f64::MAX))?),
                "w" => parsed.width = whole(policy, section, number((1.0, 16.0))?)?,
                "d" => parsed.depth = Some(whole(policy, section, number((1.0, 16.0))?)?),
                "a" => parsed.alpha = number((0.05, 100.0))?,
                _ => return Err(unknown_section(policy, section, &SECTIONS)),
            }
        }
        Ok(parsed)
    }

    pub(super) fn change(&self, pixels: &mut [u8], width: usize, rng: &mut Rng, scratch: &mut Scratch) {
        let weights: Vec<f64> = (0..self.width).map(|_| gamma(self.alpha, rng)).collect();
        let total: f64 = weights.iter().sum();
        let [mixed, image] = [gamma(self.alpha, rng), gamma(self.alpha, rng)];
        let share = mixed / (mixed + image).max(f64::MIN_POSITIVE);
        let chains = weights.into_iter().map(|weight| {
            let depth = self.depth.unwrap_or_else(|| 1 + rng.below(DEEPEST_DRAWN) as usize);
            let ops = (0..depth).map(|_| {
                let kind = KINDS[rng.below(KINDS.len() as u64) as usize];
                let magnitude = self.spread.draw(self.magnitude, FULL, rng);
                kind.draw(magnitude, SHIFT, self.sampling, self.fill, rng)
            });
            ((weight / total.max(f64::MIN_POSITIVE)) as f32, ops.collect())
        });
        mix(pixels, width, chains, share as f32, scratch);
    }
}

/// Blends the image with the weighted sum of what each chain makes of it: 0 is the image, 1 the sum.
pub(super) fn mix(
    pixels: &mut [u8],
    width: usize,
    chains: impl Iterator<Item = (f32, Vec<Op>)>,
    share: f32,
    scratch: &mut Scratch,
) {
    let (mut chain, mut mixed) = (std::mem::take(&mut scratch.chain), std::mem::take(&mut scratch.mixed));
    mixed.clear();
    mixed.resize(pixels.len(), 0.0);
    for (weight, ops) in chains {
        chain.clear();
        chain.extend_from_slice(pixels);
        for op in ops {
            op.apply(&mut chain, width, scratch);
        }
        for (sum, value) in mixed.iter_mut().zip(&chain) {
            *sum += weight * f32::from(*value);
        }
    }
    for (value, sum) in pixels.iter_mut().zip(&mixed) {
        *value = blend(*value, *sum as u8, share);
    }
    (scratch.chain, scratch.mixed) = (chain, mixed);
}

/// Gamma-distributed with scale 1 (Marsaglia and Tsang, 2000): shares of such numbers are Dirichlet- and Beta-distributed.
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, rng) * rng.uniform().powf(1.0 / shape);
    }
    let depth = shape - 1.0 / 3.0;
    loop {
        let normal = rng.normal();
        let volume = (1.0 + normal / (9.0 * depth).sqrt()).powi(3);
        let bound = 0.5 * normal * normal + depth - depth * volume + depth * volume.ln();
        if volume > 0.0 && (1.0 - rng.uniform()).ln() < bound {
            return depth * volume;
        }
    }
}
