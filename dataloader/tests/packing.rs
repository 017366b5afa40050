//! Packing: what is in the shards, what is left out, and going on after a sudden end.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use dataloader::pack::{BadImages, PackSpec, Progress, State, Summary, pack, verify};
use dataloader::{DataError, Dataset, DatasetSpec, Encoding, SourceKind, Split, Wants, open};
use image::ImageFormat;
use jpeg::{ColourSpace, TranscodeOptions, Transcoder};
use support::photographs::{self, mixed_folder};
use support::{write_file, write_image};

fn quiet(_: Progress) {}

fn packed(folder: &Path, spec: &PackSpec) -> Result<Summary, DataError> {
    pack(&open(&DatasetSpec::folder(folder))?, spec, &quiet)
}

fn opened(out: &Path) -> Dataset {
    open(&DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(out) }).expect("a packed data set")
}

/// Names and contents of the files in a tar, by their headers alone.
fn entries(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut at = 0;
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let text = |from: usize, to: usize| std::str::from_utf8(&header[from..to]).unwrap().trim_end_matches('\0');
        let sum: u32 = header[..148].iter().chain(&header[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        assert_eq!(u32::from_str_radix(text(148, 155).trim(), 8), Ok(sum), "the checksum of a header");
        assert_eq!((text(257, 262), header[156]), ("ustar", b'0'));
        let length = usize::from_str_radix(text(124, 136), 8).expect("octal");
        entries.push((text(0, 100).to_owned(), tar[at + 512..at + 512 + length].to_vec()));
        at += 512 + length.next_multiple_of(512);
    }
    assert_eq!(tar.len() - at, 1024, "two blocks of zeros end a tar");
    entries
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry"));
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("read"));
    entries.map(read).collect()
}

#[test]
fn shards_are_tars_with_unique_keys_and_the_coefficients_of_the_originals() {
    let folder = mixed_folder(5);
    let out = folder.path().join("packed");
    let spec = PackSpec { shard_images: 4, ..PackSpec::new(&out) };
    let summary = packed(folder.path(), &spec).expect("packed");
    let plain = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    assert_eq!(summary.splits[0].images as usize, plain.train.len());
    assert!(summary.splits[0].shards > 1 && summary.splits[0].left_out == 0, "{summary:?}");

    let mut keys = BTreeSet::new();
    let mut transcoder = Transcoder::new().expect("memory");
    for number in 0..summary.splits[0].shards {
        let path = out.join(format!("train-{number:06}.tar"));
        let tar = fs::read(&path).expect("a shard");
        let entries = entries(&tar);
        let listed = Command::new("tar").arg("-tf").arg(&path).output().expect("tar runs");
        let expected: String = entries.iter().map(|(name, _)| format!("{name}\n")).collect();
        assert_eq!(String::from_utf8(listed.stdout), Ok(expected), "what tar lists");
        for pair in entries.chunks(2) {
            let [(image, bytes), (class, label)] = pair else { panic!("an image without its class") };
            let (key, extension) = image.split_once('.').expect("a key");
            assert!(keys.insert(key.to_owned()), "{key} comes twice");
            assert_eq!(*class, format!("{key}.cls"));
            let index: usize = key.parse().expect("a number");
            assert_eq!(String::from_utf8_lossy(label), plain.train.label(index).to_string());
            let mut original = Vec::new();
            plain.train.read(index, Wants::EVERYTHING, &mut original).expect("read");
            if extension == "jpg" && bytes != &original {
                let options = TranscodeOptions::default();
                let before = transcoder.coefficients(&original, &options).expect("a JPEG");
                assert!(transcoder.coefficients(bytes, &options).expect("a JPEG") == before, "{image}");
            } else {
                assert_eq!(*bytes, original, "{image}");
            }
        }
    }
    assert_eq!(keys.len(), plain.train.len());
    verify(&plain, &spec, &quiet).expect("nothing differs");
}

/// A PNG, CMYK and a JPEG whose damage decoders repair stay as they are; a cut file is left out and listed.
#[test]
fn what_cannot_be_transcoded_is_kept_and_what_cannot_be_decoded_is_left_out() {
    let folder = mixed_folder(3);
    let class = folder.path().join("train/a");
    write_image(&class.join("x1.jpg"), 1, ImageFormat::Png);
    write_file(&class.join("x2.jpg"), &photographs::jpeg(60, 40, ColourSpace::Cmyk, 3));
    let whole = photographs::jpeg(60, 40, ColourSpace::YCbCr, 4);
    write_file(&class.join("x3.jpg"), &whole[..whole.len() / 2]);
    write_file(&class.join("x4.jpg"), b"no image");
    let out = folder.path().join("packed");
    let strict = PackSpec { bad_images: BadImages::Refuse, ..PackSpec::new(folder.path().join("strict")) };
    let error = packed(folder.path(), &strict).expect_err("a bad image").to_string();
    assert!(error.contains("cannot be packed"), "{error}");

    let summary = packed(folder.path(), &PackSpec::new(&out)).expect("packed");
    assert_eq!((summary.splits[0].left_out, summary.splits[1].left_out), (2, 0));
    let list = fs::read_to_string(out.join("train-left-out.txt")).expect("a list");
    assert!(list.contains("x3.jpg\ttruncated") && list.contains("x4.jpg\tnot-an-image"), "{list}");
    let dataset = opened(&out);
    let named = |part: &str| (0..dataset.train.len()).find(|&index| dataset.train.name(index).contains(part));
    for (name, extension) in [("x1.jpg", ".png ("), ("x2.jpg", ".jpg (")] {
        let index = named(name).expect("kept");
        assert!(dataset.train.name(index).contains(extension), "{}", dataset.train.name(index));
        let mut bytes = Vec::new();
        assert_eq!(dataset.train.read(index, Wants::EVERYTHING, &mut bytes).expect("read"), Encoding::File);
        assert_eq!(bytes, fs::read(class.join(name)).expect("read"));
    }
    assert_eq!(named("x3.jpg").or(named("x4.jpg")), None);
}

