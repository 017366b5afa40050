//! Image files of rare kinds: decoded as PIL decodes them, or bad for a named reason, also where they are cut or changed.

use std::fs;
use std::path::{Path, PathBuf};

use dataloader::{Crop, Decode, Encoding, Exif, Preparer, Reason, Transform};
use random::Key;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    file: String,
    mode: String,
    pixels: String,
}

const SIDES: (u32, u32) = (28, 20);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The centre of an image, 20 × 20 pixels, of which nothing is resized.
fn centre(file: &[u8], decode: Decode) -> Result<Vec<u8>, Reason> {
    let transform = Transform::center(SIDES.1, 1.0);
    let pixels =
        Preparer::new(decode).pixels(file, Encoding::File, &transform, Key::root(1)).map(|pixels| pixels.to_vec());
    pixels.map_err(|bad| bad.reason)
}

/// Every image file of the fixtures, by name.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(fixtures())
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| ["jpg", "png", "webp"].iter().any(|known| kind == *known)))
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    assert!(files.len() > 30, "{}", files.len());
    files
}

#[test]
fn rare_kinds_are_decoded_as_pil_does() {
    let cases: Vec<Case> =
        serde_json::from_str(&fs::read_to_string(fixtures().join("kinds.json")).expect("a fixture")).expect("JSON");
    for Case { file, mode, pixels } in cases {
        let bytes = fs::read(fixtures().join(&file)).expect("a fixture");
        let row_digits = SIDES.0 as usize * 6;
        let wanted: Vec<u8> = pixels
            .as_bytes()
            .chunks(row_digits)
            .flat_map(|row| row[4 * 6..24 * 6].chunks(2))
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("a byte"))
            .collect();
        for decode in [Decode::Region, Decode::Strict] {
            let found = centre(&bytes, decode).unwrap_or_else(|reason| panic!("{file} of mode {mode}: {reason}"));
            let rgb = found.chunks_exact(4).flat_map(|pixel| &pixel[..3]);
            let worst = rgb.zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max();
            // PIL's libjpeg-turbo has the same arithmetic; the rest is lossless.
            assert!(worst <= Some(1), "{file} of mode {mode}: {worst:?}");
        }
    }
}

#[test]
fn a_file_cut_at_any_tenth_is_bad_for_a_named_reason() {
    for (name, file) in files() {
        assert!(centre(&file, Decode::Region).is_ok(), "{name}");
        for tenth in 0..10 {
            let found = centre(&file[..file.len() * tenth / 10], Decode::Region);
            let wanted = if tenth == 0 { Reason::Empty } else { Reason::Truncated };
            assert_eq!(found, Err(wanted), "{name} cut at {tenth}/10");
        }
        let found = centre(&file[..file.len() - 1], Decode::Region);
        assert_eq!(found, Err(Reason::Truncated), "{name} without its last byte");
    }
}

/// Bytes changed anywhere: a result or a reason, never a panic or an endless loop, with and without EXIF.
#[test]
fn changed_files_are_decoded_or_bad() {
    for (f, (name, file)) in files().into_iter().enumerate() {
        for round in 0..30 {
            let mut rng = Key::root(7).child(f as u64).child(round).rng();
            let mut changed = file.clone();
            for _ in 0..1 + rng.below(4) {
                let place = rng.below(changed.len() as u64) as usize;
                changed[place] = if rng.below(3) == 0 { 0xFF } else { rng.next_u32() as u8 };
            }
            let crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
            let transform = Transform { crop, exif: Exif::Apply, ..Transform::center(16, 1.0) };
            let decode = [Decode::Region, Decode::Reduced, Decode::Strict][round as usize % 3];
            let found = Preparer::new(decode)
                .pixels(&changed, Encoding::File, &transform, Key::root(round))
                .map(|pixels| pixels.len())
                .map_err(|bad| bad.to_string());
            // Where a decoding library panics, the reason says so.
            assert!(
                found.as_ref().map_or_else(|detail| !detail.contains("panicked"), |&bytes| bytes == 1024),
                "{name} {round}: {found:?}"
            );
        }
    }
}

#[test]
fn garbage_is_not_an_image() {
    for round in 0..200 {
        let mut rng = Key::root(8).child(round).rng();
        let garbage: Vec<u8> = (0..1 + rng.below(3000)).map(|_| rng.next_u32() as u8).collect();
        assert!(centre(&garbage, Decode::Region).is_err());
    }
}

/// A header that claims 60,000 × 60,000 pixels is refused before memory is taken for them.
#[test]
fn bombs_of_every_format_are_too_large() {
    let file = |name: &str| fs::read(fixtures().join(name)).expect("a fixture");
    let find = |bytes: &[u8], marker: &[u8]| bytes.windows(marker.len()).position(|at| at == marker).expect("a marker");
    let side = 60_000u16.to_be_bytes();
    for (name, marker) in [
        ("kind_restart.jpg", [0xFF, 0xC0]),
        ("kind_progressive_422.jpg", [0xFF, 0xC2]),
        ("kind_arithmetic.jpg", [0xFF, 0xC9]),
    ] {
        let mut bomb = file(name);
        let frame = find(&bomb, &marker);
        bomb[frame + 5..frame + 7].copy_from_slice(&side);
        bomb[frame + 7..frame + 9].copy_from_slice(&side);
        assert_eq!(centre(&bomb, Decode::Region), Err(Reason::TooLarge), "{name}");
    }
    assert_eq!(centre(&png_bomb(), Decode::Region), Err(Reason::TooLarge));
}

/// A whole PNG whose header is right in all but that no memory holds it.
fn png_bomb() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(60_000u32.to_be_bytes());
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bomb = b"\x89PNG\r\n\x1a\n".to_vec();
    for chunk in [header, b"IDAT\x78\x9c\x03\0\0\0\0\x01".to_vec(), b"IEND".to_vec()] {
        bomb.extend((chunk.len() as u32 - 4).to_be_bytes());
        bomb.extend_from_slice(&chunk);
        bomb.extend(checksum(&chunk).to_be_bytes());
    }
    bomb
}

/// PNG's CRC-32, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
