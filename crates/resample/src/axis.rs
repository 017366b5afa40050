//! Which pixels count for a result along one side, and how much: PIL's kernels and bounds in f64.

/// How pixels are interpolated. The support grows with the reduction, so that nothing aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The triangle of width 2, PIL's `BILINEAR`.
    Triangle,
    /// Keys' cubic with a = −0.5, PIL's `BICUBIC`.
    Cubic,
}

/// One side of a resize: `length` from `start` on of a row of `pixels` becomes `results`.
///
/// The semantics are those of `Image.resize(size, resample, box)` in PIL (`precompute_coeffs` in Pillow's `Resample.c`): pixels
/// outside the interval count near its ends, and what would lie outside the row counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// How pixels are interpolated.
    pub kernel: Kernel,
    /// Pixels that may count, at least one.
    pub pixels: u32,
    /// Where the interval begins, in pixels.
    pub start: f64,
    /// Its length in pixels, above zero.
    pub length: f64,
    /// Pixels of the result.
    pub results: u32,
}

/// Keys' parameter.
const A: f64 = -0.5;

impl Kernel {
    /// How far the kernel reaches on each side where nothing is reduced, in pixels.
    pub fn support(self) -> f64 {
        match self {
            Kernel::Triangle => 1.0,
            Kernel::Cubic => 2.0,
        }
    }
}

pub(crate) fn triangle(at: f64) -> f64 {
    (1.0 - at.abs()).max(0.0)
}

/// All branches are computed, so that the compiler can do several at once.
pub(crate) fn cubic(at: f64) -> f64 {
    let x = at.abs();
    let near = ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = (((x - 5.0) * x + 8.0) * x - 4.0) * A;
    let beyond = if x < 2.0 { far } else { 0.0 };
    if x < 1.0 { near } else { beyond }
}

/// What the weights of all results of an axis have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pixels: u32,
    start: f64,
    /// Pixels that a result spans.
    scale: f64,
    /// How far pixels count on each side of a result's centre.
    support: f64,
    /// What makes a distance in pixels one of the kernel.
    narrowing: f64,
}

impl Steps {
    fn center(&self, result: u32) -> f64 {
        self.start + (f64::from(result) + 0.5) * self.scale
    }

    /// The pixels `[first, end)` that count for a result, at least one.
    pub(crate) fn bounds(&self, result: u32) -> [u32; 2] {
        let center = self.center(result);
        // Casts cut towards zero and saturate.
        let first = ((center - self.support + 0.5) as u32).min(self.pixels - 1);
        let end = ((center + self.support + 0.5) as u32).clamp(first + 1, self.pixels);
        [first, end]
    }

    /// How far each pixel from `first` on lies from a result, as the kernel counts.
    pub(crate) fn distances(&self, result: u32, first: u32) -> impl Iterator<Item = f64> {
        let (center, narrowing) = (self.center(result), self.narrowing);
        (first..).map(move |pixel| (f64::from(pixel) - center + 0.5) * narrowing)
    }
}

impl Axis {
    pub(crate) fn steps(&self) -> Steps {
        let scale = self.length / f64::from(self.results);
        let reduction = scale.max(1.0);
        Steps {
            pixels: self.pixels,
            start: self.start,
            scale,
            support: self.kernel.support() * reduction,
            narrowing: 1.0 / reduction,
        }
    }

    /// Puts the weights of a result's pixels, which sum to 1, into `into`, and says where they begin.
    ///
    /// This is the reference: what resizes has the same weights as fixed-point numbers.
    pub fn weights(&self, result: u32, into: &mut Vec<f64>) -> u32 {
        let steps = self.steps();
        let [first, end] = steps.bounds(result);
        let distances = steps.distances(result, first).take((end - first) as usize);
        into.clear();
        match self.kernel {
            Kernel::Triangle => into.extend(distances.map(triangle)),
            Kernel::Cubic => into.extend(distances.map(cubic)),
        }
        let sum: f64 = into.iter().sum();
        if sum != 0.0 {
            into.iter_mut().for_each(|weight| *weight /= sum);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(kernel: Kernel, pixels: u32, start: f64, length: f64, results: u32) -> Axis {
        Axis { kernel, pixels, start, length, results }
    }

    #[test]
    fn whole_pixels_stay_what_they_are() {
        let mut weights = Vec::new();
        for kernel in [Kernel::Triangle, Kernel::Cubic] {
            let unchanged = axis(kernel, 9, 2.0, 5.0, 5);
            for result in 0..5 {
                let first = unchanged.weights(result, &mut weights);
                let expected: Vec<f64> =
                    (first..).take(weights.len()).map(|pixel| f64::from(u8::from(pixel == result + 2))).collect();
                assert_eq!(weights, expected, "{kernel:?} {result}");
            }
        }
    }

    #[test]
    fn halves_weigh_as_the_kernels_say() {
        let mut weights = Vec::new();
        assert_eq!(axis(Kernel::Triangle, 8, 0.0, 8.0, 4).weights(1, &mut weights), 1);
        assert_eq!(weights, [0.125, 0.375, 0.375, 0.125]);
        assert_eq!(axis(Kernel::Cubic, 8, 2.5, 1.0, 1).weights(0, &mut weights), 1);
        assert_eq!(weights, [-0.0625, 0.5625, 0.5625, -0.0625]);
    }

    #[test]
    fn an_interval_at_the_end_keeps_a_pixel() {
        for kernel in [Kernel::Triangle, Kernel::Cubic] {
            for start in [0.0, 4.999_999, 5.0] {
                let [first, end] = axis(kernel, 5, start, 1e-9, 1).steps().bounds(0);
                assert!(first < end && end <= 5);
            }
        }
    }
}
