//! How long a packed set of 1.28 million images takes to open: `cargo run --release -p dataloader --example open_packed DIR [IMAGES]`.
//!
//! Writes an index of that size into DIR (0.55 GB, with shards that are holes in the file system), from the layout as it is
//! documented, opens it ten times, looks at a thousand images, and removes it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use dataloader::{DatasetSpec, SourceKind, open};
use random::Key;

const CLASSES: usize = 1000;
const SEGMENT_INDEX_BYTES: usize = 345;
const NAME_BYTES: usize = 30;
const BLOB_BYTES: usize = SEGMENT_INDEX_BYTES + NAME_BYTES;
const IMAGE_BYTES: u64 = 110_000;
const IMAGES_IN_SHARD: u64 = 4_600;
const ROUNDS: usize = 10;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(|parent| PathBuf::from(parent).join("open-packed")) else {
        anyhow::bail!("usage: open_packed DIR [IMAGES]");
    };
    let images = arguments.next().map_or(Ok(1_281_167), |number| number.parse())?;
    fs::create_dir(&folder)?;
    let measured =
        write(&folder, "train", images).and_then(|()| write(&folder, "val", 50_000)).and_then(|()| measure(&folder));
    fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path) -> anyhow::Result<()> {
    let spec = DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(folder) };
    let mut times_ms = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let dataset = open(&spec)?;
        times_ms.push(began.elapsed().as_secs_f64() * 1e3);
        drop(dataset);
    }
    let dataset = open(&spec)?;
    let began = Instant::now();
    let mut rng = Key::root(0).rng();
    let labels: u64 =
        (0..1000).map(|_| u64::from(dataset.train.label(rng.below(dataset.train.len() as u64) as usize))).sum();
    let look_us = began.elapsed().as_secs_f64() * 1e6 / 1000.0;
    let bytes = fs::metadata(folder.join("train.index"))?.len();
    println!(
        "{} images, index of {:.2} GB, {} shards",
        dataset.train.len(),
        bytes as f64 / 1e9,
        fs::read_dir(folder)?.count() - 2
    );
    let slowest = times_ms.iter().copied().fold(0.0, f64::max);
    times_ms.sort_by(f64::total_cmp);
    println!("opening both splits: {:.2} ms median, {slowest:.2} ms at worst, of {ROUNDS}", times_ms[ROUNDS / 2]);
    println!("looking at a random image, checksum included: {look_us:.2} µs (sum of labels {labels})");
    Ok(())
}

/// An index as `rectify data pack` writes it, and empty shards of the right lengths.
fn write(folder: &Path, split: &str, images: u64) -> anyhow::Result<()> {
    let shards = images.div_ceil(IMAGES_IN_SHARD);
    let shard_bytes = IMAGES_IN_SHARD * IMAGE_BYTES;
    let opening = blake3::hash(&[0; 4096]);
    let mut tables = Vec::new();
    for shard in 0..shards {
        let name = format!("{split}-{shard:06}.tar");
        File::create(folder.join(&name))?.set_len(shard_bytes)?;
        tables.extend(shard_bytes.to_le_bytes());
        tables.extend(&opening.as_bytes()[..16]);
        tables.extend([0; 32]);
        put_text(&mut tables, &name);
    }
    for class in 0..CLASSES {
        put_text(&mut tables, &format!("n{class:08}"));
    }
    let records_at = (88 + tables.len()).next_multiple_of(8) as u64;
    let blobs_at = records_at + 48 * images;
    let mut head = b"\x89RSHARD\n\x01\0\0\0\x30\0\0\0".to_vec();
    for number in [blobs_at + images * BLOB_BYTES as u64, images] {
        head.extend(number.to_le_bytes());
    }
    head.extend((shards as u32).to_le_bytes());
    head.extend((CLASSES as u32).to_le_bytes());
    head.extend(records_at.to_le_bytes());
    head.extend(blobs_at.to_le_bytes());
    tables.resize(records_at as usize - 88, 0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head).update(&tables);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(format!("{split}.index")))?);
    out.write_all(&head)?;
    out.write_all(hasher.finalize().as_bytes())?;
    out.write_all(&tables)?;
    let blob = [b'x'; BLOB_BYTES];
    for image in 0..images {
        out.write_all(&record(image, blobs_at + image * BLOB_BYTES as u64, &blob))?;
    }
    for _ in 0..images {
        out.write_all(&blob)?;
    }
    out.flush()?;
    Ok(())
}

fn record(image: u64, blob_at: u64, blob: &[u8]) -> Vec<u8> {
    let mut record = (image % IMAGES_IN_SHARD * IMAGE_BYTES).to_le_bytes().to_vec();
    record.extend(blob_at.to_le_bytes());
    for word in [IMAGE_BYTES as u32, (image / IMAGES_IN_SHARD) as u32, (image % CLASSES as u64) as u32] {
        record.extend(word.to_le_bytes());
    }
    record.extend(500u16.to_le_bytes());
    record.extend(375u16.to_le_bytes());
    record.extend((SEGMENT_INDEX_BYTES as u32).to_le_bytes());
    record.extend((NAME_BYTES as u16).to_le_bytes());
    record.extend([0; 2]);
    record.extend((image as u32).to_le_bytes());
    let mut check = flate2::Crc::new();
    check.update(&record);
    check.update(blob);
    record.extend(check.sum().to_le_bytes());
    record
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
}
