//! Photographs that lie on their side: ignored as torchvision does, or turned upright as PIL does, whole or in part.

use std::fs;
use std::path::Path;

use dataloader::pack::{PackSpec, pack};
use dataloader::{
    Crop, CropBox, DatasetSpec, Decode, Draw, Encoding, Exif, Filter, Orientation, Preparer, Source, SourceKind,
    Transform, Wants, open,
};
use jpeg::{Markers, PixelFormat, Rect, Restart, SegmentIndex, TranscodeOptions, Transcoder};
use random::Key;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    file: String,
    size: u32,
    pct: f64,
    filter: String,
    pixels: String,
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect("a fixture")
}

fn prepared(file: &[u8], encoding: Encoding, transform: &Transform, key: Key) -> Vec<u8> {
    let mut preparer = Preparer::new(Decode::Region);
    let pixels = preparer.pixels(file, encoding, transform, key).expect("a good file");
    pixels.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect()
}

fn apart(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differences().max().unwrap_or(0), differences().map(f64::from).sum::<f64>() / a.len() as f64)
}

#[test]
fn turned_files_look_as_pil_turns_them() {
    let cases: Vec<Case> =
        serde_json::from_str(std::str::from_utf8(&fixture("turned.json")).expect("text")).expect("JSON");
    assert_eq!(cases.len(), 48);
    for Case { file, size, pct, filter, pixels } in cases {
        let wanted: Vec<u8> = (0..pixels.len() / 2)
            .map(|at| u8::from_str_radix(&pixels[2 * at..2 * at + 2], 16).expect("a byte"))
            .collect();
        let filter = if filter == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
        let transform = Transform { exif: Exif::Apply, filter, ..Transform::center(size, pct) };
        let found = prepared(&fixture(&file), Encoding::File, &transform, Key::root(1));
        // PIL turns first, so its two passes of a resize are the other way round.
        let (worst, mean) = apart(&found, &wanted);
        assert!(worst <= 2 && mean <= 0.3, "{file} {size} {pct} {filter:?}: {worst} {mean}");
    }
}

#[test]
fn without_the_switch_pixels_stay_as_they_are_stored() {
    let upright = fixture("turned_1.jpg");
    let transform = Transform::center(20, 0.9);
    let wanted = prepared(&upright, Encoding::File, &transform, Key::root(1));
    for number in 0..10 {
        let file = fixture(&format!("turned_{number}.jpg"));
        assert_eq!(prepared(&file, Encoding::File, &transform, Key::root(1)), wanted, "{number}");
    }
}

