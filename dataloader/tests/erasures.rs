//! Erased rectangles of batches that hold bytes: what travels beside the bytes leads to the very
//! floats that the loader delivers.

mod support;

use dataloader::augment::{EraseMode, Erasure, ErasureWords, RandomErasing};
use dataloader::{
    BadPolicy, BatchMemory, DatasetSpec, LoaderSpec, LoaderStats, Pixels, SKIPPED, Source, Transform, open,
    with_batches,
};
use support::{Noise, Seen, augmented, image_folder, inside, take, training, write_file};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Bytes of a batch and its erased rectangles, as a trainer for a GPU has them.
struct Memory {
    bytes: Vec<u8>,
    erasures: Vec<ErasureWords>,
}

impl BatchMemory for Memory {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn erasures(&mut self) -> &mut [ErasureWords] {
        &mut self.erasures
    }
}

fn erasing(mode: EraseMode) -> RandomErasing {
    RandomErasing { count: [1, 3], ..RandomErasing::new(0.6, mode) }
}

/// The batches of `spec`, once as floats and once as bytes, with rectangles that are erased in
/// `mode`.
fn specs(spec: &LoaderSpec, mode: EraseMode) -> [LoaderSpec; 2] {
    [Pixels::F32 { mean: MEAN, std: STD }, Pixels::U8].map(|pixels| {
        let mut spec = spec.clone();
        spec.transform.pixels = pixels;
        spec.transform.augment.erasing = Some(erasing(mode));
        spec
    })
}

/// What a device makes of bytes and rectangles.
fn take_bytes(source: &dyn Source, spec: &LoaderSpec, mode: EraseMode, batches: usize) -> Vec<Seen> {
    // Memory is reused for every third batch; what it held at first must not be read either.
    let memory = || Memory { bytes: vec![0xAA; spec.batch_bytes()], erasures: vec![[1; 9]; spec.batch_erasures()] };
    with_batches(source, spec, (0..3).map(|_| memory()).collect(), &LoaderStats::new(), |loader| {
        let (mut seen, most) = (Vec::new(), erasing(mode).most());
        for _ in 0..batches {
            let Some(lease) = loader.next().expect("good images") else { break };
            let (side, labels) = (lease.size() as usize, lease.labels());
            for (place, (&key, &label)) in lease.samples().iter().zip(labels).enumerate() {
                let bytes = &lease.bytes[place * 3 * side * side..][..3 * side * side];
                let records = &lease.erasures[place * most..][..most];
                let values = if label == SKIPPED { vec![0.0; bytes.len()] } else { normalized(bytes) };
                let values = erased(values, side, records, mode);
                seen.push((key, label, values.into_iter().map(f32::to_bits).collect()));
            }
        }
        seen
    })
    .expect("a loader")
}

fn normalized(bytes: &[u8]) -> Vec<f32> {
    let channel = |channel: usize| {
        let (scale, shift) = (1.0 / (255.0 * STD[channel]), -MEAN[channel] / STD[channel]);
        bytes[channel..].iter().step_by(3).map(move |&level| f32::from(level) * scale + shift)
    };
    (0..3).flat_map(channel).collect()
}

fn erased(mut values: Vec<f32>, side: usize, records: &[ErasureWords], mode: EraseMode) -> Vec<f32> {
    for erasure in records.iter().map_while(Erasure::of_words) {
        let [top, left, height, width] = erasure.place.map(|length| length as usize);
        for (line, row) in erasure.values(mode).chunks(width).enumerate() {
            let start = (line / height * side + top + line % height) * side + left;
            values[start..start + width].copy_from_slice(row);
        }
    }
    values
}

#[test]
fn bytes_and_rectangles_are_the_floats_of_the_loader() {
    let source = Noise::new(40);
    for mode in [EraseMode::Const, EraseMode::Rand, EraseMode::Pixel] {
        let sized = LoaderSpec { sizes: vec![(0, 9), (1, 16), (2, 5)], workers: 3, ..training(16) };
        let [floats, bytes] = specs(&sized, mode);
        let expected = take(&source, &floats, 9).expect("floats");
        let found = take_bytes(&source, &bytes, mode, 9);
        assert!(found == expected, "{mode:?}");
        let sizes: std::collections::BTreeSet<usize> = found.iter().map(|(.., values)| values.len()).collect();
        assert_eq!(sizes.len(), 3, "the size changes while memory is reused");
    }
}

#[test]
fn nothing_is_erased_from_a_skipped_image() {
    let folder = image_folder(&["a", "b"], 10);
    let bad = inside(folder.path(), &["train/a/2.png", "train/b/7.png"]);
    bad.iter().for_each(|file| write_file(file, b""));
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let spec = LoaderSpec { bad: BadPolicy::Skip, ..training(10) };
    let [floats, bytes] = specs(&spec, EraseMode::Pixel);
    let found = take_bytes(dataset.train.as_ref(), &bytes, EraseMode::Pixel, 8);
    assert!(found == take(dataset.train.as_ref(), &floats, 8).expect("floats"));
    assert_eq!(found.iter().filter(|(_, label, _)| *label == SKIPPED).count(), 8);
}

#[test]
fn memory_without_room_for_rectangles_is_refused() {
    let transform = Transform { pixels: Pixels::U8, ..augmented() };
    let spec = LoaderSpec::once(transform, 4);
    assert_eq!(spec.batch_erasures(), 4);
    let memory = vec![vec![0u8; spec.batch_bytes()]; 2];
    let refused = with_batches(&Noise::new(4), &spec, memory, &LoaderStats::new(), |_| ());
    let words = refused.expect_err("no room").to_string();
    assert!(words.contains("memory") && words.contains("erased rectangles") && words.contains("needs 4"), "{words}");
}
