//! File systems at their worst: what is no file, cannot be listed, or has a name that is no text; and archives of noise.

mod support;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use dataloader::{
    DataError, Dataset, DatasetSpec, LoaderSpec, LoaderStats, Order, Reason, SourceKind, Wants, fuzzing, open,
};
use image::ImageFormat;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo, setfsuid};
use random::Key;
use support::archive::Archive;
use support::{encoded, image_folder, take_counting, training, write_file};

/// Reads every sample once; how many were unreadable.
fn unreadable(dataset: &Dataset) -> u64 {
    let stats = LoaderStats::new();
    let len = dataset.train.len();
    let spec = LoaderSpec { order: Order::Sequential, ..training(len) };
    let seen = take_counting(dataset.train.as_ref(), &spec, 1, &stats).expect("good images are left");
    assert_eq!(seen.len(), len);
    stats.bad(Reason::Unreadable)
}

/// Beside good images: a FIFO, a device, a folder that bears an image's name, links in circles and to nowhere.
#[test]
fn what_is_no_file_neither_hangs_nor_ends_a_run() {
    let folder = image_folder(&["a"], 3);
    let class = folder.path().join("train/a");
    mkfifo(&class.join("fifo.jpg"), Mode::S_IRWXU).expect("made");
    symlink("/dev/zero", class.join("endless.jpg")).expect("linked");
    fs::create_dir(class.join("folder.jpg")).expect("made");
    symlink("itself.jpg", class.join("itself.jpg")).expect("linked");
    symlink("nowhere.jpg", class.join("dangling.jpg")).expect("linked");
    symlink(&class, class.join("circle")).expect("linked");
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    assert_eq!(dataset.train.len(), 5, "links to nowhere are no images, and circles end");
    assert_eq!(unreadable(&dataset), 2);

    // A list names what it likes.
    let odd = ["fifo", "endless", "folder", "itself", "dangling"];
    let lines: String = odd.iter().map(|name| format!("train/a/{name}.jpg,0\n")).collect();
    write_file(&folder.path().join("train.csv"), format!("{lines}train/a/0.png,0\n").as_bytes());
    write_file(&folder.path().join("val.csv"), b"val/a/0.png,0\n");
    let spec = DatasetSpec { kind: SourceKind::List, ..DatasetSpec::folder(folder.path()) };
    assert_eq!(unreadable(&open(&spec).expect("a data set")), 5);
}

#[test]
fn a_fifo_in_place_of_a_shard_is_refused() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::create_dir(folder.path().join("train")).expect("made");
    mkfifo(&folder.path().join("train/0.tar"), Mode::S_IRWXU).expect("made");
    let spec = DatasetSpec { kind: SourceKind::WebDataset, ..DatasetSpec::folder(folder.path()) };
    let error = open(&spec).expect_err("no shard").to_string();
    assert!(error.contains("train/0.tar") && error.contains("it is a FIFO, not a file"), "{error}");
}

#[test]
fn names_that_are_no_text_are_read() {
    let folder = image_folder(&["a"], 1);
    let image = encoded(7, ImageFormat::Png);
    for split in ["train", "val"] {
        write_file(&folder.path().join(split).join(OsStr::from_bytes(b"caf\xE9/b\xFFr.png")), &image);
    }
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    assert_eq!(dataset.train.classes(), ["a", "caf\u{FFFD}"]);
    let mut bytes = Vec::new();
    dataset.train.read(1, Wants::EVERYTHING, &mut bytes).expect("read");
    assert_eq!(bytes, image);

    write_file(&folder.path().join("train.csv"), b"train/caf\xE9/b\xFFr.png,0\n");
    write_file(&folder.path().join("val.csv"), b"val/a/0.png,0\n");
    let spec = DatasetSpec { kind: SourceKind::List, ..DatasetSpec::folder(folder.path()) };
    assert_eq!(unreadable(&open(&spec).expect("a data set")), 0);
}

/// Opens a data set on a thread that may not read what is forbidden, also where the tests run as root.
fn opened_without_privileges(spec: &DatasetSpec) -> Result<Dataset, DataError> {
    let open = || {
        // Files are accessed with this identity by this thread alone.
        setfsuid(Uid::from_raw(65_534));
        open(spec)
    };
    thread::scope(|scope| scope.spawn(open).join()).expect("no panic")
}

#[test]
fn a_folder_that_cannot_be_listed_is_named() {
    let folder = image_folder(&["a", "b"], 2);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("opened");
    for forbidden in ["train/b", "train"] {
        let forbidden = folder.path().join(forbidden);
        fs::set_permissions(&forbidden, Permissions::from_mode(0o000)).expect("closed");
        let error = opened_without_privileges(&DatasetSpec::folder(folder.path())).expect_err("forbidden");
        assert!(matches!(&error, DataError::Io { path, .. } if path == &forbidden), "{error}");
        fs::set_permissions(&forbidden, Permissions::from_mode(0o755)).expect("opened");
    }
}

#[test]
fn a_folder_that_cannot_be_entered_is_not_called_missing() {
    let folder = image_folder(&["a"], 1);
    let inner = folder.path().join("inner");
    fs::create_dir_all(inner.join("data")).expect("made");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("opened");
    fs::set_permissions(&inner, Permissions::from_mode(0o000)).expect("closed");
    let error = opened_without_privileges(&DatasetSpec::folder(inner.join("data"))).expect_err("forbidden").to_string();
    assert!(error.contains("ermission denied"), "{error}");
    fs::set_permissions(&inner, Permissions::from_mode(0o755)).expect("opened");
}

/// Archives with noise in their headers, and noise alone: the fuzzer's entry point holds what must hold.
#[test]
fn archives_of_noise_break_nothing() {
    let inner = Archive::new().file("x.png", b"x").file("x.cls", b"1").finish();
    let whole = Archive::new()
        .gnu_long(&"long/".repeat(30), b"x")
        .pax(&[("path", "a.jpg"), ("size", "3")], "short", b"00000000000\0", b"abc")
        .file("a.cls", b"1")
        .file("n01.tar", &inner)
        .finish();
    fuzzing::tar(&whole);
    let mut rng = Key::root(5).rng();
    for _ in 0..20_000 {
        let mut noisy = whole.clone();
        for _ in 0..=rng.next_u32() % 3 {
            let place = rng.next_u32() as usize % noisy.len();
            noisy[place] = rng.next_u32() as u8;
            // Most changes would only be a wrong checksum.
            let header: &mut [u8; 512] = (&mut noisy[place / 512 * 512..][..512]).try_into().expect("whole blocks");
            if header[257..262] == *b"ustar" {
                support::archive::seal(header);
            }
        }
        noisy.truncate(noisy.len() - rng.next_u32() as usize % 600);
        fuzzing::tar(&noisy);
    }
    assert!(!Path::new("long").exists(), "nothing is unpacked");
}
