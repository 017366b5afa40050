//! What a sweep does when cells fail.

use crate::stage::{Stage, place};

const SWEEP: &str = "name = 'all'\nconfig = 'run.toml'\nactivations = ['gelu', 'relu']\nseeds = [1]\nnproc = 1\n";

fn stage() -> Stage {
    let stage = Stage::new("fail 4 1 'the loss was not finite'");
    stage.write("all.toml", SWEEP);
    stage
}

#[test]
fn a_failed_cell_is_told_and_the_others_go_on() {
    let stage = stage();
    let outcome = stage.run("sweep all.toml");
    assert_eq!(outcome.code, Some(4), "{}", outcome.err);
    let first = place(&outcome.err, "failed: vit_tiny_patch16_224.gelu.seed-1, exit 4:");
    assert!(first < place(&outcome.err, "relu.seed-1 begins"));
    place(&outcome.err, "failed: vit_tiny_patch16_224.relu.seed-1, exit 4");
    place(&outcome.err, "the loss was not finite");
    place(&outcome.err, "2 to go");
    let words = std::fs::read_to_string(stage.path("runs/all/vit_tiny_patch16_224.relu.seed-1/words.0")).unwrap();
    place(&words, "--set model.activation=\"relu\" --set name=vit_tiny_patch16_224.relu.seed-1 --run-dir");
    place(&words, "--resume auto");
}

#[test]
fn no_further_cell_is_started_when_that_is_wished() {
    let stage = stage();
    let outcome = stage.run("sweep all.toml --fail-fast");
    assert_eq!(outcome.code, Some(4), "{}", outcome.err);
    assert!(!stage.path("runs/all/vit_tiny_patch16_224.relu.seed-1").exists());
}

#[test]
fn a_dry_run_lists_the_cells_and_starts_none() {
    let stage = stage();
    let outcome = stage.run("sweep all.toml --dry-run --set schedule.epochs=12");
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    for words in ["gelu.seed-1", "2 steps  to run", "all: 2 cells, 0 finished, 2 to run; about"] {
        place(&outcome.out, words);
    }
    assert!(!stage.path("runs").exists());
    let none = stage.run("sweep all.toml --table-only");
    assert_eq!(none.code, Some(2), "{}", none.err);
    place(&none.err, "no cell of this sweep is finished");
}
