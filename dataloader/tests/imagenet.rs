//! ImageNet as it is distributed: every layout gives the same data set, and what is refused with which words.

mod support;

use std::fs;
use std::path::Path;

use dataloader::{DataError, Dataset, DatasetSpec, Source, SourceKind, TarFault, Wants, open};
use image::ImageFormat;
use support::archive::Archive;
use support::{encoded, take, training, write_file};

/// In the order of their labels. The kit in the fixtures numbers them 3, 2, 1.
const CLASSES: [&str; 3] = ["n01440764", "n02100735", "n02119789"];
/// The class of each validation image.
const VALIDATION: [usize; 5] = [2, 0, 1, 0, 2];

fn spec(folder: &Path) -> DatasetSpec {
    DatasetSpec { kind: SourceKind::ImageNet, ..DatasetSpec::folder(folder) }
}

fn refused(folder: &Path) -> String {
    open(&spec(folder)).expect_err("this cannot be trained on").to_string()
}

/// Names and contents of the training images of a class, in no order.
fn train_images(class: usize) -> Vec<(String, Vec<u8>)> {
    let image = |number| encoded((10 * class + number) as u64, ImageFormat::Jpeg);
    [10, 9, 2].map(|number| (format!("{}_{number}.JPEG", CLASSES[class]), image(number))).into()
}

/// Names and contents of the validation images.
fn validation_images() -> Vec<(String, Vec<u8>)> {
    let image = |index| encoded(100 + index as u64, ImageFormat::Jpeg);
    (0..VALIDATION.len()).map(|index| (format!("ILSVRC2012_val_{:08}.JPEG", index + 1), image(index))).collect()
}

fn packed(images: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    images.iter().fold(Archive::new(), |archive, (name, data)| archive.file(name, data)).finish()
}

fn pack_train(folder: &Path) {
    let outer = [1, 0, 2].iter().fold(Archive::new(), |archive, &class| {
        archive.file(format!("{}.tar", CLASSES[class]), &packed(train_images(class)))
    });
    write_file(&folder.join("ILSVRC2012_img_train.tar"), &outer.finish());
}

fn unpack_train(folder: &Path) {
    for (class, wnid) in CLASSES.iter().enumerate() {
        for (name, data) in train_images(class) {
            write_file(&folder.join("train").join(wnid).join(name), &data);
        }
    }
}

fn pack_validation(folder: &Path) {
    let images = validation_images().into_iter().rev().collect();
    write_file(&folder.join("ILSVRC2012_img_val.tar"), &packed(images));
}

fn unpack_validation(folder: &Path) {
    for (name, data) in validation_images() {
        write_file(&folder.join("val").join(name), &data);
    }
}

fn sort_validation(folder: &Path) {
    for ((name, data), class) in validation_images().into_iter().zip(VALIDATION) {
        write_file(&folder.join("val").join(CLASSES[class]).join(name), &data);
    }
}

fn write_kit(folder: &Path) {
    let data = folder.join("ILSVRC2012_devkit_t12/data");
    write_file(&data.join("meta.mat"), include_bytes!("fixtures/meta.mat"));
    let numbers: String = VALIDATION.iter().map(|class| format!("{}\n", 3 - class)).collect();
    write_file(&data.join("ILSVRC2012_validation_ground_truth.txt"), numbers.as_bytes());
}

fn write_labels(folder: &Path) {
    let line = |((name, _), class): ((String, Vec<u8>), usize)| match class {
        0 => format!("{name} 0\n"),
        _ => format!("val/{name}  {}\r\n", CLASSES[class]),
    };
    let lines: String = validation_images().into_iter().zip(VALIDATION).map(line).collect();
    write_file(&folder.join("val_labels.txt"), lines.as_bytes());
}

