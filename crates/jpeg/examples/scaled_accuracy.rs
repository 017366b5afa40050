//! How far scaled decoding and then resizing is from full decoding and then resizing:
//! `cargo run --release -p jpeg --example scaled_accuracy DIR [IMAGES]`.
//!
//! Crops of many sizes of real photographs become squares in both ways; the table has the mean difference in levels by
//! the scale, by how many times larger than the target the crop is, by filter and by subsampling. The resizing is done in
//! floats, so that its rounding does not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jpeg::{DecodeOptions, Decoder, PixelFormat, Rect, Scale, Subsampling};
use random::Key;
use resample::{Axis, Kernel};

const FILTERS: [(&str, Kernel); 2] = [("bilinear", Kernel::Triangle), ("bicubic", Kernel::Cubic)];

/// Sides of the result; small ones stand for large photographs.
const TARGETS: [u32; 6] = [160, 112, 80, 56, 40, 24];

/// What has been seen of one row of the table.
#[derive(Default)]
struct Row {
    crops: u32,
    mean: f64,
    worst_mean: f64,
    worst: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(folder) = arguments.get(1) else {
        eprintln!("usage: scaled_accuracy DIR [IMAGES]");
        std::process::exit(2);
    };
    let images = arguments.get(2).and_then(|a| a.parse().ok()).unwrap_or(60);
    let mut files = Vec::new();
    find_files(Path::new(folder), &mut files);
    files.sort();
    let mut rows: BTreeMap<(&str, u32, u32, String), Row> = BTreeMap::new();
    let mut decoder = Decoder::new(DecodeOptions::default()).expect("memory");
    let (mut full, mut scaled) = (Vec::new(), Vec::new());
    for (i, file) in files.iter().take(images).enumerate() {
        let data = std::fs::read(file).expect("readable");
        let Ok(header) = decoder.read_header(&data) else { continue };
        for (t, target) in TARGETS.into_iter().enumerate() {
            let crop = crop(header.width, header.height, Key::root(1).child(i as u64).child(t as u64));
            let larger = f64::from(crop.width.min(crop.height)) / f64::from(target);
            if larger < 2.0 {
                continue;
            }
            for (name, filter) in FILTERS {
                square(&mut decoder, &data, (crop, Scale::Full), (target, filter), &mut full);
                for scale in [Scale::Half, Scale::Quarter, Scale::Eighth] {
                    if f64::from(scale.divisor()) > larger {
                        continue;
                    }
                    square(&mut decoder, &data, (crop, scale), (target, filter), &mut scaled);
                    // Half steps of a factor of two, in hundredths.
                    let bin = (((larger.log2() * 2.0).floor() / 2.0).exp2() * 100.0).round() as u32;
                    let kind = subsampling(header.subsampling);
                    add(rows.entry((name, scale.divisor(), bin, kind)).or_default(), &full, &scaled);
                }
            }
        }
    }
    println!("filter    divisor  crop/target from  subsampling  crops  mean   worst mean  worst level");
    for ((filter, divisor, bin, kind), row) in &rows {
        let mean = row.mean / f64::from(row.crops);
        println!(
            "{filter:9} {divisor:7}  {:16.2}  {kind:11}  {:5}  {mean:5.3}  {:10.3}  {:11.1}",
            f64::from(*bin) / 100.0,
            row.crops,
            row.worst_mean,
            row.worst
        );
    }
}

fn subsampling(kind: Subsampling) -> String {
    format!("{kind:?}")
}

fn add(row: &mut Row, full: &[f32], scaled: &[f32]) {
    let pairs = || {
        let pixels = full.chunks_exact(4).zip(scaled.chunks_exact(4));
        pixels.flat_map(|(a, b)| (0..3).map(|c| f64::from((a[c] - b[c]).abs())))
    };
    let mean = pairs().sum::<f64>() / (full.len() / 4 * 3) as f64;
    row.crops += 1;
    row.mean += mean;
    row.worst_mean = row.worst_mean.max(mean);
    row.worst = pairs().fold(row.worst, f64::max);
}

/// The crop at a scale, resized to a square of RGBX.
fn square(
    decoder: &mut Decoder,
    data: &[u8],
    (crop, scale): (Rect, Scale),
    (target, kernel): (u32, Kernel),
    into: &mut Vec<f32>,
) {
    let mut pixels = Vec::new();
    let info = decoder.decode_region(data, crop, scale, PixelFormat::Rgbx, &mut pixels).expect("a JPEG");
    let floats: Vec<[f32; 4]> = pixels[..info.bytes()].as_chunks().0.iter().map(|pixel| pixel.map(f32::from)).collect();
    let [left, top, width, height] = info.crop_box(crop);
    let across = Axis { kernel, pixels: info.decoded.width, start: left, length: width, results: target };
    let down = Axis { kernel, pixels: info.decoded.height, start: top, length: height, results: target };
    let square = resize_and_turn(&resize_and_turn(&floats, across), down);
    into.clear();
    into.extend(square.into_iter().flatten());
}

/// Resizes rows of pixels, which become columns: (rows, pixels) → (results, rows).
fn resize_and_turn(from: &[[f32; 4]], axis: Axis) -> Vec<[f32; 4]> {
    let mut weights = Vec::new();
    let mut turned = Vec::new();
    for result in 0..axis.results {
        let first = axis.weights(result, &mut weights) as usize;
        for row in from.chunks_exact(axis.pixels as usize) {
            let mut sums = [0.0; 4];
            for (pixel, weight) in row[first..].iter().zip(&weights) {
                (0..4).for_each(|channel| sums[channel] += f64::from(pixel[channel]) * weight);
            }
            turned.push(sums.map(|sum| sum as f32));
        }
    }
    turned
}

/// A crop of at least half of each side, anywhere.
fn crop(width: u32, height: u32, key: Key) -> Rect {
    let mut rng = key.rng();
    let mut side = |whole: u32| {
        let length = (whole / 2 + rng.below(u64::from(whole - whole / 2) + 1) as u32).max(1);
        (rng.below(u64::from(whole - length) + 1) as u32, length)
    };
    let ((x, width), (y, height)) = (side(width), side(height));
    Rect::new(x, y, width, height)
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
