//! Data sets of tars in WebDataset's layout: what is read from where, and what is refused with which words.

mod support;

use std::fs;
use std::path::Path;

use dataloader::{
    DataError, Dataset, DatasetSpec, Encoding, LoaderSpec, LoaderStats, Reason, Source, SourceKind, TarFault, Wants,
    open,
};
use image::ImageFormat;
use support::archive::{Archive, seal};
use support::{encoded, take, take_counting, training, write_file};

fn image(seed: u64) -> Vec<u8> {
    encoded(seed, ImageFormat::Png)
}

fn spec(folder: &Path) -> DatasetSpec {
    DatasetSpec { kind: SourceKind::WebDataset, ..DatasetSpec::folder(folder) }
}

/// Samples `first` to `last`, each an image and a label, which is its number modulo 3.
fn shard(samples: std::ops::Range<u64>) -> Archive {
    samples.fold(Archive::new(), |archive, sample| {
        archive
            .file(format!("{sample:04}.png"), &image(sample))
            .file(format!("{sample:04}.cls"), label(sample).as_bytes())
    })
}

fn label(sample: u64) -> String {
    format!("{}\n", sample % 3)
}

/// A data set whose training split is one shard.
fn with_train(shard_bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    write_file(&folder.path().join("train/0.tar"), shard_bytes);
    write_file(&folder.path().join("val/0.tar"), &shard(0..3).finish());
    folder
}

fn opened(train: Archive) -> Result<Dataset, DataError> {
    let folder = with_train(&train.finish());
    open(&spec(folder.path()))
}

fn refused(train: Archive) -> String {
    opened(train).expect_err("this cannot be trained on").to_string()
}

fn bytes(source: &dyn Source, sample: usize) -> Vec<u8> {
    let mut bytes = vec![1; 3];
    assert_eq!(source.read(sample, Wants::EVERYTHING, &mut bytes).expect("read"), Encoding::File);
    bytes
}

/// What the order "window" shuffles within.
#[test]
fn every_shard_is_a_group() {
    let folder = with_train(&shard(0..4).finish());
    write_file(&folder.path().join("train/1.tar"), &shard(4..9).finish());
    assert_eq!(open(&spec(folder.path())).expect("opened").train.groups(), [4, 9]);
}

#[test]
fn shards_of_a_folder_come_in_the_order_of_their_names() {
    let folder = with_train(&shard(0..4).finish());
    write_file(&folder.path().join("train/10.tar"), &shard(4..9).finish());
    write_file(&folder.path().join("train/.part.tar"), b"left by a copy");
    write_file(&folder.path().join("train/README"), b"no shard");
    write_file(&folder.path().join("classes.txt"), b"ant\nbee\ncat\n");
    let dataset = open(&spec(folder.path())).expect("a data set");
    let train = dataset.train.as_ref();
    assert_eq!((train.len(), dataset.validation.len()), (9, 3));
    assert_eq!(train.classes(), ["ant", "bee", "cat"]);
    for sample in 0..9 {
        assert_eq!((bytes(train, sample), train.label(sample)), (image(sample as u64), sample as u32 % 3));
    }
    assert!(train.name(5).ends_with("train/10.tar#0005.png"), "{}", train.name(5));
    let seen = take(train, &training(3), 3).expect("good images");
    assert!(seen.iter().all(|(key, label, _)| *label == (key.sample % 3) as i64));
    assert_eq!(seen.len(), 9);
}

#[test]
fn shards_are_named_by_patterns() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for index in 8..11u64 {
        write_file(&folder.path().join(format!("a/train-{index:03}.tar")), &shard(index..index + 1).finish());
    }
    write_file(&folder.path().join("val.tar"), &shard(0..2).finish());
    let by = |pattern: &str| {
        open(&DatasetSpec { train_dir: pattern.into(), val_dir: "val.tar".into(), ..spec(folder.path()) })
    };
    let dataset = by("a/train-{008..010}.tar").expect("a data set");
    assert!((0..3).map(|sample| bytes(dataset.train.as_ref(), sample)).eq((8..11).map(image)));
    assert_eq!(dataset.train.classes(), ["0", "1", "2"], "numbers, where there is no list");
    let error = by("a/train-{008..011}.tar").expect_err("one is missing").to_string();
    assert!(error.contains("a/train-011.tar"), "{error}");
    assert!(matches!(by("a/train-{008.tar"), Err(DataError::BadPattern { .. })));
}

