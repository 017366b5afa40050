//! Bad images are replaced, counted and listed; panics and misuse become errors; nothing hangs.

mod support;

use std::borrow::Cow;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dataloader::{
    BadPolicy, DataError, DatasetSpec, Encoding, LoaderSpec, LoaderStats, Order, ReadError, Reason, SKIPPED, Source,
    Transform, Wants, open, with_batches,
};
use image::ImageFormat;
use support::{Noise, augmented, encoded, image_folder, inside, memory, take, take_counting, training, write_file};

/// Train folder of ten images a class, of which the named ones of class `a` are bad.
fn folder_with_bad_images() -> tempfile::TempDir {
    let folder = image_folder(&["a", "b"], 10);
    let png = encoded(3, ImageFormat::Png);
    let class = folder.path().join("train/a");
    write_file(&class.join("2.png"), &png[..png.len() / 2]);
    write_file(&class.join("3.png"), b"");
    write_file(&class.join("4.png"), b"<html>not found</html>");
    write_file(&class.join("5.png"), &encoded(5, ImageFormat::WebP));
    folder
}

#[test]
fn a_bad_image_is_replaced_by_the_next_good_one_with_its_own_draws() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let train = dataset.train.as_ref();
    let spec = LoaderSpec::once(Transform { pixels: augmented().pixels, ..Transform::center(8, 1.0) }, 20);
    let seen = take(train, &spec, 1).expect("most images are good");
    let pixels = |sample: usize| &seen[sample].2;
    // 2, 3 and 4 are bad; 5 is a WebP under a wrong name, and good.
    assert!([2, 3, 4].into_iter().all(|bad| pixels(bad) == pixels(5)));
    assert!([1, 6].into_iter().all(|other| pixels(other) != pixels(5)));
    assert!(
        seen.iter().enumerate().all(|(sample, (key, ..))| key.sample == sample as u64),
        "keys stay the planned ones"
    );

    let random = LoaderSpec { order: Order::Sequential, ..training(20) };
    let good = take(train, &random, 1).expect("most images are good");
    assert_ne!(good[2].2, good[5].2, "the replacement has the draws of the place it fills");
}

#[test]
fn replacing_does_not_depend_on_workers_or_ranks() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let alone = take(dataset.train.as_ref(), &training(10), 6).expect("most images are good");
    for workers in [2, 4] {
        let spec = LoaderSpec { workers, ..training(10) };
        assert_eq!(take(dataset.train.as_ref(), &spec, 6).expect("most images are good"), alone);
    }
    let half = LoaderSpec { rank: 1, world_size: 2, micro_batch: 5, ..training(10) };
    let second = take(dataset.train.as_ref(), &half, 6).expect("most images are good");
    assert!(second.iter().eq(alone.chunks_exact(10).flat_map(|batch| &batch[5..])));
}

#[test]
fn a_skipped_image_is_zeros_without_a_label_and_counts_once() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let list = folder.path().join("run/bad_images.txt");
    let once = LoaderSpec::once(Transform { pixels: augmented().pixels, ..Transform::center(8, 1.0) }, 8);
    let spec = LoaderSpec { bad: BadPolicy::Skip, bad_images: Some(list.clone()), workers: 2, ..once };
    let stats = LoaderStats::new();
    let seen = take_counting(dataset.train.as_ref(), &spec, 10, &stats).expect("most images are good");
    assert_eq!((seen.len(), stats.images(), stats.bad_total()), (20, 17, 3));
    for (key, label, pixels) in seen {
        let bad = [2, 3, 4].contains(&key.sample);
        assert_eq!(label, if bad { SKIPPED } else { i64::from(key.sample >= 10) });
        assert_eq!(pixels.iter().all(|&bits| bits == 0), bad, "sample {}", key.sample);
    }
    assert_eq!(fs::read_to_string(&list).expect("a list").lines().count(), 3);
}

#[test]
fn a_bad_image_ends_the_loader_where_that_is_asked_for() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let list = folder.path().join("run/bad_images.txt");
    for workers in [1, 3] {
        let spec = LoaderSpec { bad: BadPolicy::Fail, bad_images: Some(list.clone()), workers, ..training(10) };
        let said = take(dataset.train.as_ref(), &spec, 6).expect_err("three images are bad").to_string();
        for expected in ["train/a/", ".png is bad (", "data.bad", "repair or remove"] {
            assert!(said.contains(expected), "no {expected} in {said}");
        }
    }
    assert!(fs::read_to_string(&list).expect("a list").contains("train/a/"));
}

