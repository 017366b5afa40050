//! Made-up data for the tests of the loader: sources in memory, folders of small images, and a loader run to the end.

#![allow(dead_code)] // each test program uses a part

use std::borrow::Cow;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use dataloader::{
    Batches, Crop, DataError, Encoding, Filter, LoaderSpec, LoaderStats, Order, Pixels, ReadError, SampleKey, Source,
    Transform, Wants, with_batches,
};
use image::{ImageFormat, RgbImage};
use random::Key;

/// Images of noise, each of its own size, made from its index.
pub struct Noise {
    pub len: usize,
    classes: Vec<String>,
    groups: Vec<usize>,
}

impl Noise {
    pub fn new(len: usize) -> Noise {
        Noise { len, classes: vec!["even".to_owned(), "odd".to_owned()], groups: Vec::new() }
    }

    /// With shards of `shard` samples, the last one shorter.
    pub fn in_shards(len: usize, shard: usize) -> Noise {
        let groups = (0..len).step_by(shard).map(|start| len.min(start + shard)).collect();
        Noise { groups, ..Noise::new(len) }
    }
}

impl Source for Noise {
    fn len(&self) -> usize {
        self.len
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        (index % 2) as u32
    }

    fn groups(&self) -> &[usize] {
        &self.groups
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(format!("noise {index}"))
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        let (width, height) = (9 + index as u32 % 7, 8 + index as u32 % 5);
        *into = noise(index as u64, width, height);
        Ok(Encoding::Rgb { width, height })
    }
}

pub fn noise(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let mut rng = Key::root(seed).rng();
    (0..width * height * 3).map(|_| rng.next_u32() as u8).collect()
}

/// A training transform with every random choice in it.
pub fn augmented() -> Transform {
    Transform {
        size: 6,
        crop: Crop::RandomResized { scale: [0.2, 1.0], ratio: [0.75, 4.0 / 3.0] },
        flip: 0.5,
        filter: Filter::Bicubic,
        pixels: Pixels::F32 { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    }
}

/// A shuffled loader of one rank with one worker.
pub fn training(global_batch: usize) -> LoaderSpec {
    LoaderSpec { seed: 7, order: Order::Shuffled, workers: 1, ..LoaderSpec::once(augmented(), global_batch) }
}

pub fn memory(spec: &LoaderSpec, buffers: usize) -> Vec<Vec<f32>> {
    vec![vec![f32::NAN; spec.batch_bytes() / 4]; buffers]
}

/// What a batch said of one sample: its place, its label, the bits of its pixels.
pub type Seen = (SampleKey, i64, Vec<u32>);

/// Runs a loader with three buffers and takes at most `batches` batches.
pub fn take(source: &dyn Source, spec: &LoaderSpec, batches: usize) -> Result<Vec<Seen>, DataError> {
    take_counting(source, spec, batches, &LoaderStats::new())
}

pub fn take_counting(
    source: &dyn Source,
    spec: &LoaderSpec,
    batches: usize,
    stats: &LoaderStats,
) -> Result<Vec<Seen>, DataError> {
    let values = spec.transform.image_bytes() / 4;
    with_batches(source, spec, memory(spec, 3), stats, |loader: &mut Batches<'_, Vec<f32>>| {
        let mut seen = Vec::new();
        for _ in 0..batches {
            let Some(lease) = loader.next()? else { break };
            for (place, (&key, &label)) in lease.samples().iter().zip(lease.labels()).enumerate() {
                let pixels = lease[place * values..][..values].iter().map(|value| value.to_bits()).collect();
                seen.push((key, label, pixels));
            }
        }
        Ok(seen)
    })?
}

/// Writes `train/<class>/<n>.png` and `val/<class>/<n>.png`, `images` in each, under a fresh folder.
pub fn image_folder(classes: &[&str], images: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (split, class, index) in ["train", "val"]
        .iter()
        .flat_map(|split| classes.iter().map(move |class| (split, class)))
        .flat_map(|(split, class)| (0..images).map(move |index| (split, class, index)))
    {
        write_image(
            &folder.path().join(split).join(class).join(format!("{index}.png")),
            index as u64,
            ImageFormat::Png,
        );
    }
    folder
}

pub fn write_image(path: &Path, seed: u64, format: ImageFormat) {
    write_file(path, &encoded(seed, format));
}

pub fn encoded(seed: u64, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_raw(12, 10, noise(seed, 12, 10)).expect("12 x 10 pixels");
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("in memory");
    file.into_inner()
}

pub fn write_file(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("inside a folder")).expect("created");
    fs::write(path, bytes).expect("written");
}

/// The paths of `names` in `folder`.
pub fn inside(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| folder.join(name)).collect()
}
