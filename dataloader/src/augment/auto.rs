//! AutoAugment with timm's tables for ImageNet (Cubuk et al., 2018): one of 25 pairs of operations an image.

use random::Rng;

use super::grammar::{PolicyError, in_range, split, unknown_section};
use super::rand::Kind::{self, *};
use super::rand::{FULL, SHIFT, Spread};
use super::{Op, Sampling};

/// AutoAugment as timm's `auto_augment_transform`.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoAugment {
    /// Which pairs are drawn from.
    pub table: AutoTable,
    /// Standard deviation of the magnitudes (`mstd0.5`), at least 0.
    pub spread: f64,
    /// The colour of what comes from outside the image: timm takes the data set's mean.
    pub fill: [u8; 3],
    /// How moved pixels are sampled: `None` draws bilinear or bicubic for each operation, as timm's "random".
    pub sampling: Option<Sampling>,
}

/// timm's tables of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoTable {
    /// `original`: the paper's.
    Original,
    /// `originalr`: the paper's, with a posterise that is stronger at larger magnitudes.
    OriginalIncreasing,
    /// `v0`: the one of the TPU implementation of EfficientNet.
    V0,
    /// `v0r`: the same with a posterise that is stronger at larger magnitudes.
    V0Increasing,
}

const TABLES: [(&str, AutoTable); 4] = [
    ("original", AutoTable::Original),
    ("originalr", AutoTable::OriginalIncreasing),
    ("v0", AutoTable::V0),
    ("v0r", AutoTable::V0Increasing),
];

/// An operation, its probability and its magnitude.
type Step = (Kind, f64, f64);

impl AutoTable {
    /// The 25 pairs, each with timm's kind of posterise.
    pub(super) fn pairs(self) -> impl ExactSizeIterator<Item = [Step; 2]> {
        let (table, posterise) = match self {
            AutoTable::Original => (&ORIGINAL, PosterizeOriginal),
            AutoTable::OriginalIncreasing => (&ORIGINAL, PosterizeIncreasing),
            AutoTable::V0 => (&V0, Posterize),
            AutoTable::V0Increasing => (&V0, PosterizeIncreasing),
        };
        table.iter().map(move |pair| {
            pair.map(|(kind, probability, magnitude)| {
                (if kind == Posterize { posterise } else { kind }, probability, magnitude)
            })
        })
    }
}

impl AutoAugment {
    /// Reads timm's grammar: the name of a table, and perhaps `mstd` behind a dash, such as `original-mstd0.5`.
    ///
    /// # Errors
    /// When there is no such table or section; the error names the nearest.
    pub fn parse(policy: &str, fill: [u8; 3], sampling: Option<Sampling>) -> Result<AutoAugment, PolicyError> {
        let mut sections = policy.split('-');
        let name = sections.next().unwrap_or_default();
        let table = TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table);
        let table = table.ok_or_else(|| PolicyError::unknown(policy))?;
        let mut parsed = AutoAugment { table, spread: 0.0, fill, sampling };
        for section in sections {
            match split(section) {
                ("mstd", value) => parsed.spread = in_range(policy, section, value, (0.0, f64::MAX))?,
                _ => return Err(unknown_section(policy, section, &["mstd"])),
            }
        }
        Ok(parsed)
    }

    /// Draws the operations for one image and hands each to `apply`, in order.
    pub fn draw(&self, rng: &mut Rng, mut apply: impl FnMut(Op)) {
        let mut pairs = self.table.pairs();
        let place = rng.below(pairs.len() as u64) as usize;
        for (kind, probability, magnitude) in pairs.nth(place).into_iter().flatten() {
            if rng.chance(probability) {
                let magnitude = Spread::Normal(self.spread).draw(magnitude, FULL, rng);
                apply(kind.draw(magnitude, SHIFT, self.sampling, self.fill, rng));
            }
        }
    }
}

#[rustfmt::skip]
const ORIGINAL: [[Step; 2]; 25] = [
    [(Posterize, 0.4, 8.0), (Rotate, 0.6, 9.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
    [(Posterize, 0.6, 7.0), (Posterize, 0.6, 6.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Equalize, 0.4, 4.0), (Rotate, 0.8, 8.0)],
    [(Solarize, 0.6, 3.0), (Equalize, 0.6, 7.0)],
    [(Posterize, 0.8, 5.0), (Equalize, 1.0, 2.0)],
    [(Rotate, 0.2, 3.0), (Solarize, 0.6, 8.0)],
    [(Equalize, 0.6, 8.0), (Posterize, 0.4, 6.0)],
    [(Rotate, 0.8, 8.0), (Color, 0.4, 0.0)],
    [(Rotate, 0.4, 9.0), (Equalize, 0.6, 2.0)],
    [(Equalize, 0.0, 7.0), (Equalize, 0.8, 8.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Rotate, 0.8, 8.0), (Color, 1.0, 2.0)],
    [(Color, 0.8, 8.0), (Solarize, 0.8, 7.0)],
    [(Sharpness, 0.4, 7.0), (Invert, 0.6, 8.0)],
    [(ShearX, 0.6, 5.0), (Equalize, 1.0, 9.0)],
    [(Color, 0.4, 0.0), (Equalize, 0.6, 3.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
];

#[rustfmt::skip]
const V0: [[Step; 2]; 25] = [
    [(Equalize, 0.8, 1.0), (ShearY, 0.8, 4.0)],
    [(Color, 0.4, 9.0), (Equalize, 0.6, 3.0)],
    [(Color, 0.4, 1.0), (Rotate, 0.6, 8.0)],
    [(Solarize, 0.8, 3.0), (Equalize, 0.4, 7.0)],
    [(Solarize, 0.4, 2.0), (Solarize, 0.6, 2.0)],
    [(Color, 0.2, 0.0), (Equalize, 0.8, 8.0)],
    [(Equalize, 0.4, 8.0), (SolarizeAdd, 0.8, 3.0)],
    [(ShearX, 0.2, 9.0), (Rotate, 0.6, 8.0)],
    [(Color, 0.6, 1.0), (Equalize, 1.0, 2.0)],
    [(Invert, 0.4, 9.0), (Rotate, 0.6, 0.0)],
    [(Equalize, 1.0, 9.0), (ShearY, 0.6, 3.0)],
    [(Color, 0.4, 7.0), (Equalize, 0.6, 0.0)],
    [(Posterize, 0.4, 6.0), (AutoContrast, 0.4, 7.0)],
    [(Solarize, 0.6, 8.0), (Color, 0.6, 9.0)],
    [(Solarize, 0.2, 4.0), (Rotate, 0.8, 9.0)],
    [(Rotate, 1.0, 7.0), (TranslateYRel, 0.8, 9.0)],
    [(ShearX, 0.0, 0.0), (Solarize, 0.8, 4.0)],
    [(ShearY, 0.8, 0.0), (Color, 0.6, 4.0)],
    [(Color, 1.0, 0.0), (Rotate, 0.6, 2.0)],
    [(Equalize, 0.8, 4.0), (Equalize, 0.0, 8.0)],
    [(Equalize, 1.0, 4.0), (AutoContrast, 0.6, 2.0)],
    [(ShearY, 0.4, 7.0), (SolarizeAdd, 0.6, 7.0)],
    [(Posterize, 0.8, 2.0), (Solarize, 0.6, 10.0)],
    [(Solarize, 0.6, 8.0), (Equalize, 0.6, 1.0)],
    [(Color, 0.8, 6.0), (Rotate, 0.4, 5.0)],
];
