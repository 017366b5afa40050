//! `rectify-data inspect`, `verify` and `show`, from outside.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dataloader::show::{COLUMNS, GAP, Layout};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use support::{encoded, write_file};

fn rectify_data(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rectify-data")).args(arguments).output().expect("the program starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain text")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Two classes; a copy inside training and one of it in validation, under another class; a cut file, a CMYK JPEG, a PNG
/// that is called .JPEG.
fn mixed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let write = |path: &str, bytes: &[u8]| write_file(&folder.path().join(path), bytes);
    let copied = encoded(1, ImageFormat::Jpeg);
    write("train/a/1.JPEG", &copied);
    write("train/a/1-again.JPEG", &copied);
    write("val/b/1.JPEG", &copied);
    let whole = encoded(2, ImageFormat::Jpeg);
    write("train/a/cut.JPEG", &whole[..whole.len() / 2]);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    write("train/b/cmyk.JPEG", &fs::read(fixtures.join("odd_cmyk.jpg")).expect("a fixture"));
    write("train/b/png.JPEG", &encoded(3, ImageFormat::Png));
    write("val/a/2.png", &encoded(4, ImageFormat::Png));
    folder
}

fn inspect(arguments: &[&str]) -> Value {
    let output = rectify_data(&[&["inspect", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn inspect_tells_formats_copies_and_faults() {
    let folder = mixed();
    let found = inspect(&[text(folder.path())]);
    let (train, copies) = (&found["train"], &found["duplicates"]);
    assert_eq!(found["classes"], serde_json::json!(["a", "b"]));
    assert_eq!((train["images"].as_u64(), &train["images_of_class"]), (Some(5), &serde_json::json!([3, 2])));
    let formats = train["formats"].as_object().expect("a table");
    let count = |part: &str| -> u64 {
        formats.iter().filter(|(name, _)| name.contains(part)).filter_map(|(_, count)| count.as_u64()).sum()
    };
    assert_eq!((count("JPEG baseline"), count("CMYK") + count("YCCK"), count("PNG")), (3, 1, 1), "{formats:?}");
    let only = |list: &Value, name: &str, kind: &str| {
        let list = list.as_array().expect("a list");
        assert!(list.len() == 1 && list[0]["kind"] == kind, "{list:?}");
        assert!(list[0]["name"].as_str().expect("a name").ends_with(name), "{list:?}");
    };
    only(&train["bad"], "train/a/cut.JPEG", "truncated");
    only(&train["misnamed"], "train/b/png.JPEG", "PNG");
    assert_eq!(
        (&copies["train"], &copies["validation"], &copies["validation_in_train"]),
        (&1.into(), &0.into(), &1.into())
    );
    assert_eq!(copies["groups_of_several_classes"], 1);
    assert_eq!(copies["groups"][0].as_array().map(Vec::len), Some(3));
}

#[test]
fn inspect_speaks_to_people_too() {
    let folder = mixed();
    let output = rectify_data(&["inspect", text(folder.path())]);
    let said = said(&output);
    for expected in ["2 classes", "1 validation images are training images too", "1 truncated", "png.JPEG  PNG", "█"]
    {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
}

/// Damage that headers do not show: the end of a JPEG's data is replaced, its end marker kept.
#[test]
fn only_decoding_shows_damage_inside() {
    let folder = mixed();
    fs::remove_file(folder.path().join("train/a/cut.JPEG")).expect("removed");
    let photo = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd_gray.jpg")).expect("a fixture");
    let mut damaged = photo[..photo.len() * 3 / 4].to_vec();
    damaged.extend([0xFF, 0xD9]);
    write_file(&folder.path().join("train/a/damaged.jpg"), &damaged);
    let bad = |found: Value| found["train"]["bad"].as_array().map(Vec::len);
    assert_eq!(bad(inspect(&[text(folder.path())])), Some(0));
    assert_eq!(bad(inspect(&[text(folder.path()), "--decode"])), Some(1));
}

#[test]
fn verify_lists_bad_images_and_ends_with_3() {
    let folder = mixed();
    let list = folder.path().join("bad.tsv");
    let output = rectify_data(&["verify", text(folder.path()), "--list", text(&list)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let lines = String::from_utf8(output.stdout.clone()).expect("text");
    assert!(lines.lines().count() == 1 && lines.contains("train/a/cut.JPEG\ttruncated\t"), "{lines}");
    assert_eq!(fs::read_to_string(&list).expect("a list"), lines);

    fs::remove_file(folder.path().join("train/a/cut.JPEG")).expect("removed");
    let output = rectify_data(&["verify", text(folder.path()), "--list", text(&list)]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]), "{}", said(&output));
    assert_eq!(fs::read_to_string(&list).expect("a list"), "");
}

#[test]
fn a_config_names_the_data_set_and_mistakes_are_told_apart() {
    let folder = mixed();
    fs::rename(folder.path().join("val"), folder.path().join("held-out")).expect("renamed");
    let config = folder.path().join("x.toml");
    let model = "[model]\nname = 'vit_tiny_patch16_224'\n";
    fs::write(&config, format!("[data]\npath = '{}'\nval_dir = 'held-out'\n{model}", folder.path().display())).unwrap();
    assert_eq!(inspect(&["--config", text(&config)])["validation"]["images"], 2);
    assert_eq!(inspect(&[text(folder.path()), "--set", "data.val_dir=held-out"])["validation"]["images"], 2);
    for (arguments, code) in [
        (vec!["inspect"], 2),
        (vec!["inspect", text(folder.path()), "--source", "foldr"], 2),
        (vec!["verify", "--config", "no-such.toml"], 2),
        (vec!["verify", text(folder.path())], 3),
    ] {
        let output = rectify_data(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    }
}

const COLOURS: [(&str, [u8; 3]); 2] = [("blue", [20, 40, 220]), ("red", [200, 30, 10])];

/// Two classes of one colour each, and a recipe that trains on them at 16 × 16.
fn flat() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (split, (class, colour), index) in ["train", "val"]
        .iter()
        .flat_map(|split| COLOURS.iter().flat_map(move |one| (0..3).map(move |i| (split, one, i))))
    {
        let path = folder.path().join(split).join(class).join(format!("{index}.png"));
        fs::create_dir_all(path.parent().expect("inside")).expect("created");
        RgbImage::from_pixel(20 + index, 18, Rgb(*colour)).save(path).expect("written");
    }
    let recipe = folder.path().join("recipe.toml");
    let model = "[model]\nname = 'vit_tiny_patch16_224'\nimage_size = 16\npatch_size = 4\n[train]\nbatch_size = 4\n";
    fs::write(&recipe, format!("[data]\npath = 'elsewhere'\n{model}")).expect("written");
    (folder, recipe)
}

/// The colour of each tile's middle.
fn colours(sheet: &Path, tiles: usize) -> Vec<[u8; 3]> {
    let image = image::open(sheet).expect("a PNG").into_rgb8();
    let layout = Layout::of(16);
    assert_eq!(image.dimensions(), layout.sheet(tiles));
    let middle = |place| {
        let (left, top) = layout.corner(place);
        image.get_pixel(left + layout.side / 2, top + layout.side / 2).0
    };
    (0..tiles).map(middle).collect()
}

fn is_close(seen: &[u8; 3], colour: &[u8; 3]) -> bool {
    seen.iter().zip(colour).all(|(a, b)| a.abs_diff(*b) <= 1)
}

#[test]
fn show_draws_what_the_loader_delivers() {
    let (folder, recipe) = flat();
    let sheet = folder.path().join("sheet.png");
    let show = |more: &[&str]| {
        let named = ["show", text(folder.path()), "--recipe", text(&recipe), "--out", text(&sheet)];
        let output = rectify_data(&[&named, more].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    assert!(show(&["-n", "12"]).contains("12 training images of 16×16"));
    let first = colours(&sheet, 12);
    // Two epochs of six: each colour six times.
    for (class, colour) in &COLOURS {
        assert_eq!(first.iter().filter(|seen| is_close(seen, colour)).count(), 6, "{class}: {first:?}");
    }
    // The stream from step 1 on is the stream without its first batch of four.
    show(&["-n", "8", "--step", "1"]);
    assert_eq!(colours(&sheet, 8), first[4..]);
    // Validation ends after its six images, in the order of its files.
    assert!(show(&["--val"]).contains("6 validation images"));
    let seen = colours(&sheet, 6);
    let ordered = [0, 0, 0, 1, 1, 1].map(|class: usize| COLOURS[class].1);
    assert!(seen.iter().zip(&ordered).all(|(seen, colour)| is_close(seen, colour)), "{seen:?}");
}

#[test]
fn names_stand_below_the_tiles() {
    let (folder, recipe) = flat();
    let sheet = folder.path().join("sheet.png");
    let arguments = ["show", text(folder.path()), "--recipe", text(&recipe), "--out", text(&sheet), "-n", "9"];
    assert!(rectify_data(&arguments).status.success());
    let image = image::open(&sheet).expect("a PNG").into_rgb8();
    let layout = Layout::of(16);
    let (left, below) = (layout.corner(0).0, layout.corner(0).1 + layout.side);
    let paper = *image.get_pixel(0, 0);
    let captioned = (below..layout.corner(COLUMNS).1 - GAP)
        .flat_map(|y| (left..left + layout.side).map(move |x| (x, y)))
        .any(|(x, y)| *image.get_pixel(x, y) != paper);
    assert!(captioned);
    let output = rectify_data(&["show", text(folder.path()), "--recipe", text(&recipe), "-n", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
