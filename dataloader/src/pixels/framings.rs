//! Agreement of squashed, bordered and shifted crops with timm and torchvision (`tests/fixtures/make_augment_figures.py`).

use random::Key;
use serde::Deserialize;

use crate::pixels::decode::Rgbx;
use crate::pixels::framing::{Framing, shifted};
use crate::pixels::resample::Resampler;
use crate::{Border, Crop, Encoding, Filter, Preparer, Transform};

#[derive(Deserialize)]
struct Figures {
    framings: Framings,
    fill: [u8; 3],
}

#[derive(Deserialize)]
struct Framings {
    width: u32,
    height: u32,
    pixels: String,
    evaluations: Vec<Evaluation>,
    shifts: Vec<Shift>,
}

#[derive(Deserialize)]
struct Evaluation {
    mode: String,
    size: u32,
    pct: f64,
    filter: String,
    pixels: String,
}

#[derive(Deserialize)]
struct Shift {
    border: String,
    size: u32,
    left: i64,
    top: i64,
    pixels: String,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../../tests/fixtures/augment.json")).expect("the fixture is JSON")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

fn render(image: &Rgbx, Framing { wanted, placement }: Framing, filter: Filter, size: u32) -> Vec<u8> {
    let (mut part, mut result) = (Vec::new(), Vec::new());
    let kernel = filter.kernel(Key::root(0));
    Resampler::default().resize_view(image, wanted.in_whole(), kernel, placement.sides(), &mut part);
    placement.place(&part, size, &mut result);
    result.as_chunks::<4>().0.iter().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}

#[track_caller]
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let apart = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    assert_eq!(apart, 0, "{what}: values that differ");
}

#[test]
fn squashed_bordered_and_shifted_crops_agree() {
    let Figures { framings, fill } = figures();
    let bytes = from_hex(&framings.pixels).as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 9]).collect();
    let image = Rgbx { width: framings.width, height: framings.height, bytes };
    for Evaluation { mode, size, pct, filter, pixels } in framings.evaluations {
        let crop = match mode.as_str() {
            "squash" => Crop::Squash { pct },
            "border" => Crop::Border { pct, fill },
            other => panic!("no crop {other}"),
        };
        let filter = if filter == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
        let framing = crop.frame(image.width, image.height, size, Key::root(0));
        let found = render(&image, framing, filter, size);
        assert_same(&found, &from_hex(&pixels), &format!("{mode} to {size} of {pct}, {filter:?}"));
    }
    for Shift { border, size, left, top, pixels } in framings.shifts {
        let what = format!("{border} border, {size} from {left}, {top}");
        let border = if border == "reflect" { Border::Reflect } else { Border::Colour([0; 3]) };
        let framing = shifted([image.width, image.height], size, [left, top], border);
        assert_same(&render(&image, framing, Filter::Bicubic, size), &from_hex(&pixels), &what);
    }
}

/// An image of the crop's own size is shifted by whole pixels, so that every value stays what it is; all 81 shifts come.
#[test]
fn images_of_the_right_size_are_only_shifted() {
    let size = 32;
    let bytes: Vec<u8> =
        (0..size * size).flat_map(|place| [(place % 32) as u8 + 1, (place / 32) as u8 + 1, 9]).collect();
    let crop = Crop::Shifted { padding: 4, border: Border::Colour([0; 3]) };
    let transform = Transform { crop, filter: Filter::Bicubic, ..Transform::center(size, 1.0) };
    let encoding = Encoding::Rgb { width: size, height: size };
    let mut seen = std::collections::BTreeSet::new();
    let mut preparer = Preparer::default();
    for draw in 0..1000 {
        let found = preparer.pixels(&bytes, encoding, &transform, Key::root(draw)).expect("plain pixels");
        let found = found.as_chunks::<4>().0;
        let middle = found[16 * 32 + 16];
        let (left, top) = (i32::from(middle[0]) - 17, i32::from(middle[1]) - 17);
        seen.insert((left, top));
        for (place, pixel) in (0..).zip(found) {
            let (x, y) = (place % 32 + left, place / 32 + top);
            let inside = (0..32).contains(&x) && (0..32).contains(&y);
            let expected = if inside { [x as u8 + 1, y as u8 + 1, 9] } else { [0; 3] };
            assert_eq!(pixel[..3], expected, "shift {left}, {top} at {x}, {y}");
        }
    }
    assert_eq!(seen.len(), 81);
    assert_eq!(seen.first(), Some(&(-4, -4)));
}

#[test]
fn padding_that_leaves_nothing_is_refused() {
    let crop = Crop::Shifted { padding: 4, border: Border::Reflect };
    assert!(crop.check(8).is_err() && crop.check(9).is_ok());
    assert!(Crop::Squash { pct: 1.5 }.check(8).is_err());
}
