//! Every backend computes the same bits, and those are what the kernels in f64 say.

use proptest::prelude::*;
use random::Key;
use resample::{Axis, Backend, Image, Kernel, Part, ResampleError, Resampler, Window};

/// An image, a part of it, a window in that, and what it becomes.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    sides: [u32; 2],
    part: Part,
    window: Window,
    kernel: Kernel,
    size: [u32; 2],
}

impl Case {
    fn pixels(&self) -> Vec<u8> {
        let mut rng = Key::root(self.seed).rng();
        // Half of it black or white, so that cubics overshoot.
        let level = |value: u64| if value & 256 == 0 { value as u8 } else { 255 * (value & 1) as u8 };
        (0..self.sides[0] * self.sides[1] * 4).map(|_| level(rng.below(512))).collect()
    }

    fn resize(&self, resampler: &mut Resampler) -> Vec<u8> {
        let (pixels, mut found) = (self.pixels(), vec![7; 3]);
        let image = Image { pixels: &pixels, width: self.sides[0], height: self.sides[1] };
        resampler.resize(image, self.part, self.window, self.kernel, self.size, &mut found).expect("a good window");
        found
    }

    /// Weights in f64, rounded to 22 binary places; of those sums in f64 are exact. Rounded to bytes after each pass.
    fn reference(&self) -> Vec<u8> {
        let Case { part, window, kernel, size: [columns, rows], .. } = *self;
        let (pixels, mut weights) = (self.pixels(), Vec::new());
        let axis = |pixels, start, length, results| Axis { kernel, pixels, start, length, results };
        let across = axis(part.width, window.left, window.width, columns);
        let mut between = vec![0.0; (part.height * columns * 4) as usize]; // (part's rows, columns, 4)
        for (place, value) in (0..).zip(&mut between) {
            let (row, column, channel) = (place / 4 / columns, place / 4 % columns, place % 4);
            let first = across.weights(column, &mut weights);
            let start = ((part.top + row) * self.sides[0] + part.left + first) * 4 + channel;
            let levels = pixels[start as usize..].iter().step_by(4).map(|&level| f64::from(level));
            *value = byte(weights.iter().zip(levels).map(|(weight, level)| rounded(*weight) * level).sum());
        }
        let down = axis(part.height, window.top, window.height, rows);
        let result = (0..rows * columns * 4).map(|place| {
            let first = down.weights(place / 4 / columns, &mut weights);
            let start = (first * columns * 4 + place % (columns * 4)) as usize;
            let levels = between[start..].iter().step_by((columns * 4) as usize);
            byte(weights.iter().zip(levels).map(|(weight, level)| rounded(*weight) * level).sum()) as u8
        });
        result.collect()
    }
}

fn rounded(weight: f64) -> f64 {
    (weight * f64::from(1 << 22)).round() / f64::from(1 << 22)
}

fn byte(value: f64) -> f64 {
    (value + 0.5).floor().clamp(0.0, 255.0)
}

/// A start and a length within `limit`.
fn span(limit: u32, place: f64, share: f64) -> (u32, u32) {
    let length = ((f64::from(limit) * share) as u32).max(1);
    ((f64::from(limit - length) * place) as u32, length)
}

fn window_span(limit: u32, place: f64, share: f64) -> (f64, f64) {
    let length = f64::from(limit) * share.max(1e-3);
    ((f64::from(limit) - length) * place, length)
}

prop_compose! {
    fn case(longest: u32, largest: u32)(
        seed in any::<u64>(),
        width in 1..=longest, height in 1..=longest,
        places in prop::array::uniform4(0.0..=1.0f64),
        shares in prop::array::uniform4(prop_oneof![Just(1.0), 0.0..=1.0f64]),
        kernel in prop_oneof![Just(Kernel::Triangle), Just(Kernel::Cubic)],
        columns in 1..=largest, rows in 1..=largest,
    ) -> Case {
        let ((left, part_width), (top, part_height)) = (span(width, places[0], shares[0]), span(height, places[1], shares[1]));
        let part = Part { left, top, width: part_width, height: part_height };
        let (x, across) = window_span(part_width, places[2], shares[2]);
        let (y, down) = window_span(part_height, places[3], shares[3]);
        let window = Window { left: x, top: y, width: across, height: down };
        Case { seed, sides: [width, height], part, window, kernel, size: [columns, rows] }
    }
}

