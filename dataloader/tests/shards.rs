//! Reading packed data sets: the same pixels, labels and stream as from plain files, and every kind of damage.

mod support;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use dataloader::pack::{PackSpec, pack, verify};
use dataloader::{
    Crop, CropBox, DataError, Dataset, DatasetSpec, Decode, Encoding, Filter, LoaderStats, Preparer, Reason, Source,
    SourceKind, Transform, Wants, fuzzing, open,
};
use random::Key;
use support::photographs::mixed_folder;
use support::{take, take_counting, training, write_file};

fn shards(out: &Path) -> DatasetSpec {
    DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(out) }
}

/// A folder of `images` of each of two classes, and the same packed into `packed`, `shard_images` in each shard.
fn both(images: u64, shard_images: u64) -> (tempfile::TempDir, PathBuf, Dataset) {
    let folder = mixed_folder(images);
    let out = folder.path().join("packed");
    let plain = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    pack(&plain, &PackSpec { shard_images, ..PackSpec::new(&out) }, &|_| {}).expect("packed");
    (folder, out, plain)
}

fn pixels(source: &dyn Source, index: usize, transform: &Transform, key: Key) -> (Vec<u8>, usize) {
    let middle = |width: u32, height: u32| match transform.crop {
        Crop::RandomResized { scale, ratio } => {
            let mut rng = key.child(dataloader::Draw::Crop as u64).rng();
            CropBox::random_resized(width, height, scale, ratio, &mut rng)
        }
        _ => CropBox { top: 0, left: 0, height, width },
    };
    let mut bytes = Vec::new();
    let encoding = source.read(index, Wants::new(&middle), &mut bytes).expect("read");
    let mut preparer = Preparer::new(Decode::Region);
    let pixels = preparer.pixels(&bytes, encoding, transform, key).expect("decoded");
    (pixels.to_vec(), bytes.len())
}

/// Every kind of JPEG, whole and in crops, unscaled and (at 24 pixels) reduced in the DCT domain.
#[test]
fn packed_images_have_the_pixels_of_plain_ones() {
    let (_folder, out, plain) = both(6, 5);
    let packed = open(&shards(&out)).expect("a packed data set");
    assert_eq!(packed.train.len(), plain.train.len());
    assert_eq!(packed.train.classes(), plain.train.classes());
    let random = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
    let (mut wanted, mut read) = (0, 0);
    for (crop, size) in [(random.clone(), 160), (random, 24), (Crop::Center { pct: 0.875 }, 64)] {
        let transform = Transform { crop, flip: 0.5, filter: Filter::Bicubic, ..Transform::center(size, 1.0) };
        for index in 0..plain.train.len() {
            assert_eq!(packed.train.label(index), plain.train.label(index));
            for draw in 0..8 {
                let key = Key::root(draw).child(index as u64);
                let (expected, plain_bytes) = pixels(plain.train.as_ref(), index, &transform, key);
                let (found, packed_bytes) = pixels(packed.train.as_ref(), index, &transform, key);
                // Rows of four bytes, of which the last means nothing; one level from chroma at the edge of what is read
                // may become two where a cubic overshoots.
                let colours = |pixels: &[u8]| -> Vec<u8> {
                    pixels.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect()
                };
                let (expected, found) = (colours(&expected), colours(&found));
                let worst = expected.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(2), "{}: {worst:?} at {size}", packed.train.name(index));
                (wanted, read) = (wanted + plain_bytes, read + packed_bytes);
            }
        }
    }
    assert!(read * 10 < wanted * 9, "{read} of {wanted} bytes were read");
}

#[test]
fn the_stream_is_that_of_the_plain_files() {
    let (_folder, out, plain) = both(4, 3);
    let packed = open(&shards(&out)).expect("a packed data set");
    let spec = training(4);
    let places = |source: &dyn Source| -> Vec<_> {
        let seen = take(source, &spec, 6).expect("batches");
        seen.into_iter().map(|(key, label, _)| (key, label)).collect()
    };
    assert_eq!(places(packed.train.as_ref()), places(plain.train.as_ref()));
}

#[test]
fn a_shard_of_another_pack_or_length_is_refused() {
    let (folder, out, plain) = both(4, 100);
    let other = folder.path().join("other");
    pack(&plain, &PackSpec { seed: 9, shard_images: 100, ..PackSpec::new(&other) }, &|_| {}).expect("packed");
    let shard = "train-000000.tar";
    let (ours, theirs) = (fs::read(out.join(shard)).expect("read"), fs::read(other.join(shard)).expect("read"));
    assert_eq!(ours.len(), theirs.len(), "the same images in another order");
    for wrong in [theirs, ours[..ours.len() - 512].to_vec(), [ours.as_slice(), &[0; 512]].concat()] {
        write_file(&out.join(shard), &wrong);
        let error = open(&shards(&out)).expect_err("not the shard of this index");
        assert!(matches!(&error, DataError::Shard { path, .. } if path.ends_with(shard)), "{error}");
    }
    fs::remove_file(out.join(shard)).expect("removed");
    let error = open(&shards(&out)).expect_err("no shard").to_string();
    assert!(error.contains(shard), "{error}");
    let error = open(&shards(folder.path())).expect_err("not packed").to_string();
    assert!(error.contains("train.index") && error.contains("rectify data pack"), "{error}");
}

