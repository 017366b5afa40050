//! A run that is killed and resumed is the run that was never killed.

use std::fs;
use std::process::Command;

use e2e::{Running, Workshop, processes_naming, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STEPS: u64 = 32;

/// Kills every process of a run at once, as a power cut would.
fn cut_the_power(workshop: &Workshop, run: &str, running: Running) {
    let folder = workshop.path(run).display().to_string();
    for (id, _) in processes_naming(&folder) {
        let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = running.wait();
    wait_until("the end of every process", || processes_naming(&folder).is_empty());
}

/// Trains `STEPS` steps in one go, and again with a kill -9 in the middle of an epoch and of the steps between checkpoints.
fn killed_and_resumed(ranks: usize) {
    let workshop = Workshop::new();
    let job = |run: &str| {
        let mut job = workshop.mpirun(ranks, run);
        // Steps that take long enough to be interrupted, 12 of them an epoch.
        job.set("train.batch_size=120").set("schedule.epochs=3").set(&format!("schedule.max_steps={STEPS}"));
        job
    };
    job("whole").run().code(0);

    let running = job("cut").start();
    let metrics = workshop.path("cut/metrics.jsonl");
    wait_until("step 15", || fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"step\":15,")));
    wait_until("a checkpoint", || !workshop.checkpoints("cut").is_empty());
    cut_the_power(&workshop, "cut", running);
    assert!(!workshop.path("cut/summary.json").exists(), "the run ended before it was killed");
    // A kill that hits the writing of a checkpoint leaves such a folder behind.
    fs::create_dir_all(workshop.path("cut/checkpoints/.step-00000099.partial")).expect("a folder");

    job("cut").arguments(["--resume", "auto"]).run().code(0);
    for file in ["parameters.safetensors", "optimizer.safetensors"] {
        let [whole, cut] = ["whole", "cut"].map(|run| workshop.checkpoint_file(run, STEPS, file));
        assert!(whole == cut, "{file} differs between the run that was killed and the one that was not");
    }
    assert!(workshop.summary("cut")["resumed_from"].as_u64().is_some_and(|step| step >= 10));
    assert_eq!(history(&workshop, "whole"), history(&workshop, "cut"), "metrics.jsonl");
}

/// Every logged step with its loss, learning rate and gradient norm, and every evaluation with its figures.
fn history(workshop: &Workshop, run: &str) -> Vec<String> {
    let keys = ["kind", "step", "loss", "learning_rate", "gradient_norm", "top1_percent", "evaluation_loss"];
    let lines = workshop.metrics(run).into_iter();
    lines.map(|line| keys.map(|key| format!("{key} {}", line[key])).join(", ")).collect()
}

#[test]
fn one_rank_goes_on_bit_by_bit() {
    killed_and_resumed(1);
}

#[test]
fn two_ranks_go_on_bit_by_bit() {
    killed_and_resumed(2);
}

#[test]
fn three_ranks_go_on_bit_by_bit() {
    killed_and_resumed(3);
}

#[test]
fn another_number_of_ranks_sees_the_same_samples() {
    let workshop = Workshop::new();
    let job = |ranks, run: &str, steps: u64| {
        let mut job = workshop.mpirun(ranks, run);
        job.set("log.every_steps=5").set(&format!("schedule.max_steps={steps}"));
        job
    };
    job(1, "whole", STEPS).run().code(0);
    job(2, "moved", 10).run().code(0);
    let ended = job(3, "moved", STEPS).arguments(["--resume", "auto"]).run();
    ended.code(0).says(&["schedule.max_steps 10 → 32"]);
    let loss = |run: &str| -> Vec<(u64, f64)> {
        let lines = workshop.metrics(run).into_iter().filter(|line| line["kind"] == "step");
        lines.map(|line| (line["step"].as_u64().expect("a step"), line["loss"].as_f64().expect("a loss"))).collect()
    };
    let (whole, moved) = (loss("whole"), loss("moved"));
    assert!(whole.len() >= 6 && whole.len() == moved.len(), "{whole:?}\n{moved:?}");
    for ((step, one), (same, three)) in whole.into_iter().zip(moved) {
        assert_eq!(step, same);
        assert!((one - three).abs() < 2e-4 * one, "step {step}: loss {one} on one rank, {three} after the move");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let workshop = Workshop::new();
    workshop.rectify(2, "run").set("schedule.max_steps=20").run().code(0);
    let newest = workshop.path("run/checkpoints/step-00000020/parameters.safetensors");
    let mut bytes = fs::read(&newest).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).expect("a damaged checkpoint");
    let ended = workshop.rectify(2, "run").set("schedule.max_steps=30").arguments(["--resume", "auto"]).run();
    ended.code(0).says(&[
        "step-00000020 is passed over",
        "its hash is not the one",
        "going on from the checkpoint of step 10",
    ]);
}

