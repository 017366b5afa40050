//! What bad input gets: an error that says what is wrong, where and what to do, before anything is started or lost.

use std::fs;
use std::path::Path;

use e2e::{Job, Workshop, binary, copy_of_digits};

/// Runs `rectify train` on the workshop's config with one line replaced, and expects a refusal before any rank starts.
#[track_caller]
fn refused(from: &str, to: &str, says: &[&str]) {
    let workshop = Workshop::new();
    let text = fs::read_to_string(workshop.config()).expect("the config");
    assert!(text.contains(from), "{from:?} is not in the config");
    fs::write(workshop.config(), text.replacen(from, to, 1)).expect("a config");
    let ended = workshop.rectify(2, "run").run().code(2).says(says);
    assert!(!ended.text().contains("mpirun -np"), "ranks were started: {}", ended.text());
    assert!(!workshop.path("run/metrics.jsonl").exists());
}

#[test]
fn a_bad_config_names_file_line_and_key() {
    refused("clip_norm = 1.0", "clip_nrom = 1.0", &["small.toml:21", "clip_nrom", "clip_norm"]);
    refused("drop_path = 0.2", "drop_path = \"a lot\"", &["small.toml:17", "model.drop_path", "a lot"]);
    refused("drop_path = 0.2", "drop_path = 1.5", &["small.toml:17", "model.drop_path", "1.5"]);
    refused("vit_tiny_patch16_224", "vit_tinny_patch16_224", &["small.toml:11", "vit_tiny_patch16_224"]);
    refused("\"crrelu\"", "\"crelu\"", &["small.toml:18", "crrelu"]);
    refused("batch_size = 24", "batch_size = 25", &["small.toml:26", "train.batch_size", "24 or 26"]);
    refused("[data]", "[data", &["small.toml:3"]);
}

#[test]
fn a_bad_override_is_named_as_such() {
    let workshop = Workshop::new();
    workshop.rectify(2, "run").set("optimizer.learning_rat=1").run().code(2).says(&["--set", "learning_rate"]);
    workshop.rectify(2, "run").set("train.batch_size=many").run().code(2).says(&["--set", "many"]);
}

/// Ranks take ports in a row, 0 stands for free ones, and 65535 is the last.
#[test]
fn ports_that_cannot_fit_are_refused_and_zero_is_a_free_one_for_each_rank() {
    let workshop = Workshop::new();
    let mut jobs = [workshop.rectify(2, "run"), workshop.mpirun(2, "run")];
    let ended = jobs.each_mut().map(|job| job.arguments(["--metrics-port", "65535"]).run());
    for ended in ended {
        ended.code(2).says(&["--metrics-port 65535", "2 ranks", "at most 65534", "or 0"]);
    }
    assert!(!workshop.path("run/config.toml").exists());
    let mut job = workshop.rectify(2, "run");
    job.arguments(["--metrics-port", "0"]).set("schedule.max_steps=2").run().code(0);
    let logs = fs::read_dir(workshop.path("run/logs")).expect("logs").map(|log| log.expect("a log").path());
    let text: String = logs.filter_map(|log| fs::read_to_string(log).ok()).collect();
    let ports = text.split("metrics are at http://127.0.0.1:").skip(1);
    let mut ports: Vec<u16> = ports.map(|rest| rest.split('/').next().unwrap().parse().expect("a port")).collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() == 2 && ports[0] > 1024, "{ports:?}");
}

#[test]
fn a_config_that_is_not_there_is_exit_2() {
    let workshop = Workshop::new();
    fs::remove_file(workshop.config()).expect("the config");
    workshop.rectify(2, "run").run().code(2).says(&["small.toml"]);
}

#[track_caller]
fn data_refused(spoil: impl FnOnce(&Path), says: &[&str]) {
    let data = tempfile::tempdir().expect("a temporary folder");
    copy_of_digits(data.path(), 6);
    spoil(data.path());
    let workshop = Workshop::with_data(data.path());
    let ended = workshop.rectify(2, "run").run().code(3).says(says);
    assert!(!ended.text().contains("mpirun -np"), "ranks were started: {}", ended.text());
    // Without the launcher, the trainer refuses alike.
    workshop.mpirun(1, "run").run().code(3).says(says);
}

#[test]
fn bad_data_are_exit_3_and_say_which() {
    let remove = |path: &Path| fs::remove_dir_all(path).expect("a folder to remove");
    data_refused(|data| remove(data), &["no data folder"]);
    data_refused(|data| remove(&data.join("val/3")), &["different classes", "3"]);
    data_refused(
        |data| {
            remove(&data.join("train/4"));
            fs::create_dir(data.join("train/4")).expect("a folder");
        },
        &["no images", "4"],
    );
    data_refused(
        |data| {
            remove(&data.join("train"));
            fs::create_dir(data.join("train")).expect("a folder");
        },
        &["no classes in", "train"],
    );
}

#[test]
fn bad_images_are_replaced_counted_and_listed_and_odd_ones_decode() {
    let data = tempfile::tempdir().expect("a temporary folder");
    copy_of_digits(data.path(), 12);
    let class = data.path().join("train/0");
    let good = fs::read(fs::read_dir(&class).expect("a class").flatten().next().expect("an image").path()).expect("it");
    fs::write(class.join("cut.JPEG"), &good[..good.len() / 2]).expect("a file");
    fs::write(class.join("empty.JPEG"), []).expect("a file");
    fs::write(class.join("text.JPEG"), "this is no image").expect("a file");
    let workshop = Workshop::with_data(data.path());
    let mut job = workshop.rectify(2, "run");
    job.set("schedule.epochs=4").set("schedule.max_steps=16").run().code(0);
    let mut listed = String::new();
    for rank in ["bad_images.txt", "bad_images.rank-0001.txt"] {
        listed += &fs::read_to_string(workshop.path("run").join(rank)).unwrap_or_default();
    }
    for (file, reason) in [("cut.JPEG", "truncated"), ("empty.JPEG", "empty"), ("text.JPEG", "not-an-image")] {
        assert!(listed.lines().any(|line| line.contains(file) && line.contains(reason)), "{file} {reason}\n{listed}");
    }
    let summary = workshop.summary("run");
    assert_eq!(summary["steps"], 16);
    assert!(summary["versions"]["mpi"].as_str().is_some_and(|mpi| mpi.contains("MPI")), "{summary}");
}

#[test]
fn a_loss_that_is_not_finite_is_exit_4_with_step_and_learning_rate() {
    let workshop = Workshop::new();
    let mut job = workshop.rectify(2, "run");
    job.set("optimizer.learning_rate=1000.0").set("optimizer.clip_norm=0").set("optimizer.eps=1.0");
    job.set("optimizer.weight_decay=100").set("schedule.warmup_epochs=0");
    job.run().code(4).says(&["training diverged", "step ", "learning rate", "optimizer.clip_norm"]);
}

#[test]
fn help_is_there_for_every_command() {
    for (program, arguments) in
        [("rectify", ["train", "--help"]), ("rectify", ["doctor", "--help"]), ("rectify-trainer", ["train", "--help"])]
    {
        Job::new(&binary(program), Path::new("/")).arguments(arguments).run().code(0).says(&["Usage:", "--"]);
    }
}