fn made(parts: &[fn(&Path)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    parts.iter().for_each(|part| part(folder.path()));
    folder
}

/// Label, file name and contents of every sample.
fn listing(source: &dyn Source) -> Vec<(u32, String, Vec<u8>)> {
    let sample = |index| {
        let (name, mut bytes) = (source.name(index).into_owned(), Vec::new());
        source.read(index, Wants::EVERYTHING, &mut bytes).expect("read");
        (source.label(index), name.rsplit(['/', '#']).next().unwrap_or_default().to_owned(), bytes)
    };
    (0..source.len()).map(sample).collect()
}

#[test]
fn every_layout_is_the_same_data_set() {
    let layouts: [&[fn(&Path)]; 5] = [
        &[unpack_train, sort_validation],
        &[unpack_train, unpack_validation, write_labels],
        &[pack_train, pack_validation, write_kit],
        &[pack_train, pack_validation, write_labels],
        &[pack_train, unpack_validation, write_kit],
    ];
    let opened = |parts: &[fn(&Path)]| {
        let folder = made(parts);
        let Dataset { train, validation } = open(&spec(folder.path())).expect("a data set");
        assert_eq!((train.classes(), validation.classes()), (&CLASSES.map(str::to_owned)[..], train.classes()));
        let stream = take(train.as_ref(), &training(6), 3).expect("good images");
        (listing(train.as_ref()), listing(validation.as_ref()), stream)
    };
    let first = opened(layouts[0]);
    assert_eq!((first.0.len(), first.1.len()), (9, 5));
    assert!(first.0.iter().all(|(label, name, _)| name.starts_with(CLASSES[*label as usize])));
    for layout in &layouts[1..] {
        assert_eq!(opened(layout), first);
    }
}

#[test]
fn other_names_can_be_given() {
    let folder = made(&[pack_train, unpack_validation, write_kit]);
    fs::rename(folder.path().join("ILSVRC2012_img_train.tar"), folder.path().join("t.tar")).expect("renamed");
    fs::rename(folder.path().join("val"), folder.path().join("images")).expect("renamed");
    let spec = DatasetSpec { train_dir: "./t.tar".into(), val_dir: "./images/".into(), ..spec(folder.path()) };
    let dataset = open(&spec).expect("a data set");
    assert!(dataset.train.name(0).ends_with("t.tar#n01440764_10.JPEG"), "{}", dataset.train.name(0));
    assert_eq!(dataset.validation.len(), 5);
}

#[test]
fn what_is_missing_is_named() {
    let error = refused(made(&[]).path());
    assert!(error.contains("ILSVRC2012_img_train.tar") && error.contains("train/<wnid>/"), "{error}");
    assert!(refused(made(&[pack_train]).path()).contains("ILSVRC2012_img_val.tar: ImageNet is"));
    let error = refused(made(&[unpack_train, unpack_validation]).path());
    assert!(error.contains("validation_ground_truth.txt") && error.contains("val_labels.txt"), "{error}");
}

#[test]
fn wrong_labels_are_named() {
    let folder = made(&[unpack_train, unpack_validation, write_labels]);
    let labels = folder.path().join("val_labels.txt");
    let text = fs::read_to_string(&labels).expect("labels");
    for (wrong, said) in [
        (text.replace("n02100735", "n00000000"), "line 3: \"n00000000\" is none of the 3 classes"),
        (text.replace(" 0\n", " 3\n"), "line 2: \"3\" is none"),
        (text.replace(" 0\n", "\n"), "line 2: expected `file wnid`"),
        (text.clone() + "ILSVRC2012_val_00000001.JPEG 0\n", "line 6: ILSVRC2012_val_00000001.JPEG has another label"),
        (text.lines().take(3).collect::<Vec<_>>().join("\n"), "val_00000004.JPEG has none"),
    ] {
        fs::write(&labels, wrong).expect("written");
        let error = refused(folder.path());
        assert!(error.contains(said) && error.contains("val_labels.txt"), "{error}");
    }
    let folder = made(&[unpack_train, unpack_validation, write_kit]);
    let data = folder.path().join("ILSVRC2012_devkit_t12/data");
    let truth = data.join("ILSVRC2012_validation_ground_truth.txt");
    fs::write(&truth, "1\n1001\n").expect("written");
    assert!(refused(folder.path()).contains("line 2: \"1001\" is the number of no class"));
    fs::write(&truth, "1\n2\n").expect("written");
    assert!(refused(folder.path()).contains("ILSVRC2012_val_00000003.JPEG has none"));
    fs::write(data.join("meta.mat"), "no table").expect("written");
    assert!(refused(folder.path()).contains("meta.mat: this is no MATLAB file"));
}

#[test]
fn broken_tars_are_named_with_the_place() {
    let folder = made(&[pack_train, pack_validation, write_kit]);
    let tar = folder.path().join("ILSVRC2012_img_train.tar");
    let whole = fs::read(&tar).expect("a tar");
    // The first inner tar loses its end mark; the outer one stays whole.
    let inner = packed(train_images(1));
    let shorter = inner.len() - 1024;
    let cut = Archive::new().file("n02100735.tar", &inner[..shorter]).finish();
    fs::write(&tar, cut).expect("written");
    let error = open(&spec(folder.path())).expect_err("the inner tar is cut");
    let place = 512 + shorter as u64;
    assert!(matches!(error, DataError::Tar { offset, fault: TarFault::Cut, .. } if offset == place), "{error}");

    fs::write(&tar, &whole[..whole.len() / 2]).expect("cut");
    assert!(matches!(open(&spec(folder.path())), Err(DataError::Tar { fault: TarFault::Cut, .. })));
    for (train, said) in [
        (Archive::new().file("a.tar", &inner).file("x/a.tar", &inner), "two tars of this class"),
        (Archive::new().file("a.tar", &Archive::new().finish()), "class folder(s) a of"),
        (Archive::new().file("a.txt", b""), "expected one tar a class"),
        (Archive::new().file("a.tar", &Archive::new().file("../b.JPEG", b"").finish()), "\"../b.JPEG\""),
    ] {
        fs::write(&tar, train.finish()).expect("written");
        assert!(refused(folder.path()).contains(said), "{}", refused(folder.path()));
    }
}

#[test]
fn validation_folders_of_other_classes_are_refused() {
    let folder = made(&[pack_train, sort_validation]);
    fs::rename(folder.path().join("val/n02119789"), folder.path().join("val/n09999999")).expect("renamed");
    assert!(matches!(open(&spec(folder.path())), Err(DataError::ClassesDiffer { .. })));
}
