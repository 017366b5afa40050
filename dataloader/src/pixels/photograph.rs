//! Made photographs for tests: noise of all scales, whose spectrum falls as that of natural images does.

use jpeg::{ColourSpace, EncodeOptions, Encoder};
use random::Key;

/// A JPEG of `width` × `height` pixels that looks like clouds, with hard edges here and there.
pub(crate) fn photograph(width: u32, height: u32, options: &EncodeOptions, key: Key) -> Vec<u8> {
    let luma = clouds(width, height, 50.0, key.child(0));
    let tint: Vec<Vec<f32>> = (1..3).map(|c| clouds(width, height, 22.0, key.child(c))).collect();
    let grey = options.colour_space == ColourSpace::Grey;
    let mut pixels = Vec::new();
    for (place, &light) in luma.iter().enumerate() {
        // Where the clouds part, something darker with a sharp outline is seen.
        let level = if tint[0][place] - tint[1][place] > 30.0 { light * 0.5 + 70.0 } else { light + 128.0 };
        if grey {
            pixels.push(level as u8);
        } else {
            let (a, b) = (tint[0][place], tint[1][place]);
            pixels.extend([level + a, level - 0.5 * (a + b), level + b].map(|value| value as u8));
        }
    }
    Encoder::new().expect("memory").encode(&pixels, width, height, options).expect("pixels").to_vec()
}

/// Noise around 0: octaves from the whole image to a pixel or two, each finer one 0.7 times as strong.
fn clouds(width: u32, height: u32, strength: f32, key: Key) -> Vec<f32> {
    let mut sum = vec![0.0; (width * height) as usize];
    let (mut cell, mut weight, mut octave) = (256.0f32, strength, 0);
    while cell >= 1.5 {
        let columns = (width as f32 / cell) as usize + 2;
        let mut rng = key.child(octave).rng();
        let rows = (height as f32 / cell) as usize + 2;
        let lattice: Vec<f32> = (0..columns * rows).map(|_| rng.uniform_in(-1.0, 1.0) as f32).collect();
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / cell, y as f32 / cell);
                let at = v as usize * columns + u as usize;
                let (u, v) = (smooth(u.fract()), smooth(v.fract()));
                let above = lattice[at] + u * (lattice[at + 1] - lattice[at]);
                let below = lattice[at + columns] + u * (lattice[at + columns + 1] - lattice[at + columns]);
                sum[(y * width + x) as usize] += weight * (above + v * (below - above));
            }
        }
        (cell, weight, octave) = (cell / 2.0, weight * 0.7, octave + 1);
    }
    sum
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