/// Ends the packing after each image in turn, and after each step of finishing a shard; what is there at the end must be
/// what one call writes.
#[test]
fn packing_goes_on_wherever_it_was_stopped() {
    let folder = mixed_folder(5);
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let whole = PackSpec { shard_images: 3, workers: 2, ..PackSpec::new(folder.path().join("whole")) };
    pack(&dataset, &whole, &quiet).expect("packed");
    let expected = files(&whole.out);
    for stop in 1..=dataset.train.len() as u64 {
        let out = folder.path().join(format!("stopped-{stop}"));
        let spec = PackSpec { out: out.clone(), ..whole.clone() };
        let stopping = |progress: Progress| {
            assert!(progress.split != Split::Train || progress.done < stop, "stopped here on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(|| pack(&dataset, &spec, &stopping))).is_err());
        // The last step of finishing a shard did not happen, or its file was damaged.
        let journal = out.join("train-000000.tar.journal");
        match stop % 3 {
            0 if journal.exists() => fs::remove_file(&journal).expect("removed"),
            1 if journal.exists() => fs::write(&journal, b"torn").expect("written"),
            _ => {}
        }
        fs::write(out.join("train-000001.tar.partial"), b"what was being written").expect("written");
        let from = std::cell::Cell::new(None);
        let noting = |progress: Progress| from.set(from.get().or(Some(progress.done)));
        pack(&dataset, &spec, &noting).expect("packed");
        if stop > 6 && stop % 3 == 2 {
            assert!(from.get() >= Some(3), "whole shards are not packed again");
        }
        let mut found = files(&out);
        found.remove("train-000001.tar.partial");
        assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
        assert!(found == expected, "stopped after {stop}");
        let again = pack(&dataset, &spec, &quiet).expect("nothing to do");
        assert_eq!((again.state, again.splits[0].images), (State::Found, dataset.train.len() as u64));
        assert!(again.splits.iter().all(|split| split.bytes_in > 0 && split.shards > 0), "{again:?}");
    }
}

#[test]
fn a_folder_that_holds_something_else_is_refused() {
    let folder = mixed_folder(3);
    let refused = |spec: &PackSpec| packed(folder.path(), spec).expect_err("refused").to_string();
    let error = refused(&PackSpec::new(folder.path()));
    assert!(error.contains("something else"), "{error}");
    let spec = PackSpec::new(folder.path().join("packed"));
    packed(folder.path(), &spec).expect("packed");
    let error = refused(&PackSpec { seed: 1, ..spec.clone() });
    assert!(error.contains("other options"), "{error}");
    fs::remove_file(folder.path().join("train/a/0.jpg")).expect("removed");
    let error = refused(&spec);
    assert!(error.contains("other images"), "{error}");
}

#[test]
fn the_longer_side_is_reduced_and_the_quality_lowered() {
    let folder = mixed_folder(4);
    let sides = |out: &Path| {
        let dataset = opened(out);
        let mut sides = Vec::new();
        for index in 0..dataset.train.len() {
            let mut bytes = Vec::new();
            let encoding = dataset.train.read(index, Wants::EVERYTHING, &mut bytes).expect("read");
            if let Encoding::Part { width, height, .. } = encoding {
                sides.push((width, height));
            }
        }
        sides
    };
    let reduced = PackSpec { max_side: Some(64), ..PackSpec::new(folder.path().join("reduced")) };
    packed(folder.path(), &reduced).expect("packed");
    let before = sides_of_plain(folder.path());
    for (&(width, height), &(from_width, from_height)) in sides(&reduced.out).iter().zip(&before) {
        assert_eq!(width.max(height), from_width.max(from_height).min(64));
        let ratio = f64::from(width) / f64::from(height) * f64::from(from_height) / f64::from(from_width);
        assert!((ratio - 1.0).abs() < 0.05, "{width} x {height} from {from_width} x {from_height}");
    }
    let [fine, coarse] = [95, 20].map(|quality| {
        let out = folder.path().join(format!("quality-{quality}"));
        packed(folder.path(), &PackSpec { quality: Some(quality), ..PackSpec::new(out) }).expect("packed")
    });
    assert!(fine.splits[0].bytes_out > coarse.splits[0].bytes_out);
}

fn sides_of_plain(folder: &Path) -> Vec<(u32, u32)> {
    let dataset = open(&DatasetSpec::folder(folder)).expect("a data set");
    let size = |index| image::image_dimensions(dataset.train.name(index).as_ref()).expect("an image");
    (0..dataset.train.len()).map(size).collect()
}

/// The seed changes where images lie, not which image is which sample.
#[test]
fn the_order_in_the_shards_is_not_the_order_of_the_samples() {
    let folder = mixed_folder(6);
    let [one, two] = [1, 2].map(|seed| {
        let out = folder.path().join(format!("seed-{seed}"));
        packed(folder.path(), &PackSpec { seed, ..PackSpec::new(&out) }).expect("packed");
        out
    });
    let shard = |out: &Path| fs::read(out.join("train-000000.tar")).expect("a shard");
    assert_ne!(shard(&one), shard(&two));
    let (one, two) = (opened(&one), opened(&two));
    for index in 0..one.train.len() {
        assert_eq!(one.train.name(index), two.train.name(index));
    }
}
