//! Random erasing of rectangles of a normalised image: timm's `RandomErasing` (Zhong et al., 2017).

use std::sync::OnceLock;

use random::Rng;

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
        if !rng.chance(self.probability) {
            return;
        }
        let [fewest, most] = self.count;
        let count = fewest + rng.below(u64::from(most.saturating_sub(fewest)) + 1) as u32;
        for _ in 0..count {
            if let Some(rectangle) = self.rectangle(width, height, count, rng) {
                self.fill(values, width, height, rectangle, rng);
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

    fn fill(&self, values: &mut [f32], width: usize, height: usize, rectangle: [usize; 4], rng: &mut Rng) {
        let [top, left, rows, columns] = rectangle;
        for channel in values.chunks_exact_mut(width * height) {
            let colour = if self.mode == EraseMode::Rand { normal(rng.next_u32()) } else { 0.0 };
            for row in channel.chunks_exact_mut(width).skip(top).take(rows) {
                let row = &mut row[left..left + columns];
                match self.mode {
                    EraseMode::Pixel => fill_normal(row, rng),
                    EraseMode::Const | EraseMode::Rand => row.fill(colour),
                }
            }
        }
    }
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
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    let size = TABLE.get_or_init(half_normal)[bits as usize % QUANTILES];
    if bits >> 12 & 1 == 0 { size } else { -size }
}

/// The mean of the half normal distribution in each of its quantiles, scaled so that the variance is 1.
fn half_normal() -> Vec<f32> {
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
