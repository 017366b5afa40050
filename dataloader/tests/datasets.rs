//! Opening data sets: what is found, in which order, and what is refused with which words.

mod support;

use std::fs;
use std::path::Path;

use dataloader::{DataError, DatasetSpec, Encoding, Source, SourceKind, Wants, open};
use image::ImageFormat;
use support::{image_folder, noise, take, training, write_file, write_image};

fn refused(spec: &DatasetSpec) -> DataError {
    open(spec).expect_err("this cannot be trained on")
}

fn names(source: &dyn Source, root: &Path) -> Vec<String> {
    let short = |index| Path::new(source.name(index).as_ref()).strip_prefix(root).unwrap().display().to_string();
    (0..source.len()).map(short).collect()
}

#[test]
fn classes_and_files_come_sorted_and_only_images_count() {
    let folder = image_folder(&["cat", "ant", "Bee"], 1);
    let train = folder.path().join("train");
    write_image(&train.join("cat/deeper/9.JPEG"), 1, ImageFormat::Jpeg);
    write_image(&train.join("cat/10.webp"), 1, ImageFormat::WebP);
    write_file(&train.join("cat/notes.txt"), b"not an image");
    write_file(&train.join("cat/.hidden.png"), b"left by some file browser");
    write_file(&train.join("README.md"), b"no class");
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    assert_eq!(dataset.train.classes(), ["Bee", "ant", "cat"]);
    let expected = ["Bee/0.png", "ant/0.png", "cat/0.png", "cat/10.webp", "cat/deeper/9.JPEG"];
    assert_eq!(names(dataset.train.as_ref(), &train), expected);
    assert!((0..5).map(|index| dataset.train.label(index)).eq([0, 1, 2, 2, 2]));
}

#[test]
fn a_missing_folder_is_named_with_what_is_there() {
    let folder = image_folder(&["a"], 1);
    let error = refused(&DatasetSpec::folder(folder.path().join("imagenet"))).to_string();
    assert!(error.contains("imagenet") && error.contains("holds the folders train, val"), "{error}");
    let spec = DatasetSpec { val_dir: "validation".into(), ..DatasetSpec::folder(folder.path()) };
    let error = refused(&spec).to_string();
    assert!(error.contains("validation") && error.contains("holds the folders train, val"), "{error}");
}

#[test]
fn a_split_without_classes_is_refused() {
    let folder = image_folder(&["a"], 1);
    fs::remove_dir_all(folder.path().join("val/a")).expect("removed");
    assert!(
        matches!(refused(&DatasetSpec::folder(folder.path())), DataError::NoClasses { path } if path.ends_with("val"))
    );
}

#[test]
fn a_class_without_images_is_named() {
    let folder = image_folder(&["a", "b", "c"], 1);
    fs::remove_file(folder.path().join("train/b/0.png")).expect("removed");
    let error = refused(&DatasetSpec::folder(folder.path()));
    assert!(matches!(&error, DataError::EmptyClass { classes, .. } if classes == &["b"]), "{error}");
}

#[test]
fn classes_of_one_split_alone_are_named() {
    let folder = image_folder(&["a", "b", "c"], 1);
    fs::rename(folder.path().join("val/b"), folder.path().join("val/d")).expect("renamed");
    let error = refused(&DatasetSpec::folder(folder.path()));
    let DataError::ClassesDiffer { only_train, only_validation, .. } = &error else { panic!("{error}") };
    assert_eq!((only_train.as_slice(), only_validation.as_slice()), (&["b".to_owned()][..], &["d".to_owned()][..]));
    assert!(error.to_string().contains("train: b;"), "{error}");
}