#[test]
fn bad_images_are_counted_by_reason_and_listed_once() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let list = folder.path().join("run/bad_images.txt");
    let spec = LoaderSpec { bad_images: Some(list.clone()), workers: 3, ..training(10) };
    for run in 0..2 {
        let stats = LoaderStats::new();
        // Three epochs, so that each bad image is met several times.
        take_counting(dataset.train.as_ref(), &spec, 6, &stats).expect("most images are good");
        for reason in Reason::ALL {
            let expected = u64::from([Reason::Truncated, Reason::Empty, Reason::NotAnImage].contains(&reason));
            assert_eq!(stats.bad(reason), expected, "{reason} in run {run}");
        }
        assert_eq!((stats.bad_total(), stats.batches(), stats.queue_depth()), (3, 6, 0));
        assert!(stats.images() >= 60 && stats.bytes() > 0);
    }
    let text = fs::read_to_string(&list).expect("a list");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let paths = inside(&folder.path().join("train/a"), &["2.png", "3.png", "4.png"]);
    let expected: Vec<String> = paths
        .iter()
        .zip(["truncated", "empty", "not-an-image"])
        .map(|(path, reason)| format!("{}\t{reason}", path.display()))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_list_that_cannot_be_written_does_not_end_the_run() {
    let folder = folder_with_bad_images();
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    let list = folder.path().join("train/a/1.png/bad_images.txt");
    let spec = LoaderSpec { bad_images: Some(list), ..training(10) };
    assert_eq!(take(dataset.train.as_ref(), &spec, 2).expect("the run goes on").len(), 20);
}

#[test]
fn a_file_that_vanishes_is_unreadable() {
    let folder = image_folder(&["a", "b"], 3);
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    fs::remove_file(folder.path().join("train/b/1.png")).expect("removed");
    let stats = LoaderStats::new();
    take_counting(dataset.train.as_ref(), &training(6), 2, &stats).expect("the others are good");
    assert_eq!(stats.bad(Reason::Unreadable), 1);
}

#[test]
fn only_bad_images_are_an_error_that_names_one() {
    let folder = image_folder(&["a"], 4);
    for index in 0..4 {
        write_file(&folder.path().join(format!("train/a/{index}.png")), b"nonsense");
    }
    let dataset = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    for (workers, bad) in [(1, BadPolicy::Replace), (3, BadPolicy::Replace), (2, BadPolicy::Skip)] {
        let spec = LoaderSpec { workers, bad, ..training(2) };
        let error = take(dataset.train.as_ref(), &spec, 10).expect_err("no good image");
        assert!(matches!(error, DataError::AllBad { len: 4, .. }), "{error}");
        assert!(error.to_string().contains(".png, which is not-an-image"), "{error}");
    }
}

/// Panics when one sample is read, or when its label is asked for.
struct Trap {
    inner: Noise,
    on_read: Option<usize>,
    on_label: Option<usize>,
}

impl Source for Trap {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn label(&self, index: usize) -> u32 {
        assert_ne!(self.on_label, Some(index), "the label trap");
        self.inner.label(index)
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        self.inner.name(index)
    }

    fn read(&self, index: usize, wants: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        assert_ne!(self.on_read, Some(index), "the read trap");
        self.inner.read(index, wants, into)
    }
}

#[test]
fn a_panic_in_a_thread_is_an_error_that_says_which() {
    for (workers, readers) in [(1, 1), (3, 2)] {
        for (on_read, on_label, thread, said) in
            [(Some(20), None, "reader", "read trap"), (None, Some(20), "worker", "label trap")]
        {
            let source = Trap { inner: Noise::new(30), on_read, on_label };
            let spec = LoaderSpec { workers, readers, ..training(4) };
            let error = take(&source, &spec, usize::MAX).expect_err("an endless order ends only with an error");
            let DataError::WorkerPanicked { thread: found, message } = error else { panic!("{error}") };
            assert!(found == thread && message.contains(said), "{found}: {message}");
        }
    }
}

