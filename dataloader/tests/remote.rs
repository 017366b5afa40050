//! Data sets behind a URL, read from a real S3 server on the loopback device through a proxy that spoils what it should.

#![cfg(feature = "remote")]

#[path = "support/bucket.rs"]
mod bucket;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bucket::{Bucket, Fault};
use dataloader::pack::{PackSpec, pack};
use dataloader::{
    Batches, DataError, Dataset, DatasetSpec, LoaderStats, Reason, Source, SourceKind, StorageOptions, Wants, open,
    with_batches,
};
use image::ImageFormat;
use support::{encoded, memory, take, take_counting, training, write_file};

/// Never waited for: a test that waits so long has failed.
const FOR_EVER: Duration = Duration::from_secs(300);
const IMAGES: usize = 3;

/// A bucket with a small set of folders in it, and a folder for a cache.
struct Stage {
    root: tempfile::TempDir,
    cache: tempfile::TempDir,
    bucket: Bucket,
}

impl Stage {
    fn new() -> Stage {
        let root = tempfile::tempdir().expect("scratch");
        for (split, class) in [("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog")] {
            for index in 0..IMAGES {
                let seed = (index + 10 * class.len()) as u64 + u64::from(class.as_bytes()[0]);
                write_file(&file(root.path(), split, class, index), &encoded(seed, ImageFormat::Png));
            }
        }
        write_file(&root.path().join("images/set/train/cat/.hidden.png"), b"no");
        write_file(&root.path().join("images/set/train/readme.txt"), b"no");
        let bucket = Bucket::serve(root.path());
        Stage { root, cache: tempfile::tempdir().expect("scratch"), bucket }
    }

    fn spec(&self) -> DatasetSpec {
        self.bucket.data_set(self.cache.path())
    }

    fn with(&self, change: impl FnOnce(&mut StorageOptions)) -> DatasetSpec {
        let mut spec = self.spec();
        change(&mut spec.storage);
        spec
    }

    fn fetched(&self) -> usize {
        self.bucket.requests().iter().filter(|line| line.starts_with("GET") && line.contains(".png")).count()
    }

    fn check(&self, dataset: &Dataset) {
        assert_eq!(dataset.train.classes(), ["cat", "dog"]);
        assert_eq!((dataset.train.len(), dataset.validation.len()), (2 * IMAGES, 2 * IMAGES));
        for index in 0..2 * IMAGES {
            let class = ["cat", "dog"][index / IMAGES];
            assert_eq!(dataset.train.label(index) as usize, index / IMAGES);
            let expected = fs::read(file(self.root.path(), "train", class, index % IMAGES)).expect("there");
            assert_eq!(read(dataset.train.as_ref(), index).expect("read"), expected, "image {index}");
        }
    }

    fn cached(&self) -> Vec<PathBuf> {
        let files = walk(&self.cache.path().join("blocks"));
        files.into_iter().filter(|file| !file.ends_with("lock") && !file.ends_with("bytes")).collect()
    }
}

fn file(root: &Path, split: &str, class: &str, index: usize) -> PathBuf {
    root.join(format!("images/set/{split}/{class}/{index}.png"))
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("listed").path()) {
        if entry.is_dir() { files.extend(walk(&entry)) } else { files.push(entry) }
    }
    files
}

