//! Random erasing of rectangles of a normalised image: timm's `RandomErasing` (Zhong et al., 2017).

use std::sync::OnceLock;

use random::{Key, Rng};

use crate::Draw;

/// Which rectangles are erased, how often, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// The probability that anything is erased.
    pub probability: f64,
    /// What stands there afterwards.
    pub mode: EraseMode,
    /// Fewest and most rectangles, at least 1; the area is shared among them.
    pub count: [u32; 2],
    /// Area of all of them as a share of the image's, uniform; timm: 0.02 to 1/3.
    pub area: [f64; 2],
    /// Height over width, log-uniform; timm: 0.3 to 1/0.3.
    pub aspect: [f64; 2],
}

/// What stands in an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseMode {
    /// 0: the mean colour.
    Const,
    /// One standard normal colour.
    Rand,
    /// A standard normal number for each pixel and channel.
    Pixel,
}

/// How often timm tries to find a rectangle that fits.
const ATTEMPTS: u32 = 10;

impl RandomErasing {
    /// timm's defaults of area and aspect, and one rectangle.
    pub fn new(probability: f64, mode: EraseMode) -> RandomErasing {
        RandomErasing { probability, mode, count: [1, 1], area: [0.02, 1.0 / 3.0], aspect: [0.3, 1.0 / 0.3] }
    }

    /// Erases in place; `values` is (C, H, W) with C = 3.
    pub fn erase(&self, values: &mut [f32], width: usize, rng: &mut Rng) {
        let height = values.len() / 3 / width;
        self.draw([width, height], rng, |rectangle, rng| self.fill(values, [width, height], rectangle, rng));
    }

    /// Writes down what [`erase`](Self::erase) erases of an image of `side` × `side` pixels, for a
    /// device that erases it later; `key` is the sample's, for
    /// [`Purpose::Augment`](random::Purpose::Augment). What is left of `into` becomes
    /// [`Erasure::NONE`].
    ///
    /// # Panics
    /// When `into` has fewer than [`most`](Self::most) records.
    pub fn note(&self, side: usize, key: Key, into: &mut [ErasureWords]) {
        let key = key.child(Draw::Erase as u64);
        let mut records = into.iter_mut();
        self.draw([side; 2], &mut key.rng(), |[top, left, height, width], rng| {
            let first_draw = rng.position();
            rng.skip(self.draws([height, width]));
            // Nothing is to be seen of an empty rectangle, and a height of 0 ends the list.
            if height > 0 && width > 0 {
                let place = [top, left, height, width].map(|length| length as u32);
                let first_draw = u32::try_from(first_draw).expect("an image with fewer than 2^32 numbers");
                *records.next().expect("room for `most` records") =
                    Erasure { key: key.words(), place, first_draw }.words();
            }
        });
        records.for_each(|record| *record = Erasure::NONE);
    }

    /// The most rectangles that are erased from one image.
    pub fn most(&self) -> usize {
        self.count[1].max(self.count[0]) as usize
    }

    /// Calls `fill` for each rectangle, one after the other; `fill` takes from the generator what
    /// stands in it.
    fn draw(&self, [width, height]: [usize; 2], rng: &mut Rng, mut fill: impl FnMut([usize; 4], &mut Rng)) {
        if !rng.chance(self.probability) {
            return;
        }
        let [fewest, most] = self.count;
        let count = fewest + rng.below(u64::from(most.saturating_sub(fewest)) + 1) as u32;
        for _ in 0..count {
            if let Some(rectangle) = self.rectangle(width, height, count, rng) {
                fill(rectangle, rng);
            }
        }
    }

    /// Top, left, height and width of a rectangle smaller than the image; none when ten tries find none.
    fn rectangle(&self, width: usize, height: usize, count: u32, rng: &mut Rng) -> Option<[usize; 4]> {
        for _ in 0..ATTEMPTS {
            let area = rng.uniform_in(self.area[0], self.area[1]) * (width * height) as f64 / f64::from(count);
            let aspect = rng.uniform_in(self.aspect[0].ln(), self.aspect[1].ln()).exp();
            let rows = (area * aspect).sqrt().round_ties_even() as usize;
            let columns = (area / aspect).sqrt().round_ties_even() as usize;
            if columns < width && rows < height {
                let top = rng.below((height - rows + 1) as u64) as usize;
                let left = rng.below((width - columns + 1) as u64) as usize;
                return Some([top, left, rows, columns]);
            }
        }
        None
    }

    fn fill(&self, values: &mut [f32], [width, height]: [usize; 2], rectangle: [usize; 4], rng: &mut Rng) {
        let [top, left, rows, columns] = rectangle;
        for channel in 0..3 {
            let color = if self.mode == EraseMode::Rand { normal(rng.next_u32()) } else { 0.0 };
            for row in 0..rows {
                let row = &mut values[(channel * height + top + row) * width + left..][..columns];
                match self.mode {
                    EraseMode::Pixel => fill_normal(row, rng),
                    EraseMode::Const | EraseMode::Rand => row.fill(color),
                }
            }
        }
    }

