//! The fuzzers' entry points on their seeds, whole and damaged.

use std::path::Path;

use random::{Key, Rng};

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4);
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn damage(data: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let place = rng.below(data.len() as u64) as usize;
        match rng.below(6) {
            0 => data.truncate(place.max(1)),
            1 => data[place] = 0xFF,
            2 => data[place] = 0,
            3 => data.insert(place, rng.next_u32() as u8),
            4 => data[place] ^= 1 << rng.below(8),
            _ => data[place] = rng.next_u32() as u8,
        }
    }
}

fn try_all(name: &str, rounds: u64, entry: fn(&[u8])) {
    for (s, seed) in seeds(name).into_iter().enumerate() {
        entry(&seed);
        for round in 0..rounds {
            let mut data = seed.clone();
            damage(&mut data, &mut Key::root(round).child(s as u64).rng());
            entry(&data);
        }
    }
    entry(&[]);
}

#[test]
fn segment_indices() {
    try_all("segment_index", 5000, jpeg::fuzzing::segment_index);
}

#[test]
fn assembling() {
    try_all("assemble", 300, jpeg::fuzzing::assemble);
}

#[test]
fn decoding() {
    try_all("decode", 200, jpeg::fuzzing::decode);
}
