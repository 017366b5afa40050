//! Agreement with figures that timm and torchvision computed (`tests/fixtures/make_augment_figures.py`).

use serde::Deserialize;
use serde_json::Value;

use super::{Op, Sampling, Scratch, Warp};

#[derive(Deserialize)]
struct Figures {
    images: Vec<Image>,
    hues: Vec<HueCase>,
    fill: [u8; 3],
}

#[derive(Deserialize)]
struct Image {
    width: usize,
    pixels: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    operation: String,
    arguments: Vec<Value>,
    pixels: String,
}

#[derive(Deserialize)]
struct HueCase {
    hue: f64,
    sum: u64,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../../tests/fixtures/augment.json")).expect("the fixture is JSON")
}

pub(super) fn from_hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

/// With a fourth byte that must not matter.
pub(super) fn rgbx(pixels: &[u8]) -> Vec<u8> {
    pixels.as_chunks::<3>().0.iter().flat_map(|&[red, green, blue]| [red, green, blue, 201]).collect()
}

pub(super) fn rgb(pixels: &[u8]) -> Vec<u8> {
    pixels.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect()
}

/// The operation of a case; none where the library leaves the image as it is.
fn operation(case: &Case, fill: [u8; 3]) -> Option<Op> {
    let number = || case.arguments[0].as_f64().expect("a number");
    let sampling = || match case.arguments[1].as_str() {
        Some("bilinear") => Sampling::Bilinear,
        Some("bicubic") => Sampling::Bicubic,
        other => panic!("no filter {other:?}"),
    };
    let black = [0; 3];
    Some(match case.operation.as_str() {
        "auto-contrast" | "trivial-AutoContrast" => Op::AutoContrast,
        "equalise" | "trivial-Equalize" => Op::Equalise,
        "invert" => Op::Invert,
        "grayscale" => Op::Grayscale,
        "posterise" | "trivial-Posterize" => Op::Posterise { bits: number() as u8 },
        "solarise" | "trivial-Solarize" => Op::Solarise { threshold: number() },
        "solarise-add" => Op::SolariseAdd { add: number() as u8 },
        "brightness" => Op::Brightness(number()),
        "contrast" => Op::Contrast(number()),
        "saturation" => Op::Saturation(number()),
        "sharpness" => Op::Sharpness(number()),
        "trivial-Brightness" => Op::Brightness(1.0 + number()),
        "trivial-Contrast" => Op::Contrast(1.0 + number()),
        "trivial-Color" => Op::Saturation(1.0 + number()),
        "trivial-Sharpness" => Op::Sharpness(1.0 + number()),
        "hue" => Op::Hue(number()),
        "blur" => Op::Blur { radius: number() },
        "rotate" => Op::Warp(Warp::rotate(number(), sampling(), fill)),
        "shear-x" => Op::Warp(Warp::shear_x(number(), sampling(), fill)),
        "shear-y" => Op::Warp(Warp::shear_y(number(), sampling(), fill)),
        "translate-x" => Op::Warp(Warp::shift_x_by(number(), sampling(), fill)),
        "translate-y" => Op::Warp(Warp::shift_y_by(number(), sampling(), fill)),
        "trivial-Rotate" => Op::Warp(Warp::rotate(number(), Sampling::Nearest, black)),
        "trivial-ShearX" => Op::Warp(Warp::shear_x(number(), Sampling::Nearest, black)),
        "trivial-ShearY" => Op::Warp(Warp::shear_y(number(), Sampling::Nearest, black)),
        // torchvision's sign is the way the content moves.
        "trivial-TranslateX" => Op::Warp(Warp::shift_x(-number().trunc(), Sampling::Nearest, black)),
        "trivial-TranslateY" => Op::Warp(Warp::shift_y(-number().trunc(), Sampling::Nearest, black)),
        "trivial-Identity" => return None,
        other => panic!("unknown operation {other}"),
    })
}

#[test]
fn operations_agree_to_the_bit() {
    let Figures { images, fill, .. } = figures();
    let (mut scratch, mut wrong) = (Scratch::default(), Vec::new());
    for Image { width, pixels, cases } in images {
        let image = from_hex(&pixels);
        for case in cases {
            let (mut found, expected) = (rgbx(&image), from_hex(&case.pixels));
            if let Some(op) = operation(&case, fill) {
                op.apply(&mut found, width, &mut scratch);
            }
            let found = rgb(&found);
            let differing = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
            let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            if found != expected {
                let Case { operation, arguments, .. } = case;
                wrong.push(format!("{operation} {arguments:?}: {differing} values differ, by up to {worst:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every eighth colour, so that all branches of the conversions to HSV and back are seen.
#[test]
fn hues_of_many_colours_agree() {
    let colours =
        (0..32 * 32 * 32_u32).flat_map(|i| [i / 1024 * 8, i / 32 % 32 * 8, i % 32 * 8].map(|level| level as u8));
    let colours: Vec<u8> = colours.collect();
    for HueCase { hue, sum } in figures().hues {
        let mut found = rgbx(&colours);
        Op::Hue(hue).apply(&mut found, 128, &mut Scratch::default());
        let weighted =
            rgb(&found).into_iter().enumerate().map(|(place, value)| place as u64 % 65_521 * u64::from(value));
        assert_eq!(weighted.sum::<u64>(), sum, "hue {hue}");
    }
}
