//! Data sets that are lists of paths and labels: what is read, and what is refused with which words.

mod support;

use std::path::Path;

use dataloader::{DataError, Dataset, DatasetSpec, Source, SourceKind, Wants, open};
use image::ImageFormat;
use support::{encoded, take, training, write_file};

fn spec(folder: &Path) -> DatasetSpec {
    DatasetSpec { kind: SourceKind::List, ..DatasetSpec::folder(folder) }
}

/// A folder with four images and two lists.
fn listed(train: &str, validation: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (seed, name) in (0..).zip(["a.png", "b.png", "deep/c, d.png", "e.png"]) {
        write_file(&folder.path().join(name), &encoded(seed, ImageFormat::Png));
    }
    write_file(&folder.path().join("train.csv"), train.as_bytes());
    write_file(&folder.path().join("val.csv"), validation.as_bytes());
    folder
}

fn opened(train: &str, validation: &str) -> Result<Dataset, DataError> {
    let folder = listed(train, validation);
    let dataset = open(&spec(folder.path()))?;
    assert!(take(dataset.train.as_ref(), &training(2), 2).is_ok());
    Ok(dataset)
}

fn refused(train: &str, validation: &str) -> String {
    opened(train, validation).expect_err("this cannot be trained on").to_string()
}

fn labels(source: &dyn Source) -> Vec<u32> {
    (0..source.len()).map(|index| source.label(index)).collect()
}

#[test]
fn numbers_and_names_are_labels() {
    let dataset = opened("a.png,0\nb.png,2\n\n\"deep/c, d.png\", 0\n", "e.png,1").expect("a data set");
    assert_eq!(labels(dataset.train.as_ref()), [0, 2, 0]);
    assert_eq!(
        (dataset.train.classes(), labels(dataset.validation.as_ref())),
        (&["0", "1", "2"].map(str::to_owned)[..], vec![1])
    );
    assert!(dataset.train.name(2).ends_with("/deep/c, d.png"));

    let dataset = opened("a.png,tabby cat\nb.png,\"dog, small\"\n", "e.png,tabby cat\n").expect("a data set");
    assert_eq!(dataset.train.classes(), ["dog, small", "tabby cat"]);
    assert_eq!((labels(dataset.train.as_ref()), labels(dataset.validation.as_ref())), (vec![1, 0], vec![1]));
}

#[test]
fn a_header_names_the_columns() {
    for train in [
        "path,label\na.png,1\nb.png,0\n",
        "\u{FEFF}Path,Label\r\na.png,1\r\nb.png,0\r\n",
        ",label,width,filename\n0,1,12,a.png\n1,0,12,b.png\n",
    ] {
        let dataset = opened(train, "e.png,1\n").expect("a data set");
        assert_eq!(labels(dataset.train.as_ref()), [1, 0], "{train}");
        assert!(dataset.train.name(0).ends_with("/a.png"));
    }
}

#[test]
fn paths_are_relative_to_the_list_or_absolute() {
    let folder = listed("a.png,0\n", "e.png,0\n");
    let lists = folder.path().join("lists");
    let absolute = folder.path().join("b.png");
    write_file(&lists.join("some.csv"), format!("../a.png,0\n{},1\n", absolute.display()).as_bytes());
    for name in ["lists/some.csv", "lists/some"] {
        let dataset = open(&DatasetSpec { train_dir: name.into(), ..spec(folder.path()) }).expect("a data set");
        for sample in 0..2 {
            let mut bytes = Vec::new();
            dataset.train.read(sample, Wants::EVERYTHING, &mut bytes).expect("read");
            assert_eq!(bytes, encoded(sample as u64, ImageFormat::Png));
        }
    }
}

#[test]
fn a_list_of_classes_gives_names_and_their_order() {
    for labels_of in [["dog", "cat"], ["1", "0"]] {
        let folder = listed(&format!("a.png,{}\n", labels_of[0]), &format!("e.png,{}\n", labels_of[1]));
        write_file(&folder.path().join("classes.txt"), b"cat\ndog\nfox\n");
        let dataset = open(&spec(folder.path())).expect("a data set");
        assert_eq!(dataset.train.classes(), ["cat", "dog", "fox"]);
        assert_eq!((labels(dataset.train.as_ref()), labels(dataset.validation.as_ref())), (vec![1], vec![0]));
    }
    let folder = listed("a.png,dog\nb.png,wolf\n", "e.png,dog\n");
    write_file(&folder.path().join("classes.txt"), b"cat\ndog\n");
    let error = open(&spec(folder.path())).expect_err("no such class").to_string();
    assert!(error.contains("train.csv, line 2: label \"wolf\" is no class"), "{error}");
}

#[test]
fn wrong_lines_are_named() {
    for (train, said) in [
        ("a.png,0\nb.png\n", "train.csv, line 2: no label; expected path,label"),
        ("a.png,0\n\n\nb.png, \n", "train.csv, line 4: no label"),
        ("a.png,0\r\n\r\n\"b\n\n.png\",1\r\nc\r\n", "train.csv, line 6: no label"),
        ("a.png,0\n,1\n", "train.csv, line 2: no path"),
        ("a.png,0\nb.png,1,2\n", "train.csv, line 2: 3 fields"),
        ("path,label\na.png,-1\n", "train.csv, line 2: label \"-1\" is not a whole number"),
        ("a.png,0\nb.png,1.0\n", "train.csv, line 2: label \"1.0\" is not a whole number"),
        ("a.png,0\nb.png,1000000\n", "train.csv, line 2: label 1000000 is absurd"),
        ("a.png,0\nb.png,99999999999999999999\n", "train.csv, line 2: label \"99999999999999999999\""),
        ("a.png,0\nb.png,cat\n", "train.csv, line 2: label \"cat\", but \"0\" in line 1"),
        ("a.png,0\n\"b.png,1\n", "train.csv, line 2: a quote that begins here is not closed"),
        ("a\0b.png,0\n", "train.csv, line 1: a NUL"),
        ("", "no samples in"),
        ("path,label\n", "no samples in"),
    ] {
        let error = refused(train, "e.png,0\n");
        assert!(error.contains(said), "{error}");
    }
    let error = refused("a.png,cat\n", "e.png,cat\ne.png,dog\n");
    assert!(error.contains("val.csv, line 2: label \"dog\" is no class of training"), "{error}");
    assert!(refused("a.png,1\n", "e.png,2\n").contains("count from 0"));
    assert!(refused("a.png,1\n", "e.png,cat\n").contains("use one of the two"));
}

#[test]
fn lists_and_files_that_are_not_there_are_named() {
    let folder = listed("a.png,0\n", "e.png,0\n");
    let spec = DatasetSpec { train_dir: "training".into(), ..spec(folder.path()) };
    let error = open(&spec).expect_err("no such list").to_string();
    assert!(error.contains("training.csv") && error.contains("path,label"), "{error}");
    let error = refused("other/a.png,0\nother/b.png,1\n", "e.png,0\n");
    assert!(error.contains("other/a.png") && error.contains("relative to the list"), "{error}");
    opened("other/a.png,0\nb.png,1\n", "e.png,0\n").expect("a missing image alone is a bad image");
}