#[test]
fn a_failed_loader_stays_stopped() {
    let source = Trap { inner: Noise::new(4), on_read: Some(1), on_label: None };
    let spec = training(4);
    with_batches(&source, &spec, memory(&spec, 2), &LoaderStats::new(), |batches| {
        assert!(matches!(batches.next(), Err(DataError::WorkerPanicked { .. })));
        assert!(matches!(batches.next(), Err(DataError::Stopped)));
    })
    .expect("the body did not fail");
}

#[test]
fn a_panic_of_the_body_passes_through_after_all_threads_have_ended() {
    let (source, stats) = (Noise::new(50), LoaderStats::new());
    let spec = LoaderSpec { workers: 3, readers: 2, ..training(4) };
    let run = AssertUnwindSafe(|| {
        with_batches(&source, &spec, memory(&spec, 4), &stats, |batches| {
            let _held = batches.next();
            panic!("the trainer's own fault");
        })
    });
    let panic = catch_unwind(run).expect_err("the panic goes on");
    assert_eq!(panic.downcast_ref(), Some(&"the trainer's own fault"));
    assert_eq!(stats.queue_depth(), 0);
}

/// Many readers, few workers, one of which is slow to come: nothing is lost and nothing hangs.
#[test]
fn many_readers_and_pinned_workers_change_nothing() {
    let source = Noise::new(300);
    let alone = take(&source, &training(8), 60).expect("good images");
    let many = LoaderSpec { readers: 64, workers: 3, pin_workers: true, ..training(8) };
    assert_eq!(take(&source, &many, 60).expect("good images"), alone);
}

#[test]
fn leaving_early_ends_the_loader_also_with_a_forgotten_lease() {
    let source = Noise::new(50);
    let spec = LoaderSpec { workers: 2, ..training(4) };
    let answer = with_batches(&source, &spec, memory(&spec, 3), &LoaderStats::new(), |batches| {
        std::mem::forget(batches.next());
        42
    });
    assert_eq!(answer.expect("no error"), 42);
}

#[test]
fn several_leases_may_be_out_but_not_all_when_the_next_is_asked_for() {
    let source = Noise::new(50);
    let spec = training(4);
    with_batches(&source, &spec, memory(&spec, 3), &LoaderStats::new(), |batches| {
        let first = batches.next().expect("good images").expect("endless");
        let second = batches.next().expect("good images").expect("endless");
        assert_ne!(first.samples(), second.samples());
        let third = batches.next().expect("good images").expect("endless");
        assert!(matches!(batches.next(), Err(DataError::AllLeased { buffers: 3 })));
        std::thread::scope(|scope| scope.spawn(move || drop(second)).join()).expect("a lease may change threads");
        let fourth = batches.next().expect("good images").expect("endless");
        assert_eq!(fourth.samples()[0].position, 12);
        drop((first, third));
    })
    .expect("no error");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let source = Noise::new(8);
    let good = training(12);
    let short = vec![vec![0.0f32; good.batch_bytes() / 4 - 1]; 2];
    let refused = |spec: &LoaderSpec, memory: Vec<Vec<f32>>| {
        let run = with_batches(&source, spec, memory, &LoaderStats::new(), |_| ());
        run.expect_err("it does not fit").to_string()
    };
    assert!(refused(&good, short).contains("memory: a buffer has"));
    assert!(refused(&good, Vec::new()).contains("memory: no buffers"));
    for (spec, field) in [
        (LoaderSpec { micro_batch: 5, ..good.clone() }, "global_batch"),
        (LoaderSpec { micro_batch: 0, ..good.clone() }, "micro_batch"),
        (LoaderSpec { rank: 1, ..good.clone() }, "rank"),
        (LoaderSpec { transform: Transform { flip: 2.0, ..augmented() }, ..good.clone() }, "transform.flip"),
    ] {
        let error = refused(&spec, memory(&spec, 2));
        assert!(error.contains(field), "{error}");
    }
    let empty = with_batches(&Noise::new(0), &good, memory(&good, 2), &LoaderStats::new(), |_| ());
    assert!(empty.expect_err("no samples").to_string().contains("no samples"));
}