/// Its images are replaced by those of the other shards.
#[test]
fn a_shard_that_is_shortened_while_it_is_open_gives_unreadable_images() {
    let (_folder, out, _) = both(6, 6);
    let dataset = open(&shards(&out)).expect("a packed data set");
    let cut = OpenOptions::new().write(true).open(out.join("train-000001.tar")).expect("opened");
    cut.set_len(700).expect("shortened");
    let spec = training(4);
    let stats = LoaderStats::new();
    let seen = take_counting(dataset.train.as_ref(), &spec, 6, &stats).expect("the run goes on");
    assert_eq!(seen.len(), 24);
    assert_eq!(stats.bad(Reason::Unreadable), 6, "all images of one of two shards");
}

/// Label, name, encoding and bytes of an image.
type Told = Result<(u32, String, Encoding, Vec<u8>), String>;

/// What a packed split says of every image.
fn told(source: &dyn Source) -> Vec<Told> {
    let corner = |width: u32, height: u32| CropBox { top: height / 2, left: 0, height: height / 3, width: width / 2 };
    let tell = |index| {
        let mut bytes = Vec::new();
        let encoding = source.read(index, Wants::new(&corner), &mut bytes).map_err(|error| error.to_string())?;
        Ok((source.label(index), source.name(index).into_owned(), encoding, bytes))
    };
    (0..source.len()).map(tell).collect()
}

#[test]
fn an_index_with_any_byte_changed_says_so_or_says_the_same() {
    let (_folder, out, _) = both(2, 100);
    let path = out.join("train.index");
    let index = fs::read(&path).expect("an index");
    let expected = told(open(&shards(&out)).expect("a packed data set").train.as_ref());
    assert!(expected.iter().all(Result::is_ok));
    let mut refused = 0;
    for at in 0..index.len() {
        let mut damaged = index.clone();
        damaged[at] ^= 1 << (at % 8);
        fuzzing::shard_index(&damaged);
        write_file(&path, &damaged);
        let Ok(dataset) = open(&shards(&out)) else {
            refused += 1;
            continue;
        };
        assert_eq!(dataset.train.len(), expected.len());
        let found = told(dataset.train.as_ref());
        let mut wrong = found.iter().zip(&expected).filter(|(found, _)| found.is_ok());
        assert!(wrong.all(|(found, expected)| found == expected), "byte {at} changes what is read");
        let errors: Vec<&String> = found.iter().filter_map(|found| found.as_ref().err()).collect();
        assert!(errors.len() == 1 && errors[0].contains("damaged"), "byte {at}: {errors:?}");
    }
    assert!(refused > 88, "the whole head is checked");
}

#[test]
fn a_cut_index_is_refused_wherever_it_is_cut() {
    let (_folder, out, _) = both(2, 100);
    let path = out.join("train.index");
    let index = fs::read(&path).expect("an index");
    for length in (0..index.len()).step_by(7) {
        fuzzing::shard_index(&index[..length]);
        write_file(&path, &index[..length]);
        let error = open(&shards(&out)).expect_err("cut");
        assert!(matches!(error, DataError::ShardIndex { .. }), "{length} bytes: {error}");
    }
}

#[test]
fn verifying_finds_a_damaged_shard_and_a_changed_original() {
    let (folder, out, plain) = both(3, 100);
    let spec = PackSpec { shard_images: 100, ..PackSpec::new(&out) };
    verify(&plain, &spec, &|_| {}).expect("nothing differs");
    let path = out.join("train-000000.tar");
    let whole = fs::read(&path).expect("a shard");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    write_file(&path, &damaged);
    let error = verify(&plain, &spec, &|_| {}).expect_err("a byte differs").to_string();
    assert!(error.contains("train-000000.tar") && error.contains("pack the data set again"), "{error}");
    write_file(&path, &whole);
    fs::copy(folder.path().join("train/a/1.jpg"), folder.path().join("train/a/0.jpg")).expect("copied");
    let error = verify(&plain, &spec, &|_| {}).expect_err("another image").to_string();
    assert!(error.contains("a/0.jpg") && error.contains("coefficients differ"), "{error}");
}
