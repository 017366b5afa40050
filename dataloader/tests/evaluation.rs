//! Sets beside ImageNet's own: how each names its classes, and what of it is refused with which words.

mod support;

use std::path::Path;

use dataloader::{EvaluationSet, Labels};
use image::ImageFormat;
use support::{encoded, write_file};

/// The model's classes, in the order of its outputs.
const CLASSES: [&str; 4] = ["n01440764", "n01443537", "n02100735", "n02119789"];

fn put(folder: &Path, name: &str, seed: u64) {
    write_file(&folder.join(name), &encoded(seed, ImageFormat::Jpeg));
}

fn open(folder: &Path, labels: Labels) -> Result<EvaluationSet, String> {
    EvaluationSet::open(folder, labels, &CLASSES.map(str::to_owned)).map_err(|error| error.to_string())
}

/// Names below `folder` and labels, in the order of names.
fn labels(set: &EvaluationSet, folder: &Path) -> Vec<(String, u32)> {
    assert_eq!(set.images.classes(), CLASSES);
    let below = |name: &str| Path::new(name).strip_prefix(folder).expect("an image of the set").display().to_string();
    let image = |index| (below(&set.images.name(index)), set.images.label(index));
    let mut all: Vec<_> = (0..set.images.len()).map(image).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, label)| ((*name).to_owned(), *label)).collect()
}

#[test]
fn folders_by_wnid_have_the_classes_of_the_model_and_some_sets_a_choice_among_them() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "n02119789/a.jpg", 1);
    put(folder.path(), "n01443537/b.jpg", 2);
    let expected = pairs(&[("n01443537/b.jpg", 1), ("n02119789/a.jpg", 3)]);
    for (kind, chosen) in [
        (Labels::Folders, None),
        (Labels::ImageNetSketch, None),
        (Labels::ImageNetA, Some(vec![1, 3])),
        (Labels::ImageNetR, Some(vec![1, 3])),
    ] {
        let set = open(folder.path(), kind).unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        assert_eq!((labels(&set, folder.path()), &set.chosen_from), (expected.clone(), &chosen), "{}", kind.name());
        assert!(set.accepted.is_none() && set.left_out == 0);
    }
    put(folder.path(), "n09999999/c.jpg", 3);
    let refused = open(folder.path(), Labels::ImageNetA).err().expect("a class that the model has not");
    assert!(refused.contains("1 of 3 folders are no class of the model (n09999999)"), "{refused}");
}

#[test]
fn version_two_counts_its_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "3/a.jpg", 1);
    put(folder.path(), "0/b.jpg", 2);
    let set = open(folder.path(), Labels::ImageNetV2).expect("a set");
    assert_eq!(labels(&set, folder.path()), pairs(&[("0/b.jpg", 0), ("3/a.jpg", 3)]));
    put(folder.path(), "4/c.jpg", 3);
    assert!(open(folder.path(), Labels::ImageNetV2).err().expect("a fifth class").contains("(4)"));
}

#[test]
fn real_accepts_every_class_of_a_list_and_leaves_out_images_without_one() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 1..=3 {
        put(folder.path(), &format!("val/ILSVRC2012_val_{number:08}.JPEG"), number);
    }
    let missing = open(folder.path(), Labels::Real).err().expect("no list");
    assert!(missing.contains("real.json"), "{missing}");
    write_file(&folder.path().join("real.json"), b"[[2, 1], [], [3]]");
    let set = open(folder.path(), Labels::Real).expect("a set");
    let expected = [("val/ILSVRC2012_val_00000001.JPEG", 2), ("val/ILSVRC2012_val_00000003.JPEG", 3)];
    assert_eq!((labels(&set, folder.path()), set.left_out), (pairs(&expected), 1));
    assert_eq!(set.accepted, Some(vec![vec![2, 1], vec![3]]));
    for (list, says) in
        [(&b"[[2], [4], [3]]"[..], "class 4"), (b"[[2], [1]]", "none of its 2"), (b"{}", "list of lists")]
    {
        write_file(&folder.path().join("real.json"), list);
        let refused = open(folder.path(), Labels::Real).err().expect(says);
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn imagenet_s_own_split_is_read_flat_beside_its_labels_or_in_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "val/ILSVRC2012_val_00000001.JPEG", 1);
    put(folder.path(), "val/ILSVRC2012_val_00000002.JPEG", 2);
    let list = "ILSVRC2012_val_00000001.JPEG n02100735\nILSVRC2012_val_00000002.JPEG n01440764\n";
    write_file(&folder.path().join("val_labels.txt"), list.as_bytes());
    for named in [folder.path().to_owned(), folder.path().join("val")] {
        let set = open(&named, Labels::ImageNet).expect("a set");
        assert_eq!(
            labels(&set, folder.path()).iter().map(|(_, label)| *label).collect::<Vec<_>>(),
            [2, 0],
            "{}",
            named.display()
        );
    }
    let sorted = tempfile::tempdir().expect("a folder");
    put(sorted.path(), "val/n02119789/ILSVRC2012_val_00000001.JPEG", 1);
    let set = open(sorted.path(), Labels::ImageNet).expect("a set");
    assert_eq!(labels(&set, sorted.path()).iter().map(|(_, label)| *label).collect::<Vec<_>>(), [3]);
}