/// 200 × 136 pixels with a restart marker after every MCU or two, and an EXIF orientation.
fn photograph(number: u8) -> Vec<u8> {
    let (width, height) = (200, 136);
    let level =
        |x: u32, y: u32, c: u32| (128.0 + 60.0 * (f64::from(x * (c + 1)) / 23.0).sin() + f64::from(y) / 3.0) as u8;
    let pixels: Vec<u8> =
        (0..width * height).flat_map(|place| [0, 1, 2].map(|c| level(place % width, place / width, c))).collect();
    let options = jpeg::EncodeOptions::default();
    let plain =
        jpeg::Encoder::new().expect("memory").encode(&pixels, width, height, &options).expect("pixels").to_vec();
    let mut file = plain[..2].to_vec();
    file.extend_from_slice(b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0");
    file.extend_from_slice(&[number, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&plain[2..]);
    let options = TranscodeOptions { restart: Restart::Segments, markers: Markers::Keep, ..Default::default() };
    Transcoder::new().expect("memory").transcode(&file, &options).expect("a JPEG").to_vec()
}

/// The pixels of a file, turned upright: (H, W, 3).
fn turned(file: &[u8], orientation: Orientation) -> (Vec<u8>, u32, u32) {
    let mut decoder = jpeg::Decoder::new(Default::default()).expect("memory");
    let mut stored = Vec::new();
    let info = decoder.decode_full(file, PixelFormat::Rgb, &mut stored).expect("a JPEG");
    let (width, height) = orientation.upright_sides(info.decoded.width, info.decoded.height);
    let mut upright = Vec::new();
    for (top, left) in (0..height).flat_map(|top| (0..width).map(move |left| (top, left))) {
        let at = orientation.stored_box(CropBox { top, left, height: 1, width: 1 }, width, height);
        let place = (at.top * info.decoded.width + at.left) as usize * 3;
        upright.extend_from_slice(&stored[place..place + 3]);
    }
    (upright, width, height)
}

#[test]
fn random_crops_are_drawn_in_the_upright_image_also_of_a_part() {
    let crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
    let ignoring = Transform { crop, flip: 0.5, ..Transform::center(40, 1.0) };
    let applying = Transform { exif: Exif::Apply, ..ignoring.clone() };
    for number in 1..=8 {
        let file = photograph(number);
        let orientation = Exif::Apply.orientation(&file);
        assert_eq!(orientation, Orientation::of_tag(number.into()));
        let (upright, width, height) = turned(&file, orientation);
        let index = SegmentIndex::of(&file).expect("restart markers");
        for draw in 0..20 {
            let key = Key::root(3).child(draw);
            let wanted = prepared(&upright, Encoding::Rgb { width, height }, &ignoring, key);
            let found = prepared(&file, Encoding::File, &applying, key);
            let (worst, mean) = apart(&found, &wanted);
            assert!(worst <= 2 && mean <= 0.3, "{number} {draw}: {worst} {mean}");

            // What a source does that reads only the segments of the crop: the box in the stored image comes from the draws.
            let mut rng = key.child(Draw::Crop as u64).rng();
            let drawn = CropBox::random_resized(width, height, [0.08, 1.0], [0.75, 4.0 / 3.0], &mut rng);
            let of = |w: u32, h: u32| {
                assert_eq!((w, h), (width, height), "told of the upright image");
                drawn
            };
            let stored = Wants::new(&of).turned(Exif::Apply).of_stored(200, 136, &file[..index.header_length()]);
            let wanted_part = Rect::new(stored.left, stored.top, stored.width, stored.height);
            let mut small = Vec::new();
            let (_, plan) = jpeg::assemble_crop(&file, &index, wanted_part, &mut small).expect("its own index");
            let part = Encoding::Part { width: 200, height: 136, left: plan.pixels.x, top: plan.pixels.y };
            let (worst, _) = apart(&prepared(&small, part, &applying, key), &found);
            assert!(worst <= 1, "{number} {draw}: {worst} levels in a part");
        }
    }
}

/// Packing drops what cameras write into files, but not how they were held.
#[test]
fn packed_photographs_are_turned_as_plain_ones() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (split, class) in [("train", "a"), ("val", "a")] {
        let class = folder.path().join(split).join(class);
        fs::create_dir_all(&class).expect("created");
        for number in 1..=8 {
            fs::write(class.join(format!("{number}.jpg")), photograph(number)).expect("written");
        }
    }
    let plain = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
    let transform = Transform { crop, exif: Exif::Apply, ..Transform::center(40, 1.0) };
    let lossless = PackSpec::new(folder.path().join("lossless"));
    let lossy = PackSpec { quality: Some(95), ..PackSpec::new(folder.path().join("lossy")) };
    for (spec, allowed) in [(&lossless, 0.1), (&lossy, 4.0)] {
        pack(&plain, spec, &|_| {}).expect("packed");
        let packed = DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(&spec.out) };
        let packed = open(&packed).expect("a packed data set");
        for (index, draw) in (0..8).flat_map(|index| (0..4).map(move |draw| (index, draw))) {
            let key = Key::root(draw).child(index as u64);
            let wanted = |width: u32, height: u32| {
                let mut rng = key.child(Draw::Crop as u64).rng();
                CropBox::random_resized(width, height, [0.08, 1.0], [0.75, 4.0 / 3.0], &mut rng)
            };
            let pixels = |source: &dyn Source| {
                let mut bytes = Vec::new();
                let wants = Wants::new(&wanted).turned(Exif::Apply);
                let encoding = source.read(index, wants, &mut bytes).expect("read");
                prepared(&bytes, encoding, &transform, key)
            };
            let (_, mean) = apart(&pixels(packed.train.as_ref()), &pixels(plain.train.as_ref()));
            assert!(mean <= allowed, "{:?} {index} {draw}: {mean}", spec.out);
        }
    }
}
