//! Made-up JPEGs of many kinds, and folders of them.

use jpeg::{ColourSpace, EncodeOptions, Encoder};
use random::Key;

use super::write_file;

/// A smooth picture with texture, whose content `seed` fixes.
pub fn jpeg(width: u32, height: u32, colour_space: ColourSpace, seed: u64) -> Vec<u8> {
    encoded(width, height, &EncodeOptions { colour_space, ..EncodeOptions::default() }, seed)
}

pub fn encoded(width: u32, height: u32, options: &EncodeOptions, seed: u64) -> Vec<u8> {
    let channels = match options.colour_space {
        ColourSpace::Grey => 1,
        ColourSpace::Cmyk | ColourSpace::Ycck => 4,
        _ => 3,
    };
    let mut rng = Key::root(seed).rng();
    let (across, down) = (rng.uniform_in(9.0, 40.0), rng.uniform_in(9.0, 40.0));
    let pixels: Vec<u8> = (0..width * height * channels)
        .map(|place| {
            let (x, y, channel) = (place / channels % width, place / channels / width, place % channels);
            let wave = (f64::from(x) / across + f64::from(channel)).sin() + (f64::from(y) / down).cos();
            (128.0 + 50.0 * wave + f64::from((x * 7 + y * 13 + channel) % 9)) as u8
        })
        .collect();
    let mut encoder = Encoder::new().expect("memory");
    encoder.encode(&pixels, width, height, options).expect("a picture").to_vec()
}

/// Two classes of JPEGs of all usual kinds, sizes and subsamplings in `train`, and one image a class in `val`.
pub fn mixed_folder(images: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let usual = EncodeOptions::default();
    let kinds = [
        usual,
        EncodeOptions { sampling: (1, 1), ..usual },
        EncodeOptions { progressive: true, ..usual },
        EncodeOptions { colour_space: ColourSpace::Grey, sampling: (1, 1), ..usual },
        EncodeOptions { sampling: (2, 1), ..usual },
        EncodeOptions { restart_interval: 3, ..usual },
    ];
    for (class, name) in ["a", "b"].iter().enumerate() {
        for index in 0..images {
            let seed = 100 * class as u64 + index;
            let (width, height) = (90 + 37 * (seed as u32 % 5), 70 + 29 * (seed as u32 % 4));
            let file = encoded(width, height, &kinds[seed as usize % kinds.len()], seed);
            write_file(&folder.path().join("train").join(name).join(format!("{index}.jpg")), &file);
            if index == 0 {
                write_file(&folder.path().join("val").join(name).join("0.jpg"), &file);
            }
        }
    }
    folder
}