    /// How many numbers of 32 bits [`fill`](Self::fill) draws for a rectangle of this height and
    /// width.
    fn draws(&self, [height, width]: [usize; 2]) -> u64 {
        match self.mode {
            EraseMode::Const => 0,
            EraseMode::Rand => 3,
            EraseMode::Pixel => 3 * (height * width.div_ceil(2)) as u64,
        }
    }
}

/// One erased rectangle as a device reads it. The values that stand in it are not written out: a
/// device computes them from the generator's key, since the generator is counter-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Key of the generator: [`Key::words`].
    pub key: [u32; 4],
    /// Top, left, height and width in pixels; neither side is 0.
    pub place: [u32; 4],
    /// Numbers of the generator before the rectangle's first one. [`EraseMode::Rand`] takes one a
    /// channel; [`EraseMode::Pixel`] takes `⌈width / 2⌉` a row, row after row of channel after
    /// channel: the lower half of each is for a pixel, the upper for the next.
    pub first_draw: u32,
}

/// The words of an [`Erasure`], in the order of its fields; signed, as tensors have them.
pub type ErasureWords = [i32; Erasure::WORDS];

impl Erasure {
    /// How many words a record has.
    pub const WORDS: usize = 9;
    /// The record behind an image's last one: its height is 0.
    pub const NONE: ErasureWords = [0; Erasure::WORDS];

    /// The record as words.
    pub fn words(&self) -> ErasureWords {
        let Erasure { key: [a, b, c, d], place: [top, left, height, width], first_draw } = *self;
        [a, b, c, d, top, left, height, width, first_draw].map(u32::cast_signed)
    }

    /// The record of these words; `None` behind an image's last one.
    pub fn of_words(words: &ErasureWords) -> Option<Erasure> {
        let [a, b, c, d, top, left, height, width, first_draw] = words.map(i32::cast_unsigned);
        (height > 0).then_some(Erasure { key: [a, b, c, d], place: [top, left, height, width], first_draw })
    }

    /// The generator, before the rectangle's first number.
    pub fn rng(&self) -> Rng {
        let mut rng = Key::from_words(self.key).rng();
        rng.skip(self.first_draw.into());
        rng
    }

    /// What stands in the rectangle, (3, height, width).
    pub fn values(&self, mode: EraseMode) -> Vec<f32> {
        let [_, _, height, width] = self.place.map(|length| length as usize);
        let mut values = vec![0.0; 3 * height * width];
        RandomErasing::new(1.0, mode).fill(&mut values, [width, height], [0, 0, height, width], &mut self.rng());
        values
    }
}

/// The generator of what is erased; `key` is the sample's.
pub(super) fn rng_of(key: Key) -> Rng {
    key.child(Draw::Erase as u64).rng()
}

/// Two numbers of every 32 random bits.
fn fill_normal(values: &mut [f32], rng: &mut Rng) {
    for pair in values.chunks_mut(2) {
        let bits = rng.next_u32();
        for (value, bits) in pair.iter_mut().zip([bits, bits >> 16]) {
            *value = normal(bits);
        }
    }
}

/// Quantiles in the table: 16 KiB, which stay in the first cache.
const QUANTILES: usize = 1 << 12;

/// A standard normal number from the lowest 13 bits: a sign, and one of 4096 equally likely sizes.
///
/// Noise needs no finer steps, and a logarithm and a cosine a pixel would take longer than decoding the image.
fn normal(bits: u32) -> f32 {
    let size = half_normal()[bits as usize % QUANTILES];
    if bits >> 12 & 1 == 0 { size } else { -size }
}

/// The 4096 equally likely sizes of the normal numbers of erased pixels. Bits 0 to 11 of a random
/// number choose one, bit 12 its sign.
pub fn half_normal() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(quantile_means)
}

/// The mean of the half normal distribution in each of its quantiles, scaled so that the variance is 1.
fn quantile_means() -> Vec<f32> {
    const STEPS: usize = 1 << 20;
    const END: f64 = 6.0;
    let width = END / STEPS as f64;
    let place = |step: usize| (step as f64 + 0.5) * width;
    let density = |z: f64| (-0.5 * z * z).exp();
    let total: f64 = (0..STEPS).map(|step| density(place(step))).sum();
    let (mut sums, mut seen) = (vec![[0.0; 2]; QUANTILES], 0.0);
    for step in 0..STEPS {
        let (z, weight) = (place(step), density(place(step)));
        seen += weight;
        let bin = (((seen - weight / 2.0) / total * QUANTILES as f64) as usize).min(QUANTILES - 1);
        sums[bin][0] += z * weight;
        sums[bin][1] += weight;
    }
    let means: Vec<f64> = sums.iter().map(|[sum, weight]| sum / weight).collect();
    let variance = means.iter().map(|mean| mean * mean).sum::<f64>() / QUANTILES as f64;
    means.iter().map(|mean| (mean / variance.sqrt()) as f32).collect()
}
