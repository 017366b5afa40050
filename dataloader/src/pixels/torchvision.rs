//! Agreement with figures that torchvision and PIL computed (`tests/fixtures/make_torchvision_figures.py`).

use random::Key;
use resample::Kernel;
use serde::Deserialize;

use crate::pixels::crop::{Wanted, Window};
use crate::pixels::decode::{Decoder, Rgbx};
use crate::pixels::resample::Resampler;
use crate::{CropBox, Encoding, Filter, Pixels, Transform};

#[derive(Deserialize)]
struct Figures {
    crops: Vec<CropCase>,
    centers: Vec<CenterCase>,
    boxes: BoxCases,
    normalised: Normalised,
    odd_files: Vec<OddFile>,
}

#[derive(Deserialize)]
struct CropCase {
    r#box: [u32; 4],
    size: u32,
    filter: String,
    pixels: String,
}

#[derive(Deserialize)]
struct CenterCase {
    view: [u32; 4],
    size: u32,
    pct: f64,
    filter: String,
    pixels: String,
}

#[derive(Deserialize)]
struct BoxCases {
    scale: [f64; 2],
    ratio: [f64; 2],
    images: Vec<BoxCase>,
}

#[derive(Deserialize)]
struct BoxCase {
    width: u32,
    height: u32,
    mean: [f64; 4],
    std: [f64; 4],
}

#[derive(Deserialize)]
struct Normalised {
    mean: [f32; 3],
    std: [f32; 3],
    pixels: String,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct OddFile {
    file: String,
    mode: String,
    pixels: String,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../../tests/fixtures/torchvision.json")).expect("the fixture is JSON")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decode(bytes: &[u8]) -> Rgbx {
    let mut image = Rgbx::default();
    Decoder::default().decode(bytes, Encoding::File, &Wanted::whole, &mut image).expect("a valid image");
    image
}

fn rgb(rgbx: &[u8]) -> Vec<u8> {
    rgbx.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

fn kernel(name: &str) -> Kernel {
    match name {
        "bilinear" => Filter::Bilinear.kernel(Key::root(0)),
        "bicubic" => Filter::Bicubic.kernel(Key::root(0)),
        other => panic!("unknown filter {other}"),
    }
}

fn crop_box([top, left, height, width]: [u32; 4]) -> CropBox {
    CropBox { top, left, height, width }
}

/// The part of an image inside a box.
fn cut(image: &Rgbx, CropBox { top, left, height, width }: CropBox) -> Rgbx {
    let rows = image.bytes.chunks_exact(image.width as usize * 4).skip(top as usize).take(height as usize);
    let bytes = rows.flat_map(|row| &row[left as usize * 4..(left + width) as usize * 4]).copied().collect();
    Rgbx { width, height, bytes }
}

#[track_caller]
fn assert_close(found: &[u8], expected: &[u8], levels: u8, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(levels), "{what}: off by {worst:?} levels, {levels} allowed");
}

#[test]
fn resized_crops_agree_to_the_bit() {
    let (image, mut resampler, mut found) = (decode(&fixture("waves.png")), Resampler::default(), Vec::new());
    for case in figures().crops {
        let view = Wanted::only(crop_box(case.r#box), case.size).in_whole();
        resampler.resize_view(&image, view, kernel(&case.filter), [case.size; 2], &mut found);
        let what = format!("box {:?} to {} {}", case.r#box, case.size, case.filter);
        assert_eq!(rgb(&found), from_hex(&case.pixels), "{what}");
    }
}

#[test]
fn resize_and_center_crop_agree_to_the_bit() {
    let (image, mut resampler, mut found) = (decode(&fixture("waves.png")), Resampler::default(), Vec::new());
    for case in figures().centers {
        let view = cut(&image, crop_box(case.view));
        let window = Window::center(view.width, view.height, case.size, case.pct);
        let wanted = Wanted::around(window, [view.width, view.height], [case.size; 2]).in_whole();
        resampler.resize_view(&view, wanted, kernel(&case.filter), [case.size; 2], &mut found);
        let what = format!("{:?} to {} of {} {}", case.view, case.size, case.pct, case.filter);
        assert_eq!(rgb(&found), from_hex(&case.pixels), "{what}");
    }
}

/// The boxes themselves come from other random numbers, so their distributions are compared: means within five standard
/// errors of two samples, spreads within 4 %. Where every try must fail, the fallback is the same box.
#[test]
fn random_boxes_are_distributed_alike() {
    const DRAWS: u64 = 20_000;
    let BoxCases { scale, ratio, images } = figures().boxes;
    for BoxCase { width, height, mean, std } in images {
        let mut sums = [[0.0; 2]; 4];
        for draw in 0..DRAWS {
            let mut rng = Key::root(1).child(draw).rng();
            let drawn = CropBox::random_resized(width, height, scale, ratio, &mut rng);
            assert!(drawn.top + drawn.height <= height && drawn.left + drawn.width <= width, "{drawn:?}");
            for (sum, value) in sums.iter_mut().zip([drawn.top, drawn.left, drawn.height, drawn.width]) {
                sum[0] += f64::from(value);
                sum[1] += f64::from(value).powi(2);
            }
        }
        for (place, [sum, squares]) in sums.into_iter().enumerate() {
            let our_mean = sum / DRAWS as f64;
            let our_std = (squares / DRAWS as f64 - our_mean.powi(2)).max(0.0).sqrt();
            let tolerance = 5.0 * std[place] * (2.0 / DRAWS as f64).sqrt();
            let what = format!("number {place} of boxes in {width} x {height}");
            assert!((our_mean - mean[place]).abs() <= tolerance, "{what}: mean {our_mean}, not {}", mean[place]);
            assert!((our_std - std[place]).abs() <= 0.04 * std[place], "{what}: spread {our_std}, not {}", std[place]);
        }
    }
}

#[test]
fn normalised_values_agree() {
    let Normalised { mean, std, pixels, values } = figures().normalised;
    let size = 8;
    let transform = Transform { pixels: Pixels::F32 { mean, std }, ..Transform::center(size, 1.0) };
    let mut found = vec![0.0f32; values.len()];
    let rgbx: Vec<u8> = from_hex(&pixels).chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
    transform.write(&rgbx, bytemuck::cast_slice_mut(&mut found));
    for (place, (found, expected)) in found.iter().zip(&values).enumerate() {
        assert!((found - expected).abs() < 1e-6, "value {place}: {found}, not {expected}");
    }
}

/// Lossless files agree exactly; JPEG decoders may round the inverse transform and the colours differently.
#[test]
fn odd_but_valid_files_agree_with_pil() {
    for OddFile { file, mode, pixels } in figures().odd_files {
        let levels = match (file.ends_with(".jpg"), mode.as_str()) {
            (false, _) => 0,
            (true, "L") => 1,
            (true, _) => 4,
        };
        assert_close(
            &rgb(decode(&fixture(&file)).pixels()),
            &from_hex(&pixels),
            levels,
            &format!("{file} of mode {mode}"),
        );
    }
}