#[test]
fn names_of_every_kind_and_labels_of_every_kind_are_read() {
    let long = format!("{}/x.png", "deep/".repeat(40));
    let size = |data: &[u8]| format!("{:011o}\0", data.len());
    let base_256 = |data: &[u8]| {
        let mut field = [0; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&(data.len() as u64).to_be_bytes());
        field
    };
    let mut prefixed = [0; 512];
    prefixed[..5].copy_from_slice(b"p.png");
    prefixed[124..136].copy_from_slice(size(&image(4)).as_bytes());
    prefixed[257..263].copy_from_slice(b"ustar\0");
    prefixed[345..351].copy_from_slice(b"folder");
    seal(&mut prefixed);
    let train = shard(0..1)
        .entry(b'5', "deep/", b"")
        .entry(b'2', "link.png", b"")
        .raw(b'1', "hard.png", b"00000007777\0", b"")
        .entry(b'g', "pax_global_header", b"19 comment=nothin\n\n")
        .gnu_long(&long, &image(1))
        .gnu_long(&long.replace("png", "json"), br#"{"label": 1, "width": 12}"#)
        .pax(&[("path", "päx/x.WebP"), ("mtime", "1.5")], "short", size(&image(2)).as_bytes(), &image(2))
        .pax(&[("path", "päx/x.cls"), ("size", "2")], "short", b"00000000000\0", b"2\n")
        .raw(b'0', b"./b\xE9.png", &base_256(&image(3)), &image(3))
        .file(b"./b\xE9.cls", b" 0 ")
        .entry(b'S', "sparse.png", b"parts")
        .pax(&[("GNU.sparse.major", "1")], "sparse2.png", b"00000000005\0", b"parts")
        .file("folder/o.txt", b"other files are nobody's business")
        .block(&prefixed, &image(4))
        .file("folder/p.cls", b"1")
        .file("folder/p.json", b"{}");
    let folder = with_train(&train.finish());
    let dataset = open(&spec(folder.path())).expect("a data set");
    let train = dataset.train.as_ref();
    let labels: Vec<u32> = (0..train.len()).map(|sample| train.label(sample)).collect();
    assert_eq!(labels, [0, 1, 2, 0, 1]);
    assert!(train.name(1).ends_with(&format!("#{long}")));
    assert!(train.name(2).ends_with("#päx/x.WebP"));
    assert!(train.name(3).ends_with("#b\u{FFFD}.png"));
    assert!(train.name(4).ends_with("#folder/p.png"));
    assert!((0..5).all(|sample| bytes(train, sample) == image(sample as u64)));
}

/// Fixtures of the library webdataset, and of Python's tarfile with names too long for a header.
#[test]
fn archives_of_other_programs_are_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (archive, first) in
        [("shard.tar", "folder/000000"), ("pax.tar", "long folder ähnlich/"), ("gnu.tar", "long folder")]
    {
        let spec = DatasetSpec { train_dir: archive.into(), val_dir: archive.into(), ..spec(&fixtures) };
        let dataset = open(&spec).expect("a data set");
        let train = dataset.train.as_ref();
        assert!(train.name(0).contains(&format!("{archive}#{first}")), "{}", train.name(0));
        for (sample, name) in ["odd_gray.jpg", "odd_palette.png", "odd_lossless.webp"].iter().enumerate() {
            assert_eq!(
                (bytes(train, sample), train.label(sample)),
                (fs::read(fixtures.join(name)).unwrap(), sample as u32)
            );
        }
        assert_eq!(take(train, &training(3), 1).expect("good images").len(), 3);
    }
}

#[test]
fn names_that_lead_out_of_the_archive_are_refused() {
    for name in ["../x.png", "/x.png", "a/../../x.png", "./../x.png", "a/.."] {
        let error = refused(shard(0..1).file(name, b"x"));
        assert!(error.contains(&format!("{name:?}")) && error.contains("refused"), "{error}");
    }
    let in_pax = Archive::new().pax(&[("path", "../../x.png")], "x.png", b"00000000000\0", b"");
    assert!(refused(in_pax).contains("../../x.png"));
    assert!(refused(Archive::new().gnu_long("/long.png", b"")).contains("/long.png"));
}

