//! Images per second on one core for each way of decoding: `cargo run --release -p jpeg --example decode_speed DIR [IMAGES] [ROUNDS]`.
//!
//! The ways take turns, image by image, on the same random-resized crops (torchvision's distribution), so that a busy
//! machine slows all of them alike. Times are processor time of this thread: the median round, and the sum of each
//! image's best.

use std::path::{Path, PathBuf};

use jpeg::{
    DecodeOptions, Decoder, EntropyDecoder, Frame, PixelFormat, Rect, RegionInfo, Restart, Scale, SegmentIndex,
    TranscodeOptions, Transcoder, assemble_crop,
};
use random::{Key, Rng};
use resample::{Image, Kernel, Resampler, Window};

/// One image in all its forms.
struct Sample {
    plain: Vec<u8>,
    packed: Vec<u8>,
    index: SegmentIndex,
    index_bytes: Vec<u8>,
    crop: Rect,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Full,
    Region,
    Scaled,
    /// The packed file whole, read by its restart markers alone.
    PackedWhole,
    /// A small file assembled from the segments.
    PackedSegments,
}

struct Case {
    name: &'static str,
    way: Way,
    entropy: EntropyDecoder,
    resize: bool,
}

const fn case(name: &'static str, way: Way, entropy: EntropyDecoder, resize: bool) -> Case {
    Case { name, way, entropy, resize }
}

const CASES: [Case; 12] = [
    case("full, libjpeg-turbo's entropy decoder", Way::Full, EntropyDecoder::LibjpegTurbo, false),
    case("full", Way::Full, EntropyDecoder::Ours, false),
    case("region, libjpeg-turbo's entropy decoder", Way::Region, EntropyDecoder::LibjpegTurbo, false),
    case("region", Way::Region, EntropyDecoder::Ours, false),
    case("region, scaled", Way::Scaled, EntropyDecoder::Ours, false),
    case("packed, libjpeg-turbo's entropy decoder", Way::PackedSegments, EntropyDecoder::LibjpegTurbo, false),
    case("packed, whole file", Way::PackedWhole, EntropyDecoder::Ours, false),
    case("packed, segments", Way::PackedSegments, EntropyDecoder::Ours, false),
    case("full, resize 224, normalise (libjpeg-turbo's)", Way::Full, EntropyDecoder::LibjpegTurbo, true),
    case("full, resize 224, normalise", Way::Full, EntropyDecoder::Ours, true),
    case("region, scaled, resize 224, normalise", Way::Scaled, EntropyDecoder::Ours, true),
    case("packed, segments, scaled, resize 224, normalise", Way::PackedSegments, EntropyDecoder::Ours, true),
];

const TARGET: u32 = 224;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(folder) = arguments.get(1) else {
        eprintln!("usage: decode_speed DIR [IMAGES] [ROUNDS]");
        std::process::exit(2);
    };
    let number = |at: usize, default: usize| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (images, rounds) = (number(2, 200), number(3, 7).max(1));
    let samples = load(Path::new(folder), images);
    assert!(!samples.is_empty(), "no JPEG under {folder}");
    describe(&samples);
    let mut bench = Bench::new();
    let mut times = vec![vec![vec![0.0; samples.len()]; CASES.len()]; rounds];
    for round in &mut times {
        for (s, sample) in samples.iter().enumerate() {
            for (c, case) in CASES.iter().enumerate() {
                let start = processor_seconds();
                bench.run(case, sample);
                round[c][s] = processor_seconds() - start;
            }
        }
    }
    report(&times, samples.len());
}

fn report(times: &[Vec<Vec<f64>>], images: usize) {
    println!("\n{:50} {:>9} {:>9} {:>9} {:>7}", "", "µs median", "µs best", "images/s", "ratio");
    let mut base = None;
    for (c, case) in CASES.iter().enumerate() {
        let rounds = || times.iter().map(|round| &round[c]);
        let mut totals: Vec<f64> = rounds().map(|round| round.iter().sum::<f64>() / images as f64).collect();
        totals.sort_by(f64::total_cmp);
        let median = totals[totals.len() / 2];
        let best_of = |s: usize| rounds().map(|round| round[s]).fold(f64::MAX, f64::min);
        let best = (0..images).map(best_of).sum::<f64>() / images as f64;
        if case.entropy == EntropyDecoder::LibjpegTurbo && case.way == Way::Full {
            base = Some(best);
        }
        let ratio = base.unwrap_or(best) / best;
        println!("{:50} {:9.0} {:9.0} {:9.0} {ratio:7.2}", case.name, median * 1e6, best * 1e6, 1.0 / best);
    }
    println!("ratio: to full decoding with libjpeg-turbo alone, with or without resizing");
}

/// What the size of the data tells: growth by packing, and the share of coded bytes that crops need.
fn describe(samples: &[Sample]) {
    let sum = |f: &dyn Fn(&Sample) -> usize| samples.iter().map(f).sum::<usize>() as f64;
    let (plain, packed) = (sum(&|s| s.plain.len()), sum(&|s| s.packed.len()));
    let index = sum(&|s| s.index_bytes.len());
    println!(
        "{} images, {:.1} kB each; packed {:+.2} %",
        samples.len(),
        plain / samples.len() as f64 / 1e3,
        100.0 * (packed / plain - 1.0)
    );
    println!(
        "index: {:.0} bytes an image, {:.2} a segment",
        index / samples.len() as f64,
        index / sum(&|s| s.index.len())
    );
    let (mut needed, mut rows, mut coded) = (0, 0, 0);
    for sample in samples {
        let frame = Frame::parse(&sample.packed).expect("our own file");
        for draw in 0..20 {
            let crop = random_resized_crop(
                frame.width,
                frame.height,
                &mut Key::root(9).child(draw).child(sample.plain.len() as u64).rng(),
            );
            let plan = sample.index.plan(&frame, crop).expect("our own index");
            needed += sample.index.ranges(&plan).map(|range| range.len()).sum::<usize>();
            let end = sample.index.ranges(&plan).last().map_or(0, |range| range.end);
            rows += end.saturating_sub(frame.scan_offset);
            coded += sample.packed.len() - frame.scan_offset;
        }
    }
    println!(
        "coded bytes that a crop needs: {:.1} % by segments, {:.1} % by stopping after its last segment",
        100.0 * needed as f64 / coded as f64,
        100.0 * rows as f64 / coded as f64
    );
}

