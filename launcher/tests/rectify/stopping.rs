//! How a run ends that was asked to: a checkpoint on every rank, and no process left, whoever dies.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::stage::{Stage, place};

/// Checkpoints when asked, as a trainer does.
const OBEDIENT: &str = r#"trap 'sleep 0.5; echo saved > "$run/saved.$rank"; exit 75' USR1
work"#;

/// Hears nothing.
const DEAF: &str = "trap '' USR1 TERM INT\nwork";

#[test]
fn every_signal_that_asks_lets_all_ranks_save() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGHUP] {
        let stage = Stage::new(OBEDIENT);
        let started = stage.start("train run.toml --nproc 2", 2);
        started.signal(signal);
        let outcome = started.finish();
        assert_eq!(outcome.code, Some(75), "{signal}: {}", outcome.err);
        assert_eq!(stage.read("saved.0") + &stage.read("saved.1"), "saved\nsaved\n", "{signal}");
        place(&outcome.err, "rectify train run.toml --nproc 2 --resume auto");
    }
}

#[test]
fn one_rank_without_mpirun_saves_too() {
    let stage = Stage::new(OBEDIENT);
    let started = stage.start("train run.toml --restarts 3", 1);
    started.signal(Signal::SIGINT);
    let outcome = started.finish();
    assert_eq!((outcome.code, stage.read("saved.0").trim()), (Some(75), "saved"), "{}", outcome.err);
    assert_eq!(stage.read("words.0").lines().count(), 1, "what was asked to stop is not started again");
}

#[test]
fn a_second_ctrl_c_ends_ranks_that_do_not() {
    let stage = Stage::new(DEAF);
    let started = stage.start("train run.toml --nproc 2", 2);
    started.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(300));
    started.signal(Signal::SIGINT);
    assert_eq!(started.finish().code, Some(75));
}

#[test]
fn patience_with_deaf_ranks_ends() {
    let stage = Stage::new(DEAF);
    let started = stage.start("train run.toml --nproc 2 --grace-s 1", 2);
    let begin = Instant::now();
    started.signal(Signal::SIGTERM);
    let outcome = started.finish();
    assert_eq!(outcome.code, Some(75), "{}", outcome.err);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    place(&outcome.err, "without waiting");
}

#[test]
fn a_killed_launcher_takes_its_ranks_along() {
    for script in [OBEDIENT, DEAF] {
        let stage = Stage::new(script);
        let started = stage.start("train run.toml --nproc 2", 2);
        started.signal(Signal::SIGKILL);
        started.wait_for_ranks_to_go();
    }
}

#[test]
fn a_killed_mpirun_leaves_no_ranks() {
    let stage = Stage::new(DEAF);
    let started = stage.start("train run.toml --nproc 2", 2);
    kill(started.mpirun(), Signal::SIGKILL).unwrap();
    let outcome = started.finish();
    assert_eq!(outcome.code, Some(75), "{}", outcome.err);
}

#[test]
fn ranks_never_see_the_terminal_s_ctrl_c() {
    let stage = Stage::new(OBEDIENT);
    let started = stage.start("train run.toml --nproc 2", 2);
    let group = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse::<i32>().unwrap()
    };
    let launcher = group(started.pid().as_raw());
    assert_ne!(group(started.mpirun().as_raw()), launcher);
    assert!(started.pids().into_iter().all(|pid| group(pid) != launcher));
    started.signal(Signal::SIGINT);
    assert_eq!(started.finish().code, Some(75));
}