fn read(source: &dyn Source, index: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    source.read(index, Wants::EVERYTHING, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn a_bucket_is_read_as_the_folder_that_it_is() {
    let stage = Stage::new();
    let remote = open(&stage.spec()).expect("opened");
    stage.check(&remote);
    assert_eq!(remote.train.name(0), "s3://images/set/train/cat/0.png");
    let local = open(&DatasetSpec::folder(stage.root.path().join("images/set"))).expect("opened");
    let spec = training(4);
    assert_eq!(take(remote.train.as_ref(), &spec, 5).unwrap(), take(local.train.as_ref(), &spec, 5).unwrap());
}

/// The tars of a packed set are a WebDataset too.
#[test]
fn packed_sets_and_tars_are_read_out_of_a_bucket() {
    let stage = Stage::new();
    let plain = open(&DatasetSpec::folder(stage.root.path().join("images/set"))).expect("opened");
    let packed = stage.root.path().join("images/packed");
    pack(&plain, &PackSpec::new(&packed), &|_| {}).expect("packed");
    let spec = training(4);
    for kind in [SourceKind::Shards, SourceKind::WebDataset] {
        let local = DatasetSpec {
            kind,
            train_dir: "train-{000000..000000}.tar".into(),
            val_dir: "val-000000.tar".into(),
            ..DatasetSpec::folder(&packed)
        };
        let remote = DatasetSpec { path: "s3://images/packed".into(), storage: stage.spec().storage, ..local.clone() };
        let (local, remote) = (open(&local).expect("opened"), open(&remote).expect("opened"));
        assert_eq!(remote.validation.len(), 2 * IMAGES);
        let seen = take(remote.train.as_ref(), &spec, 5).unwrap();
        assert_eq!(seen, take(local.train.as_ref(), &spec, 5).unwrap(), "{kind:?}");
    }
    let missing = DatasetSpec { kind: SourceKind::Shards, ..stage.spec() };
    let error = open(&missing).expect_err("not packed").to_string();
    assert!(error.contains("s3://images/set/train.index") && error.contains("rectify data pack"), "{error}");
}

#[test]
fn what_is_cached_is_not_fetched_again_by_any_later_run() {
    let stage = Stage::new();
    stage.check(&open(&stage.spec()).expect("opened"));
    let requests = stage.bucket.requests().len();
    assert_eq!(stage.fetched(), 2 * IMAGES);
    let later = open(&stage.spec()).expect("opened");
    stage.check(&later);
    stage.check(&later);
    assert_eq!(stage.bucket.requests().len(), requests, "{:?}", stage.bucket.requests());
}

#[test]
fn without_a_cache_all_is_fetched_each_time_and_nothing_is_kept() {
    let stage = Stage::new();
    let dataset = open(&stage.with(|options| options.cache_bytes = 0)).expect("opened");
    stage.check(&dataset);
    stage.check(&dataset);
    assert_eq!(stage.fetched(), 4 * IMAGES);
    assert!(walk(stage.cache.path()).is_empty());
}

#[test]
fn a_damaged_block_is_fetched_again() {
    let stage = Stage::new();
    stage.check(&open(&stage.spec()).expect("opened"));
    let blocks = stage.cached();
    assert_eq!(blocks.len(), 2 * IMAGES);
    let mut bytes = fs::read(&blocks[0]).expect("a block");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&blocks[0], bytes).expect("damaged");
    stage.check(&open(&stage.spec()).expect("opened"));
    assert_eq!(stage.fetched(), 2 * IMAGES + 1);
}

#[test]
fn two_runs_share_a_cache_and_keep_its_bound() {
    let stage = Stage::new();
    let one = fs::metadata(file(stage.root.path(), "train", "cat", 0)).expect("there").len() + 100;
    let spec = stage.with(|options| options.cache_bytes = 3 * one);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let dataset = open(&spec).expect("opened");
                for _ in 0..5 {
                    stage.check(&dataset);
                }
            });
        }
    });
    let kept: u64 = stage.cached().iter().map(|file| fs::metadata(file).expect("there").len()).sum();
    assert!(0 < kept && kept <= 3 * one, "{kept} bytes are kept");
}

/// Every fault that passes is survived, and the bytes are the right ones.
#[test]
fn requests_are_tried_again() {
    let slow = Fault::Slow(Duration::from_millis(50));
    let faults = [Fault::Unavailable, Fault::CutBody, Fault::ShortLength, Fault::LongLength, slow];
    for fault in faults {
        let stage = Stage::new();
        stage.bucket.spoil("list-type=2", Fault::Unavailable, 2);
        let dataset = open(&stage.spec()).expect("opened");
        stage.bucket.spoil("cat/1.png", fault, 2);
        stage.check(&dataset);
        let tries = if fault == slow { 1 } else { 3 };
        assert_eq!(stage.fetched(), 2 * IMAGES + tries - 1, "{fault:?}");
    }
}

