//! A sweep that is killed and stopped goes on where it was, runs no finished cell again, and compares all in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use e2e::{Job, Workshop, binary, processes_naming, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const SWEEP: &str = r#"name = "table"
config = "small.toml"
activations = ["gelu", { name = "crrelu", epsilon = -0.1 }]
seeds = [1, 2]
baseline = "gelu"
nproc = 2
set = [
    "schedule.epochs=10",
    "schedule.max_steps=150",
    "eval.every_epochs=0",
    "data.val_subset=100",
]
"#;

const CELLS: [&str; 4] = ["gelu.seed-1", "crrelu_epsilon_-0.1.seed-1", "gelu.seed-2", "crrelu_epsilon_-0.1.seed-2"];

fn workshop(sweep: &str) -> Workshop {
    let workshop = Workshop::new();
    fs::write(workshop.path("table.toml"), sweep).expect("a sweep's file");
    workshop
}

/// `rectify sweep table.toml`, in a process group of its own.
fn sweep(workshop: &Workshop) -> Job {
    let folder = workshop.config().parent().map(Path::to_path_buf).expect("a folder");
    let mut job = Job::new(Path::new("setsid"), &folder);
    job.argument(binary("rectify")).arguments(["sweep", "table.toml"]);
    job
}

fn cell(workshop: &Workshop, index: usize) -> PathBuf {
    workshop.path("runs/table").join(format!("vit_tiny_patch16_224.{}", CELLS[index]))
}

/// When each cell that is finished was.
fn finished(workshop: &Workshop) -> Vec<Option<SystemTime>> {
    let time = |index| fs::metadata(cell(workshop, index).join("summary.json")).ok()?.modified().ok();
    (0..CELLS.len()).map(time).collect()
}

fn has_checkpoint(workshop: &Workshop, index: usize) -> bool {
    let entries = fs::read_dir(cell(workshop, index).join("checkpoints")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
}

#[test]
fn a_sweep_survives_a_kill_and_a_stop_and_repeats_no_finished_cell() {
    let workshop = workshop(SWEEP);
    let running = sweep(&workshop).start();
    wait_until("a checkpoint of the second cell", || has_checkpoint(&workshop, 1));
    let first = finished(&workshop);
    assert!(first[0].is_some() && first[1].is_none(), "{first:?}");
    killpg(Pid::from_raw(running.id() as i32), Signal::SIGKILL).expect("a group to kill");
    running.wait();

    // At once, while ranks of the killed sweep may still be there.
    let running = sweep(&workshop).start();
    wait_until("a checkpoint of the third cell", || has_checkpoint(&workshop, 2));
    running.signal(Signal::SIGINT);
    running.wait().code(75).says(&["1 finished, 3 to run", "going on from the checkpoint", "go on with:"]);
    let folder = workshop.path("runs").display().to_string();
    wait_until("the end of every process", || processes_naming(&folder).is_empty());
    let second = finished(&workshop);
    assert_eq!(second[0], first[0], "the finished cell was run again");
    assert!(second[1].is_some() && second[3].is_none(), "{second:?}");

    let ended = sweep(&workshop).arguments(["--at-a-time", "2", "--nproc", "1"]).run().code(0);
    ended.says(&["2 finished, 2 to run", "against gelu, points", "n = 2", "results.md"]);
    let third = finished(&workshop);
    assert_eq!(third[..2], second[..2], "finished cells were run again");
    assert!(third.iter().all(Option::is_some), "{third:?}");
    table_is_whole(&workshop);

    sweep(&workshop).run().code(0).says(&["4 finished, 0 to run"]);
    sweep(&workshop).arguments(["--table-only"]).run().code(0).says(&["against gelu, points"]);
    assert_eq!(finished(&workshop), third);
}

#[track_caller]
fn table_is_whole(workshop: &Workshop) {
    let csv = fs::read_to_string(workshop.path("runs/table/results.csv")).expect("results.csv");
    let header: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    let column = |name: &str| header.iter().position(|found| *found == name).unwrap_or_else(|| panic!("{name}: {csv}"));
    for (line, cell) in csv.lines().skip(1).zip(CELLS) {
        let fields: Vec<&str> = line.split(',').collect();
        assert!(fields[0].ends_with(cell), "{line}");
        for name in ["top1", "best_top1", "top5", "loss", "images_per_second", "step_ms", "peak_memory_mib"] {
            assert!(fields[column(name)].parse::<f64>().is_ok_and(f64::is_finite), "{name} of {line}");
        }
        assert_eq!(fields[column("steps")], "150");
        let learns_epsilon = fields[column("activation")] == "crrelu";
        assert_eq!(fields[column("epsilon_mean")].parse::<f64>().is_ok(), learns_epsilon, "{line}");
        assert_eq!(fields[column("epsilon_start")] == "-0.1", learns_epsilon, "{line}");
    }
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let page = fs::read_to_string(workshop.path("runs/table/results.md")).expect("results.md");
    assert!(page.contains("| crrelu epsilon=-0.1 |") && !page.contains("Not finished"), "{page}");
}

#[test]
fn a_sweep_with_one_bad_cell_starts_none() {
    #[track_caller]
    fn refused(from: &str, to: &str, says: &[&str]) {
        let workshop = workshop(&SWEEP.replacen(from, to, 1));
        sweep(&workshop).run().code(2).says(says);
        assert!(!workshop.path("runs").exists());
    }
    refused("\"gelu\", {", "\"gellu\", {", &["table.toml:3", "`gelu`"]);
    refused("seeds", "seed", &["table.toml:4", "`seeds`"]);
    refused("\"eval.every_epochs=0\"", "\"train.batch_size=25\"", &["table.toml:10", "24 or 26"]);
    refused("\"eval.every_epochs=0\"", "\"eval.evry_epochs=0\"", &["table.toml:10", "eval.every_epochs"]);
    refused(
        "epsilon = -0.1 }",
        "epsilon = -0.1, schedule.epochs = 9 }",
        &["table.toml:3", "schedule.epochs", "budget"],
    );
    refused("baseline = \"gelu\"", "baseline = \"relu\"", &["table.toml:5", "`baseline`", "gelu"]);
}