#[test]
fn a_subset_is_the_beginning_of_a_fixed_shuffle() {
    let folder = image_folder(&["a", "b"], 10);
    let subset = |subset, seed| {
        let spec = DatasetSpec { subset, seed, ..DatasetSpec::folder(folder.path()) };
        let dataset = open(&spec).expect("a data set");
        assert_eq!(dataset.validation.len(), 20, "the validation split stays whole");
        names(dataset.train.as_ref(), folder.path())
    };
    let five = subset(5, 1);
    assert_eq!(five, subset(8, 1)[..5]);
    assert_ne!(five, subset(5, 2));
    assert_eq!(five.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    let spec = DatasetSpec { subset: 21, ..DatasetSpec::folder(folder.path()) };
    assert!(matches!(refused(&spec), DataError::SubsetTooLarge { key: "data.subset", subset: 21, len: 20 }));
}

#[test]
fn a_validation_subset_is_the_same_for_every_seed() {
    let folder = image_folder(&["a", "b"], 10);
    let subset = |val_subset, seed| {
        let spec = DatasetSpec { val_subset, seed, ..DatasetSpec::folder(folder.path()) };
        let dataset = open(&spec).expect("a data set");
        assert_eq!(dataset.train.len(), 20, "the training split stays whole");
        names(dataset.validation.as_ref(), folder.path())
    };
    let five = subset(5, 1);
    assert_eq!((five.len(), &five), (5, &subset(5, 2)));
    assert_eq!(five, subset(8, 1)[..5]);
    let spec = DatasetSpec { val_subset: 21, ..DatasetSpec::folder(folder.path()) };
    assert!(matches!(refused(&spec), DataError::SubsetTooLarge { key: "data.val_subset", subset: 21, len: 20 }));
}

/// A file of records: labels, and pixels made from the record's number.
fn records(labels: &[&[u8]]) -> Vec<u8> {
    let record = |(index, label): (usize, &&[u8])| [label.to_vec(), noise(index as u64, 32, 32)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

fn cifar_10(folder: &Path) {
    for batch in 1..=5u8 {
        write_file(&folder.join(format!("data_batch_{batch}.bin")), &records(&[&[batch], &[0], &[9]]));
    }
    write_file(&folder.join("test_batch.bin"), &records(&[&[3], &[4]]));
}

fn cifar(kind: SourceKind, folder: &Path) -> DatasetSpec {
    DatasetSpec { kind, ..DatasetSpec::folder(folder) }
}

#[test]
fn cifar_10_is_read_as_distributed() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("cifar-10-batches-bin");
    cifar_10(&folder);
    write_file(&folder.join("batches.meta.txt"), b"plane\ncar\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    for path in [scratch.path(), &folder] {
        let dataset = open(&cifar(SourceKind::Cifar10, path)).expect("a data set");
        assert_eq!((dataset.train.len(), dataset.validation.len()), (15, 2));
        assert_eq!(dataset.train.classes()[9], "truck");
        assert!((0..15).map(|index| dataset.train.label(index)).eq([1, 0, 9, 2, 0, 9, 3, 0, 9, 4, 0, 9, 5, 0, 9]));
        assert!(dataset.train.name(7).ends_with("data_batch_3.bin#1"), "{}", dataset.train.name(7));
        let mut pixels = Vec::new();
        let encoding = dataset.train.read(7, Wants::EVERYTHING, &mut pixels).expect("read");
        assert_eq!(encoding, Encoding::Rgb { width: 32, height: 32 });
        let planes = noise(1, 32, 32); // (3, 32, 32) in the file, (32, 32, 3) in memory
        let place = |row: usize, column: usize, color: usize| planes[color * 1024 + row * 32 + column];
        assert!((0..3).all(|color| pixels[(5 * 32 + 17) * 3 + color] == place(5, 17, color)));
        assert_eq!(take(dataset.train.as_ref(), &training(5), 3).expect("good images").len(), 15);
    }
}

#[test]
fn cifar_100_uses_fine_labels() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    write_file(&scratch.path().join("train.bin"), &records(&[&[19, 99], &[0, 1], &[5, 42]]));
    write_file(&scratch.path().join("test.bin"), &records(&[&[19, 0]]));
    let dataset = open(&cifar(SourceKind::Cifar100, scratch.path())).expect("a data set");
    assert_eq!(dataset.train.classes().len(), 100);
    assert!((0..3).map(|index| dataset.train.label(index)).eq([99, 1, 42]));
    let mut pixels = Vec::new();
    dataset.validation.read(0, Wants::EVERYTHING, &mut pixels).expect("read");
    assert_eq!(pixels[..3], [noise(0, 32, 32)[0], noise(0, 32, 32)[1024], noise(0, 32, 32)[2048]]);
}

#[test]
fn broken_cifar_files_are_named() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let spec = cifar(SourceKind::Cifar10, scratch.path());
    cifar_10(scratch.path());
    let third = scratch.path().join("data_batch_3.bin");

    write_file(&third, &records(&[&[1], &[10]]));
    assert!(matches!(refused(&spec), DataError::WrongLabel { record: 1, label: 10, classes: 10, .. }));
    for bytes in [&records(&[&[1]])[..3000], &[]] {
        write_file(&third, bytes);
        assert!(matches!(refused(&spec), DataError::WrongLength { path, .. } if path == third));
    }
    fs::remove_file(&third).expect("removed");
    let error = refused(&spec).to_string();
    assert!(error.contains("data_batch_3.bin") && error.contains("test_batch.bin"), "{error}");
}