#[test]
fn what_stays_spoilt_is_an_error_that_says_what_was_tried() {
    let faults = [Fault::Unavailable, Fault::CutBody, Fault::ShortLength, Fault::LongLength];
    let stage = Stage::new();
    let dataset = open(&stage.spec()).expect("opened");
    for fault in faults {
        stage.bucket.spoil("GET /images/set/train/cat/1.png", fault, 3);
        let said = read(dataset.train.as_ref(), 1).expect_err("spoilt");
        assert!(
            said.contains("s3://images/set/train/cat/1.png") && said.contains("tried 3 times"),
            "{fault:?}: {said}"
        );
    }
    assert!(read(dataset.train.as_ref(), 1).is_ok(), "the storage has recovered");
}

#[test]
fn images_behind_a_stall_are_replaced() {
    let stage = Stage::new();
    let short = |options: &mut StorageOptions| {
        options.timeout = Duration::from_millis(400);
        options.retries = 1;
    };
    let dataset = open(&stage.with(short)).expect("opened");
    stage.bucket.spoil("cat/1.png", Fault::Stall, usize::MAX);
    stage.bucket.spoil("dog/0.png", Fault::StallInBody, usize::MAX);
    let stats = LoaderStats::new();
    let seen = take_counting(dataset.train.as_ref(), &training(2 * IMAGES), 1, &stats).expect("goes on");
    assert_eq!(seen.len(), 2 * IMAGES);
    assert_eq!(stats.bad(Reason::TimedOut), 2);
}

#[test]
fn a_loader_ends_at_once_while_the_storage_stalls() {
    let stage = Stage::new();
    let dataset = open(&stage.with(|options| options.timeout = FOR_EVER)).expect("opened");
    stage.bucket.spoil(".png", Fault::Stall, usize::MAX);
    let (spec, stats) = (training(2), LoaderStats::new());
    let began = Instant::now();
    with_batches(dataset.train.as_ref(), &spec, memory(&spec, 3), &stats, |_: &mut Batches<'_, Vec<f32>>| {
        while stage.fetched() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .expect("ended");
    drop(dataset);
    assert!(began.elapsed() < FOR_EVER / 4);
    assert!(Reason::ALL.iter().all(|&reason| stats.bad(reason) == 0), "an end is no fault of an image");
}

#[test]
fn an_object_that_was_replaced_is_not_mixed_with_its_successor() {
    let stage = Stage::new();
    let dataset = open(&stage.spec()).expect("opened");
    let path = file(stage.root.path(), "train", "cat", 0);
    let mut longer = fs::read(&path).expect("there");
    longer.extend([0; 100]);
    fs::write(&path, &longer).expect("replaced");
    let said = read(dataset.train.as_ref(), 0).expect_err("replaced");
    assert!(said.contains("replaced"), "{said}");
    assert_eq!(read(dataset.train.as_ref(), 0).expect("looked at anew"), longer);
}

#[test]
fn what_cannot_be_opened_says_what_and_where() {
    let stage = Stage::new();
    let refused = |spec: DatasetSpec, parts: &[&str]| {
        let error = open(&spec).expect_err("refused");
        assert!(matches!(error, DataError::Remote { .. } | DataError::Url { .. }), "{error:?}");
        let said = error.to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    let elsewhere = |url: &str| DatasetSpec { path: url.into(), ..stage.spec() };
    refused(elsewhere("s3://no-such-bucket/set"), &["s3://no-such-bucket/set/train"]);
    refused(elsewhere("s3://images/nothing"), &["s3://images/nothing/train", "no objects"]);
    refused(elsewhere("ftp://images/set"), &["ftp://images/set"]);
    let secret = |options: &mut StorageOptions| {
        options.settings.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned());
    };
    refused(stage.with(secret), &["s3://images/set/train", "credentials"]);
}