#[test]
fn broken_archives_are_named_with_the_place() {
    let whole = shard(0..3).finish();
    let length = whole.len();
    for cut in [0, 100, 512, 700, 1024, length - 1024, length - 1500, length - 2600] {
        let folder = with_train(&whole[..cut]);
        let error = open(&spec(folder.path())).expect_err("cut");
        let DataError::Tar { path, offset, fault: TarFault::Cut } = &error else { panic!("{cut}: {error}") };
        assert!(path.ends_with("train/0.tar") && *offset <= cut as u64);
    }
    let folder = with_train(&whole[..length - 512]);
    open(&spec(folder.path())).expect("one block of zeros ends an archive, too");

    let cases: [(Archive, &str); 7] = [
        (shard(0..1).raw(b'0', "a.png", b"\x80\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b""), "too large"),
        (shard(0..1).raw(b'0', "a.png", b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b""), "negative"),
        (shard(0..1).raw(b'0', "a.png", b"0000000009x\0", b""), "no number"),
        (shard(0..1).pax(&[("size", "99999999999999999999")], "a.png", b"00000000000\0", b""), "too large"),
        (shard(0..1).entry(b'x', "pax", b"99 path=a\n"), "pax header is damaged"),
        (shard(0..1).entry(b'L', "long", &vec![b'a'; 70_000]), "70000 bytes where at most 65536"),
        (shard(0..1).block(&[7; 512], b""), "no tar header"),
    ];
    for (train, said) in cases {
        let error = refused(train);
        assert!(error.contains(said) && error.contains("train/0.tar at byte "), "{error}");
    }
    let gzip = with_train(b"\x1F\x8B\x08 a compressed archive, which is no plain one");
    assert!(matches!(open(&spec(gzip.path())), Err(DataError::Tar { offset: 0, .. })));
}

#[test]
fn a_data_set_without_samples_is_refused() {
    let error = refused(Archive::new());
    assert!(error.contains("no samples in") && error.contains("train: a sample is"), "{error}");
    assert!(refused(Archive::new().file("notes.txt", b"x").file("info.json", b"{}")).contains("no samples"));
    let folder = with_train(&shard(0..1).finish());
    fs::rename(folder.path().join("train/0.tar"), folder.path().join("train/0.tgz")).expect("renamed");
    assert!(matches!(open(&spec(folder.path())), Err(DataError::NoSamples { .. })));
    fs::remove_dir_all(folder.path().join("train")).expect("removed");
    assert!(open(&spec(folder.path())).expect_err("missing").to_string().contains("train"));
}

#[test]
fn samples_that_do_not_add_up_are_named() {
    let (png, train) = (image(0), shard(0..1));
    let cases = [
        (train.clone().file("a.png", &png), "has an image and no label"),
        (train.clone().file("a.cls", b"1"), "a .cls and no image"),
        (train.clone().file("a.png", &png).file("a.jpg", &png), "two images"),
        (train.clone().file("a.cls", b"1").file("a.cls", b"1").file("a.png", &png), "two labels"),
        (train.clone().file("a.png", &png).file("a.cls", b"cat"), "\"cat\", not a whole number"),
        (train.clone().file("a.png", &png).file("a.cls", b"12345678"), "label 12345678 is absurd"),
        (train.clone().file("a.png", &png).file("a.json", b"{ half"), ".json is damaged"),
        (train.clone().file("a.png", &png).file("a.cls", b"1").file("a.json", br#"{"cls": 2}"#), ".json 2"),
    ];
    for (archive, said) in cases {
        let error = refused(archive);
        assert!(error.contains(said) && error.contains("sample a of") && error.contains("train/0.tar"), "{error}");
    }
    let again = train.file("a.png", &png).file("a.cls", b"1").file("0000.png", &png).file("0000.cls", b"1");
    assert!(refused(again).contains("sample 0000 of"));
}

#[test]
fn labels_beyond_the_classes_are_refused() {
    let folder = with_train(&shard(0..2).finish());
    let error = open(&spec(folder.path())).expect_err("label 2 is in validation only").to_string();
    assert!(error.contains("count from 0"), "{error}");
    write_file(&folder.path().join("classes.txt"), b"ant\nbee\n");
    let error = open(&spec(folder.path())).expect_err("label 2 has no name").to_string();
    assert!(error.contains("label 2, but classes.txt has 2 classes") && error.contains("0002.png"), "{error}");
}

/// The open file is read by offset, so a shortened one is no more than a bad image.
#[test]
fn a_shard_that_is_shortened_while_it_is_read_costs_the_images_that_it_lost() {
    let folder = with_train(&shard(0..6).finish());
    let dataset = open(&spec(folder.path())).expect("a data set");
    let train = dataset.train.as_ref();
    assert_eq!(bytes(train, 5), image(5));
    let shortened = fs::File::options().write(true).open(folder.path().join("train/0.tar")).expect("opened");
    shortened.set_len(1000).expect("shortened");
    let (stats, once) = (LoaderStats::new(), LoaderSpec { order: dataloader::Order::Sequential, ..training(6) });
    let seen = take_counting(train, &once, 1, &stats).expect("one image is left");
    assert_eq!((seen.len(), stats.bad(Reason::Unreadable)), (6, 5));
}
