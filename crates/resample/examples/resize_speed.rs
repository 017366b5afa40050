//! Our resizing against `fast_image_resize`: `cargo run --release -p resample --example resize_speed [ROUNDS]`.
//!
//! All backends and the peer take turns on the same crops, so that a busy machine slows all of them alike. Every image has
//! another part, as in training: tables of weights are made anew. Ratios are medians of each round against its own neighbour.

use std::hint::black_box;
use std::time::Instant;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x4;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use random::Key;
use resample::{Backend, Image, Kernel, Part, Resampler};

/// Columns and rows of a crop, and the side of its result.
const CROPS: [([u32; 2], u32); 7] = [
    ([300, 260], 224),
    ([150, 130], 224),
    ([450, 400], 224),
    ([80, 70], 224),
    ([1200, 900], 224),
    ([400, 380], 96),
    ([32, 32], 32),
];
const KERNELS: [(&str, Kernel, FilterType); 2] =
    [("bilinear", Kernel::Triangle, FilterType::Bilinear), ("bicubic", Kernel::Cubic, FilterType::CatmullRom)];

/// Images that are resized in a row before the next one takes its turn.
const BATCH: u32 = 20;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(101);
    let backends: Vec<Backend> = Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect();
    print!("{:22} {:>8}", "crop, kernel", "theirs");
    backends.iter().for_each(|backend| print!("  {:>17}", format!("{backend:?}")));
    println!("\n{:22} {:>8}{}", "", "µs", "     µs    ratio   ".repeat(backends.len()));
    for (crop, size) in CROPS {
        for (name, kernel, theirs) in KERNELS {
            let mut case = Case::new(crop, size);
            let mut peer = Resizer::new();
            let mut ours: Vec<Resampler> =
                backends.iter().map(|&backend| Resampler::with(backend).expect("available")).collect();
            let mut seconds = vec![Vec::new(); 1 + ours.len()];
            for _ in 0..rounds {
                seconds[0].push(case.time(|case, draw| case.theirs(&mut peer, theirs, draw)));
                for (resampler, seconds) in ours.iter_mut().zip(&mut seconds[1..]) {
                    seconds.push(case.time(|case, draw| case.ours(resampler, kernel, draw)));
                }
            }
            print!(
                "{:22} {:8.1}",
                format!("{}x{} → {size} {name}", crop[0], crop[1]),
                median(seconds[0].iter().copied()) * 1e6
            );
            for our in &seconds[1..] {
                let ratio = median(seconds[0].iter().zip(our).map(|(theirs, ours)| theirs / ours));
                print!("  {:8.1} {ratio:8.2}", median(our.iter().copied()) * 1e6);
            }
            println!();
        }
    }
    println!("ratio: their time over ours; above 1 is better");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An image a little larger than the crop, whose place is another each time.
struct Case {
    crop: [u32; 2],
    size: u32,
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    result: Vec<u8>,
}

impl Case {
    fn new(crop: [u32; 2], size: u32) -> Case {
        let (width, height) = (crop[0] + 16, crop[1] + 16);
        let mut rng = Key::root(1).rng();
        let pixels = (0..width * height * 4).map(|_| rng.below(256) as u8).collect();
        Case { crop, size, width, height, pixels, result: Vec::new() }
    }

    /// A crop with sides a few pixels off, so that no table fits twice in a row.
    fn part(&self, draw: u32) -> Part {
        let less = draw % 8;
        Part { left: less, top: 7 - less, width: self.crop[0] + less, height: self.crop[1] + 7 - less }
    }

    /// Seconds an image.
    fn time(&mut self, mut resize: impl FnMut(&mut Case, u32)) -> f64 {
        let start = Instant::now();
        (0..BATCH).for_each(|draw| resize(self, draw));
        black_box(&self.result);
        start.elapsed().as_secs_f64() / f64::from(BATCH)
    }

    fn ours(&mut self, resampler: &mut Resampler, kernel: Kernel, draw: u32) {
        let (part, image) = (self.part(draw), Image { pixels: &self.pixels, width: self.width, height: self.height });
        resampler.resize(image, part, part.window(), kernel, [self.size; 2], &mut self.result).expect("a good window");
    }

    fn theirs(&mut self, resizer: &mut Resizer, filter: FilterType, draw: u32) {
        let Part { left, top, width, height } = self.part(draw);
        let image = TypedImageRef::<U8x4>::from_buffer(self.width, self.height, &self.pixels).expect("whole rows");
        let part = TypedCroppedImage::new(image, left, top, width, height).expect("inside");
        self.result.resize((self.size * self.size * 4) as usize, 0);
        let mut into = TypedImage::<U8x4>::from_buffer(self.size, self.size, &mut self.result).expect("sized above");
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
        resizer.resize_typed(&part, &mut into, &options).expect("sizes fit");
    }
}
