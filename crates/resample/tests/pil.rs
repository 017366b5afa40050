//! Agreement with PIL to the bit (`tests/fixtures/make_pil_figures.py`).

use resample::{Backend, Image, Kernel, Part, Resampler, Window};
use serde::Deserialize;

const SIDES: [u32; 2] = [640, 480];

#[derive(Debug, Deserialize)]
struct Case {
    part: [u32; 4],
    window: [f64; 4],
    size: [u32; 2],
    kernel: String,
    fnv: String,
}

/// The image that the script makes: noise, and squares of black and white.
fn made() -> Vec<u8> {
    let mut pixels = Vec::new();
    for place in 0..SIDES[0] * SIDES[1] {
        let edges = (place % SIDES[0] / 8 + place / SIDES[0] / 8) % 2 == 1;
        pixels.extend([0, 1, 2].map(|channel| {
            let hash = (place * 3 + channel).wrapping_mul(2_654_435_761);
            let level = ((hash ^ hash >> 15).wrapping_mul(2_246_822_519) >> 24) as u8;
            if edges { if level > 127 { 255 } else { 0 } } else { level }
        }));
        // No colour: whatever it is, nothing changes.
        pixels.push(place as u8);
    }
    pixels
}

fn fnv(pixels: &[u8]) -> String {
    let colours = pixels.as_chunks::<4>().0.iter().flat_map(|pixel| &pixel[..3]);
    let hash = colours
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &value| (hash ^ u64::from(value)).wrapping_mul(0x0100_0000_01B3));
    format!("{hash:016x}")
}

#[test]
fn every_backend_agrees_to_the_bit() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/pil.json")).expect("the fixture is JSON");
    let (pixels, mut found) = (made(), Vec::new());
    let image = Image { pixels: &pixels, width: SIDES[0], height: SIDES[1] };
    assert!(cases.len() > 100);
    for mut resampler in Backend::ALL.into_iter().filter_map(Resampler::with) {
        for case in &cases {
            let [left, top, width, height] = case.part;
            let part = Part { left, top, width, height };
            let [left, top, width, height] = case.window;
            let window = Window { left, top, width, height };
            let kernel = if case.kernel == "cubic" { Kernel::Cubic } else { Kernel::Triangle };
            resampler.resize(image, part, window, kernel, case.size, &mut found).expect("a good window");
            assert_eq!(fnv(&found), case.fnv, "{case:?} with {:?}", resampler.backend());
        }
    }
}
