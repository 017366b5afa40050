//! What is wrong is told before any process starts.

use crate::stage::{Stage, nothing_started, place};

const NEVER: &str = "exit 0";

fn refused(stage: &Stage, words: &str, code: i32, expected: &[&str]) {
    let outcome = stage.run(words);
    assert_eq!(outcome.code, Some(code), "{words}\n{}", outcome.err);
    for text in expected {
        place(&outcome.err, text);
    }
    assert!(nothing_started(stage), "{words} started a trainer");
}

#[test]
fn a_wrong_config_ends_with_2() {
    let stage = Stage::new(NEVER);
    refused(&stage, "train run.toml --nproc 2 --set train.batch_sise=8", 2, &["train.batch_sise", "batch_size"]);
    refused(&stage, "train run.toml --nproc 2 --set schedule.epochs=no", 2, &["schedule.epochs"]);
    refused(&stage, "train run.toml --nproc 5", 2, &["train.batch_size", "12"]);
    refused(&stage, "train nowhere.toml", 2, &["nowhere.toml"]);
    stage.write("bad.toml", "[data]\npath = \"data\"\npth = 1\n[model]\nname = \"vit_tiny_patch16_224\"\n");
    refused(&stage, "train bad.toml", 2, &["bad.toml:3", "data.pth"]);
}

#[test]
fn wrong_data_end_with_3() {
    let stage = Stage::new(NEVER);
    refused(&stage, "train run.toml --nproc 2 --set data.path=elsewhere", 3, &["elsewhere"]);
    stage.write("data/train/c/1.jpg", "a class that only one split has");
    refused(&stage, "train run.toml --nproc 2", 3, &["different classes", "c"]);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let stage = Stage::new(NEVER);
    refused(&stage, "train", 2, &["CONFIG"]);
    refused(&stage, "train run.toml --nproc 0", 2, &["at least 1"]);
    refused(&stage, "train run.toml --nprocs 2", 2, &["--nproc"]);
    stage.write("hosts", "localhost slots=1\nnode2\n");
    refused(&stage, "train run.toml --hostfile hosts", 2, &["hosts:2", "slots"]);
}

#[test]
fn a_missing_trainer_is_said_with_the_places_looked_at() {
    let stage = Stage::new(NEVER);
    let told = stage.rectify("train run.toml").env("RECTIFY_TRAINER", stage.path("gone")).output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    place(&String::from_utf8_lossy(&told.stderr), &stage.path("gone").display().to_string());
}

#[test]
fn without_mpirun_one_rank_trains_and_two_are_refused() {
    let stage = Stage::new(r#"echo "trained by $rank""#);
    stage.script("bin/mkdir", "#!/bin/sh\nexec /bin/mkdir \"$@\"\n");
    let run = |nproc: &str| {
        let mut command = stage.rectify(&format!("train run.toml --nproc {nproc}"));
        command.env("PATH", stage.path("bin")).output().unwrap()
    };
    let two = run("2");
    assert_eq!(two.status.code(), Some(2));
    place(&String::from_utf8_lossy(&two.stderr), "mpirun is not on PATH");
    let one = run("1");
    let said = String::from_utf8_lossy(&one.stderr).into_owned() + &String::from_utf8_lossy(&one.stdout);
    assert_eq!(one.status.code(), Some(0), "{said}");
    place(&said, "trained by 0");
}

#[test]
fn rectify_inside_mpirun_is_refused() {
    let stage = Stage::new(NEVER);
    let output = stage.rectify("train run.toml").env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    place(&String::from_utf8_lossy(&output.stderr), "rectify-trainer");
}