#[test]
fn a_checkpoint_of_another_model_names_the_first_difference() {
    let workshop = Workshop::new();
    workshop.mpirun(1, "run").set("schedule.max_steps=10").run().code(0);
    let checkpoint = workshop.path("run/checkpoints/step-00000010");
    let mut job = workshop.mpirun(1, "other");
    job.set("model.embed_dim=48").set("schedule.max_steps=20").arguments(["--resume"]).argument(&checkpoint);
    job.run().code(2).says(&["step-00000010", "parameter cls_token has shape [1, 1, 48]", "[1, 1, 32]"]);
}

#[test]
fn a_full_disk_costs_checkpoints_and_is_told_in_the_end() {
    let workshop = Workshop::new();
    workshop.mpirun(1, "run").set("schedule.max_steps=10").run().code(0);
    let kept = workshop.checkpoint_file("run", 10, "parameters.safetensors");
    // A limit on the size of files, in blocks of 512 bytes, refuses the checkpoint's tensors and nothing else.
    let trainer = e2e::binary("rectify-trainer");
    let line = format!(
        "ulimit -f 64; exec {} train {} --run-dir {} --resume auto --set schedule.max_steps=30",
        trainer.display(),
        workshop.config().display(),
        workshop.path("run").display()
    );
    let mut job = e2e::Job::new("sh".as_ref(), &workshop.path(""));
    job.arguments(["-c", &line])
        .run()
        .code(75)
        .says(&[
            "the checkpoint of step 20 could not be written",
            "the last checkpoint, of step 30, could not be written",
        ])
        .says(&["free space on that disk, and go on with --resume auto"]);
    assert_eq!(workshop.checkpoints("run"), ["step-00000010"]);
    assert!(kept == workshop.checkpoint_file("run", 10, "parameters.safetensors"));
    assert_eq!(workshop.summary("run")["steps"], 30);
}

/// cifs, WSL's file system and some of FUSE answer EINVAL or ENOTSUP where a folder is synced.
#[test]
fn a_file_system_that_syncs_no_folders_takes_checkpoints() {
    let workshop = Workshop::new();
    let (source, shim) = (workshop.path("fsync.c"), workshop.path("fsync.so"));
    for errno in ["EINVAL", "ENOTSUP"] {
        let text = format!(
            "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <sys/stat.h>\n\
             int fsync(int file) {{\n\
             struct stat found;\n\
             if (fstat(file, &found) == 0 && S_ISDIR(found.st_mode)) {{ errno = {errno}; return -1; }}\n\
             return ((int (*)(int))dlsym(RTLD_NEXT, \"fsync\"))(file);\n\
             }}\n"
        );
        fs::write(&source, text).expect("a source");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl").status();
        assert!(compiled.expect("a C compiler").success());
        let mut job = workshop.mpirun(1, errno);
        job.env("LD_PRELOAD", &shim.display().to_string()).set("schedule.max_steps=10").run().code(0);
        assert_eq!(workshop.checkpoints(errno), ["step-00000010"]);
        assert_eq!(workshop.summary(errno)["steps"], 10);
    }
}
