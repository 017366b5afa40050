//! What a dry run tells before any data is there.

use crate::stage::{Stage, place};

const RUN: &str = "name = 'far'\nrecipe = 'deit'\n[data]\npath = 'nowhere'\nexpect_train = 1281167\nexpect_val = 50000\n\
                   expect_classes = 1000\n[model]\nname = 'deit_small_patch16_224'\n[train]\nbatch_size = 1024\n";

#[test]
fn a_dry_run_tells_the_plan_without_data_and_starts_nothing() {
    let stage = Stage::new("exit 1");
    stage.write("far.toml", RUN);
    let outcome = stage.run("train far.toml --nproc 4 --dry-run --set train.accumulation=2 --set schedule.epochs=300");
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    for words in [
        "far on 4 ranks",
        "deit_small_patch16_224 with gelu",
        "22,050,664 parameters, 4.6 GFLOPs an image",
        "1,281,167 training and 50,000 validation images of 1,000 classes",
        "1,024 images = 4 ranks × 2 micro-batches of 128",
        "320,292 samples on each rank an epoch",
        "375,342: 300 epochs of 1251.1, the first 6,256 warm-up",
        "▇▇▇",
        "about ",
        "published top-1 on ImageNet-1K: 79.9 %",
        "augment.repeats",
        "fp16 with automatic loss scaling",
    ] {
        place(&outcome.out, words);
    }
    assert!(!stage.path("runs").exists());
}

#[test]
fn a_dry_run_without_expectations_needs_the_data() {
    let stage = Stage::new("exit 1");
    stage.write("far.toml", &RUN.replace("expect_val = 50000\n", ""));
    let outcome = stage.run("train far.toml --nproc 4 --dry-run");
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    place(&outcome.err, "nowhere");
}

#[test]
fn a_batch_that_does_not_fit_the_ranks_is_refused_with_the_nearest_that_do() {
    let stage = Stage::new("exit 1");
    stage.write("far.toml", RUN);
    let outcome = stage.run("train far.toml --nproc 3 --dry-run");
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    place(&outcome.err, "train.batch_size");
    place(&outcome.err, "1023 or 1026");
}