proptest! {
    #[test]
    fn backends_agree_to_the_bit(cases in prop::collection::vec(case(150, 80), 1..4)) {
        let mut portable = Resampler::with(Backend::Portable).expect("for every processor");
        let others: Vec<Resampler> = Backend::ALL.into_iter().filter_map(Resampler::with).collect();
        for mut other in others {
            // One after the other through the same memory.
            for case in &cases {
                prop_assert!(case.resize(&mut portable) == case.resize(&mut other), "{case:?} with {:?}", other.backend());
            }
        }
    }

    #[test]
    fn the_reference_is_met_to_the_bit(case in case(60, 40)) {
        prop_assert!(case.resize(&mut Resampler::default()) == case.reference(), "{case:?}");
    }
}

/// Reductions that no proptest of a moment reaches: hundreds of pixels a result, and many results a pixel.
#[test]
fn backends_agree_on_extremes() {
    let mut portable = Resampler::with(Backend::Portable).expect("for every processor");
    for mut other in Backend::ALL.into_iter().filter_map(Resampler::with) {
        for kernel in [Kernel::Triangle, Kernel::Cubic] {
            for (sides, size) in [([5000, 3], [1, 1]), ([3, 5000], [2, 5]), ([1, 1], [300, 300]), ([2, 2], [65, 1])] {
                let part = Part { left: 0, top: 0, width: sides[0], height: sides[1] };
                let case = Case { seed: 3, sides, part, window: part.window(), kernel, size };
                assert!(case.resize(&mut portable) == case.resize(&mut other), "{case:?} with {:?}", other.backend());
            }
        }
    }
}

/// What lies outside the part has no influence.
#[test]
fn surroundings_are_not_seen() {
    let (width, height) = (50, 40);
    let part = Part { left: 9, top: 7, width: 21, height: 17 };
    let inside = |x: u32, y: u32| (9..30).contains(&x) && (7..24).contains(&y);
    let image = |around: u8| -> Vec<u8> {
        let level = |place: u32| if inside(place % width, place / width) { (place * 37) as u8 } else { around };
        (0..width * height).flat_map(|place| [level(place); 4]).collect()
    };
    let [black, white] = [image(0), image(255)];
    for mut resampler in Backend::ALL.into_iter().filter_map(Resampler::with) {
        for size in [[3, 2], [13, 30], [64, 64]] {
            let results = [&black, &white].map(|pixels| {
                let mut into = Vec::new();
                let image = Image { pixels, width, height };
                resampler.resize(image, part, part.window(), Kernel::Cubic, size, &mut into).expect("a good window");
                into
            });
            assert!(results[0] == results[1], "{size:?} with {:?}", resampler.backend());
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let (mut resampler, mut into) = (Resampler::default(), Vec::new());
    let pixels = vec![0; 5 * 4 * 4];
    let image = Image { pixels: &pixels, width: 5, height: 4 };
    let mut resize = |image: Image<'_>, part: Part, window: Window, size: [u32; 2]| {
        resampler.resize(image, part, window, Kernel::Cubic, size, &mut into).err()
    };
    let (part, size) = (image.whole(), [3, 3]);
    assert_eq!(resize(image, part, part.window(), size), None);
    let short = Image { pixels: &pixels[1..], ..image };
    let needed = ResampleError::ShortImage { width: 5, height: 4, needed: 80, bytes: 79 };
    assert_eq!(resize(short, part, part.window(), size), Some(needed));
    for bad in [Part { left: 1, ..part }, Part { height: 0, ..part }, Part { top: u32::MAX, ..part }] {
        let expected = ResampleError::PartOutside { part: bad, width: 5, height: 4 };
        assert_eq!(resize(image, bad, part.window(), size), Some(expected));
    }
    let good = part.window();
    let windows = [Window { left: 0.1, ..good }, Window { top: -0.1, ..good }, Window { width: 0.0, ..good }];
    for bad in windows {
        let expected = ResampleError::WindowOutside { window: bad, width: 5, height: 4 };
        assert_eq!(resize(image, part, bad, size), Some(expected));
    }
    let no_number = Window { left: f64::NAN, ..good };
    assert!(matches!(resize(image, part, no_number, size), Some(ResampleError::WindowOutside { .. })));
    assert_eq!(resize(image, part, good, [0, 3]), Some(ResampleError::EmptyResult { columns: 0, rows: 3 }));
}
