//! A search derives, trains and keeps; one that is stopped goes on where it was; what its networks see can be inspected.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use e2e::{Job, Workshop, binary, digits, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

const SEARCH: &str = r#"name = "found"
config = "small.toml"
start = ["gelu", "softplus"]
densities = ["gaussian", "measured"]
shares = [1.0]
generations = 2
keep = 1
seeds = [1]
confirm = [2, 3]
baseline = "gelu"
nproc = 2
set = [
    "schedule.epochs=10",
    "schedule.max_steps=25",
    "eval.every_epochs=0",
    "data.val_subset=100",
]
"#;

/// `rectify search search.toml`, in a process group of its own.
fn search(workshop: &Workshop) -> Job {
    let mut job = Job::new(Path::new("setsid"), &workshop.path(""));
    job.argument(binary("rectify")).arguments(["search", "search.toml"]);
    job
}

/// The summaries in a folder of runs, with when they were written.
fn finished(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().join("summary.json"));
    let time = |path: PathBuf| Some((path.clone(), fs::metadata(&path).ok()?.modified().ok()?));
    let mut found: Vec<_> = entries.filter_map(time).collect();
    found.sort();
    found
}

#[test]
fn a_search_derives_trains_and_keeps_and_goes_on_after_a_stop() {
    let workshop = Workshop::new();
    fs::write(workshop.path("search.toml"), SEARCH).expect("a search's file");
    let root = workshop.path("runs/found");
    search(&workshop).arguments(["--dry-run"]).run().code(0).says(&["begins with 2 activations", "at most 10 runs"]);
    let running = search(&workshop).start();
    wait_until("a child that is trained", || finished(&root).len() >= 3);
    running.signal(Signal::SIGINT);
    running.wait().code(75).says(&["go on with:"]);
    let before = finished(&root);

    let ended = search(&workshop).run().code(0);
    ended.says(&["against gelu, points", "search.md", "candidates.csv"]);
    let after = finished(&root);
    assert!(before.iter().all(|run| after.contains(run)), "a finished run was run again: {before:?}, {after:?}");
    // Two to begin with, the better one's two children, and perhaps two of the better child.
    let numbers = fs::read_to_string(root.join("candidates.csv")).expect("a table");
    let candidates = numbers.lines().count() - 1;
    assert!(candidates == 4 || candidates == 6, "{numbers}");
    assert_eq!(after.len(), candidates, "a run for each candidate and seed");
    let page = fs::read_to_string(root.join("search.md")).expect("a page");
    let confirmed = finished(&root.join("confirm")).len();
    if page.contains("No candidate is better than gelu") {
        assert_eq!(confirmed, 0);
    } else {
        assert!(page.contains("On 2 fresh seed(s), which did not choose it") && confirmed == 4, "{page}");
    }
    // Every child has a file that can be trained with, ranked, and derived from.
    let child = numbers
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().expect("a name"))
        .find(|name| name.ends_with("-measured"));
    let file =
        root.join("candidates").join(format!("{}.toml", child.expect("a child for what its parent's network saw")));
    let mut rank = Job::new(&binary("rectify"), &workshop.path(""));
    rank.arguments(["eafo", "rank", "--tables"]).argument(&file).run().code(0).says(&[child.expect("a child")]);
}

#[test]
fn what_activations_are_applied_to_is_inspected() {
    let workshop = Workshop::new();
    workshop.rectify(1, "run").set("schedule.max_steps=10").run().code(0);
    let rectify = |words: &[&str]| {
        let mut job = Job::new(&binary("rectify"), &workshop.path(""));
        for word in words {
            job.argument(word);
        }
        job
    };
    rectify(&["inspect", "run", "--images", "50", "--out", "layers.json"])
        .run()
        .code(0)
        .says(&["on 50 images", "rectify eafo layers"]);
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let own = read(&fs::read_to_string(workshop.path("layers.json")).expect("a file"));
    // The same images by their folder, in other batches: the same counts but for what rounding moves across an edge.
    let data = digits().join("val").display().to_string();
    let ended = rectify(&["inspect", "run", "--data", &data, "--images", "50", "--batch-size", "50"]).run().code(0);
    let by_folder = read(&ended.out);
    let names = |file: &Value| -> Vec<String> {
        let layers = file["layers"].as_array().expect("layers");
        layers.iter().map(|layer| layer["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&own), names(&by_folder));
    assert!(names(&own).contains(&"blocks.0.mlp.act".to_owned()), "{:?}", names(&own));
    for (one, other) in own["layers"].as_array().unwrap().iter().zip(by_folder["layers"].as_array().unwrap()) {
        for key in ["mean", "variance", "kurtosis"] {
            let (one, other) = (one[key].as_f64().expect(key), other[key].as_f64().expect(key));
            assert!((one - other).abs() < 1e-4 * (1.0 + one.abs()), "{key}: {one} is not {other}");
        }
    }
    rectify(&["eafo", "layers", "layers.json", "--out", "plots"])
        .run()
        .code(0)
        .says(&["blocks.0.mlp.act", "layers.svg"]);
    let derive = ["eafo", "derive", "--activation", "gelu", "--density", "layers(layers.json)", "--json"];
    let derived = read(&rectify(&derive).run().code(0).out);
    assert!(derived["entropy_after"].as_f64() < derived["entropy_before"].as_f64(), "{derived}");
    rectify(&["inspect", "run", "--data", "nowhere"]).run().code(3).says(&["nowhere"]);
    rectify(&["inspect", "run", "--out", "run/checkpoints/step-00000010/x.json"])
        .run()
        .code(2)
        .says(&["name a file elsewhere"]);
}
