//! Random erasing of rectangles of a normalised image: timm's `RandomErasing` (Zhong et al., 2017).

use std::sync::OnceLock;

use random::{Key, Rng};

use crate::{CropBox, Draw};

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
        self.paint(&mut Image { values, width, height, rectangle: [0; 4] }, [width, height], rng);
    }

    /// What is erased of an image of `side` × `side` pixels, for whoever erases elsewhere: each patch covers those before it. `key` is the
    /// sample's, for [`Purpose::Augment`](random::Purpose::Augment).
    pub fn patches(&self, side: usize, key: Key) -> Vec<Patch> {
        let mut patches = Patches(Vec::new());
        self.paint(&mut patches, [side; 2], &mut rng_of(key));
        patches.0
    }

    fn paint(&self, canvas: &mut impl Canvas, [width, height]: [usize; 2], rng: &mut Rng) {
        if !rng.chance(self.probability) {
            return;
        }
        let [fewest, most] = self.count;
        let count = fewest + rng.below(u64::from(most.saturating_sub(fewest)) + 1) as u32;
        for _ in 0..count {
            if let Some(rectangle) = self.rectangle(width, height, count, rng) {
                self.fill(canvas, rectangle, rng);
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

    fn fill(&self, canvas: &mut impl Canvas, rectangle: [usize; 4], rng: &mut Rng) {
        canvas.begin(rectangle);
        for channel in 0..3 {
            let colour = if self.mode == EraseMode::Rand { normal(rng.next_u32()) } else { 0.0 };
            for row in 0..rectangle[2] {
                let row = canvas.row(channel, row);
                match self.mode {
                    EraseMode::Pixel => fill_normal(row, rng),
                    EraseMode::Const | EraseMode::Rand => row.fill(colour),
                }
            }
        }
    }
}

/// A rectangle, and what stands there afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Where it lies in the image.
    pub place: CropBox,
    /// (3, height, width).
    pub values: Vec<f32>,
}

/// Where rectangles are painted, one after the other.
trait Canvas {
    /// The rectangle that follows: top, left, height and width.
    fn begin(&mut self, rectangle: [usize; 4]);

    /// The numbers of one of its rows in one channel.
    fn row(&mut self, channel: usize, row: usize) -> &mut [f32];
}

/// An image (3, H, W).
struct Image<'a> {
    values: &'a mut [f32],
    width: usize,
    height: usize,
    rectangle: [usize; 4],
}

impl Canvas for Image<'_> {
    fn begin(&mut self, rectangle: [usize; 4]) {
        self.rectangle = rectangle;
    }

    fn row(&mut self, channel: usize, row: usize) -> &mut [f32] {
        let [top, left, _, columns] = self.rectangle;
        &mut self.values[(channel * self.height + top + row) * self.width + left..][..columns]
    }
}

/// Rectangles by themselves.
struct Patches(Vec<Patch>);

impl Canvas for Patches {
    fn begin(&mut self, rectangle: [usize; 4]) {
        let [top, left, height, width] = rectangle.map(|side| side as u32);
        let values = vec![0.0; 3 * rectangle[2] * rectangle[3]];
        self.0.push(Patch { place: CropBox { top, left, height, width }, values });
    }

    fn row(&mut self, channel: usize, row: usize) -> &mut [f32] {
        let Patch { place: CropBox { height, width, .. }, values } = self.0.last_mut().expect("a rectangle has begun");
        let [height, width] = [*height as usize, *width as usize];
        &mut values[(channel * height + row) * width..][..width]
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