/// The decoders and buffers of one thread.
struct Bench {
    ours: Decoder,
    theirs: Decoder,
    index: SegmentIndex,
    small: Vec<u8>,
    pixels: Vec<u8>,
    resampler: Resampler,
    resized: Vec<u8>,
    normalised: Vec<f32>,
}

impl Bench {
    fn new() -> Bench {
        let decoder = |entropy| Decoder::new(DecodeOptions { entropy, ..Default::default() }).expect("memory");
        Bench {
            ours: decoder(EntropyDecoder::Ours),
            theirs: decoder(EntropyDecoder::LibjpegTurbo),
            index: SegmentIndex::default(),
            small: Vec::new(),
            pixels: Vec::new(),
            resampler: Resampler::default(),
            resized: Vec::new(),
            normalised: vec![0.0; (3 * TARGET * TARGET) as usize],
        }
    }

    fn run(&mut self, case: &Case, sample: &Sample) {
        let decoder = match case.entropy {
            EntropyDecoder::Ours => &mut self.ours,
            EntropyDecoder::LibjpegTurbo => &mut self.theirs,
        };
        let (file, crop) = match case.way {
            Way::Full | Way::Region | Way::Scaled => (&sample.plain, sample.crop),
            Way::PackedWhole => (&sample.packed, sample.crop),
            Way::PackedSegments => {
                self.index.read(&sample.index_bytes).expect("our own index");
                let (crop, _) =
                    assemble_crop(&sample.packed, &self.index, sample.crop, &mut self.small).expect("our own file");
                (&self.small, crop)
            }
        };
        let image = decoder.open(file).expect("a JPEG");
        let region =
            if case.way == Way::Full { Rect::new(0, 0, image.header().width, image.header().height) } else { crop };
        let scale = if case.way == Way::Scaled || (case.resize && case.way == Way::PackedSegments) {
            Scale::for_target(crop, TARGET, TARGET)
        } else {
            Scale::Full
        };
        let info = image.decode_region(region, scale, PixelFormat::Rgbx, &mut self.pixels).expect("a JPEG");
        if case.resize {
            self.resize(&info, crop);
        }
    }

    fn resize(&mut self, info: &RegionInfo, crop: Rect) {
        let pixels = &self.pixels[..info.bytes()];
        let source = Image { pixels, width: info.decoded.width, height: info.decoded.height };
        let [left, top, width, height] = info.crop_box(crop);
        let window = Window { left, top, width, height };
        self.resampler
            .resize(source, source.whole(), window, Kernel::Triangle, [TARGET; 2], &mut self.resized)
            .expect("sizes fit");
        let plane = (TARGET * TARGET) as usize;
        let (red, rest) = self.normalised.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        for (((pixel, r), g), b) in self.resized.chunks_exact(4).zip(red).zip(green).zip(blue) {
            *r = f32::from(pixel[0]) * 0.017_124_75 - 2.117_904;
            *g = f32::from(pixel[1]) * 0.017_507 - 2.035_714;
            *b = f32::from(pixel[2]) * 0.017_429_2 - 1.804_444;
        }
    }
}

fn load(folder: &Path, images: usize) -> Vec<Sample> {
    let mut files = Vec::new();
    find_files(folder, &mut files);
    files.sort();
    let mut transcoder = Transcoder::new().expect("memory");
    let options = TranscodeOptions { restart: Restart::Segments, ..Default::default() };
    let mut samples = Vec::new();
    for (i, file) in files.iter().enumerate().take(images) {
        let Ok(plain) = std::fs::read(file) else { continue };
        let packed = match transcoder.transcode(&plain, &options) {
            Ok(packed) => packed.to_vec(),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                continue;
            }
        };
        let (Ok(index), Ok(frame)) = (SegmentIndex::of(&packed), Frame::parse(&packed)) else { continue };
        let crop = random_resized_crop(frame.width, frame.height, &mut Key::root(1).child(i as u64).rng());
        samples.push(Sample { plain, packed, index_bytes: index.to_bytes(), index, crop });
    }
    samples
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// torchvision's RandomResizedCrop with its defaults.
fn random_resized_crop(width: u32, height: u32, rng: &mut Rng) -> Rect {
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let target = area * rng.uniform_in(0.08, 1.0);
        let ratio = rng.uniform_in((3.0f64 / 4.0).ln(), (4.0f64 / 3.0).ln()).exp();
        let (w, h) = ((target * ratio).sqrt().round() as u32, (target / ratio).sqrt().round() as u32);
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let y = rng.below(u64::from(height - h + 1)) as u32;
            return Rect::new(rng.below(u64::from(width - w + 1)) as u32, y, w, h);
        }
    }
    let (shortest, longest) = (f64::from(width.min(height)), f64::from(width.max(height)));
    let side = (shortest * 4.0 / 3.0).min(longest).round() as u32;
    let (w, h) = if width < height { (width, side) } else { (side, height) };
    Rect::new((width - w) / 2, (height - h) / 2, w, h)
}

/// Processor time of this thread.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
