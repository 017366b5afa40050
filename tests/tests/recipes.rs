//! Every recipe that ships trains: one step of its whole model, with its own augmentation, loss and optimiser, on made images.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Job, Workshop, binary, copy_of_digits};

/// Classes of the made data.
const CLASSES: usize = 10;
/// One label of a hundred, and 32 × 32 pixels of three colours.
const CIFAR100_RECORD: usize = 2 + 3 * 32 * 32;

/// Whether slow tests are wanted too, as `make test-all` says.
fn all_tests() -> bool {
    std::env::var_os("RECTIFY_ALL_TESTS").is_some_and(|value| value == "1")
}

/// The configs that ship, but for the demo, which other tests run, and sweeps; those of base models among the slow tests.
fn recipes() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").canonicalize().expect("the configs");
    let folders = [root.clone(), root.join("paper")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()));
    let is_wanted = |file: &PathBuf| is_recipe(file) && (all_tests() || !file.to_string_lossy().contains("_base"));
    let mut files: Vec<PathBuf> = files.filter(is_wanted).collect();
    files.sort();
    files
}

fn is_recipe(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "toml")
        && fs::read_to_string(file).expect("a config").contains("\nrecipe = ")
}

/// An image of every class in folders, and the same number of records in CIFAR-100's files.
fn make_data(workshop: &Workshop) {
    copy_of_digits(&workshop.path("folders"), 1);
    let file = |images: usize| -> Vec<u8> {
        let record = |image: usize| {
            let pixels = (2..CIFAR100_RECORD).map(move |at| (at * (image + 7)) as u8);
            [0, image as u8].into_iter().chain(pixels)
        };
        (0..images).flat_map(record).collect()
    };
    fs::create_dir(workshop.path("binary")).expect("a folder");
    for split in ["train.bin", "test.bin"] {
        fs::write(workshop.path("binary").join(split), file(CLASSES)).expect("a file");
    }
}

/// One step of `config` with two images.
fn train(workshop: &Workshop, config: &Path, run: &str, more: &[String]) {
    let text = fs::read_to_string(config).expect("a config");
    let (data, classes) = if text.contains("\"cifar100\"") { ("binary", 100) } else { ("folders", CLASSES) };
    let mut job = Job::new(&binary("rectify"), &workshop.path(""));
    job.arguments(["train"]).argument(config).arguments(["--nproc", "1", "--run-dir", run]);
    job.set(&format!("data.path={data}")).set(&format!("data.expect_train={CLASSES}"));
    job.set(&format!("data.expect_val={CLASSES}")).set(&format!("data.expect_classes={classes}"));
    job.set("data.val_subset=2").set("data.workers=1").set("train.batch_size=2").set("augment.mix_group=2");
    job.set("schedule.max_steps=1").set("checkpoint.best=false");
    if data == "folders" {
        job.set("data.source=folder").set("data.val_dir=val");
    }
    more.iter().for_each(|set| {
        job.set(set);
    });
    job.run().code(0);
    let summary = workshop.summary(run);
    assert_eq!(summary["steps"], 1, "{}", config.display());
    assert!(summary["loss"].as_f64().is_some_and(f64::is_finite), "{}", config.display());
}

#[test]
fn every_recipe_takes_a_step() {
    let workshop = Workshop::new();
    make_data(&workshop);
    let recipes = recipes();
    assert!(recipes.len() >= 8, "{recipes:?}");
    for config in &recipes {
        let name = config.file_stem().expect("a name").to_string_lossy().into_owned();
        let distilled = fs::read_to_string(config).expect("a config").contains("[distillation]");
        // The teacher of the recipe is large and its weights are not at hand: a small one that took a step stands in.
        let more = if distilled { teacher(&workshop) } else { Vec::new() };
        train(&workshop, config, &name, &more);
        if name != "deit_tiny" {
            fs::remove_dir_all(workshop.path(&name)).expect("a run");
        }
    }
}

/// DeiT-Ti after its step, as a teacher; its run is kept.
fn teacher(workshop: &Workshop) -> Vec<String> {
    if !workshop.path("deit_tiny").exists() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/deit_tiny.toml");
        train(workshop, &config, "deit_tiny", &[]);
    }
    let step = workshop.checkpoints("deit_tiny").pop().expect("a checkpoint");
    let weights = workshop.path("deit_tiny/checkpoints").join(step).join("parameters.safetensors");
    let weights = format!("distillation.weights={}", weights.display());
    vec!["distillation.teacher=deit_tiny_patch16_224".to_owned(), weights]
}
