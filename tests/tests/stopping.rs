//! Ends that are asked for: signals checkpoint and end all ranks at one step, a lost rank ends the others, nothing is orphaned.

use std::fs;

use e2e::{Workshop, processes_naming, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A job that would go on for minutes, with a first step done.
fn started(workshop: &Workshop, ranks: usize) -> e2e::Running {
    let mut job = workshop.rectify(ranks, "run");
    job.set("schedule.epochs=500").set("train.batch_size=48").set("log.every_steps=1").set("parallel.timeout_s=10");
    let running = job.start();
    let metrics = workshop.path("run/metrics.jsonl");
    wait_until("a step", || fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"kind\":\"step\"")));
    running
}

#[track_caller]
fn no_orphans(workshop: &Workshop) {
    let folder = workshop.path("run").display().to_string();
    wait_until("the end of every process", || processes_naming(&folder).is_empty());
}

#[track_caller]
fn stops(signal: Signal) {
    let workshop = Workshop::new();
    let running = started(&workshop, 2);
    running.signal(signal);
    running.wait().code(75).says(&["--resume auto"]);
    no_orphans(&workshop);
    let last = workshop.metrics("run").last().expect("a line")["step"].as_u64().expect("a step");
    assert_eq!(workshop.checkpoints("run").last(), Some(&format!("step-{last:08}")), "all ranks end at one step");
    assert_eq!(workshop.summary("run")["steps"], last);
    let steps = format!("schedule.max_steps={}", last + 3);
    let mut job = workshop.rectify(2, "run");
    job.set("schedule.epochs=500").set("train.batch_size=48").set(&steps).arguments(["--resume", "auto"]);
    job.run().code(0).says(&[&format!("going on from the checkpoint of step {last}")]);
}

#[test]
fn ctrl_c_checkpoints_and_ends() {
    stops(Signal::SIGINT);
}

#[test]
fn sigterm_checkpoints_and_ends() {
    stops(Signal::SIGTERM);
}

#[test]
fn sigusr1_checkpoints_and_ends() {
    stops(Signal::SIGUSR1);
}

/// Process ids of the trainers of a run, by rank as far as their order of start tells.
fn trainers(workshop: &Workshop) -> Vec<Pid> {
    let folder = workshop.path("run").display().to_string();
    let all = processes_naming(&folder).into_iter();
    let mut ids: Vec<i32> = all
        .filter(|(_, line)| line.split(' ').next().is_some_and(|program| program.ends_with("rectify-trainer")))
        .map(|(id, _)| id)
        .collect();
    ids.sort_unstable();
    ids.into_iter().map(Pid::from_raw).collect()
}

#[test]
fn a_killed_rank_ends_the_others_and_is_worth_a_retry() {
    let workshop = Workshop::new();
    let running = started(&workshop, 3);
    let ranks = trainers(&workshop);
    assert_eq!(ranks.len(), 3);
    kill(ranks[1], Signal::SIGKILL).expect("a rank to kill");
    running.wait().code(75);
    no_orphans(&workshop);
}

#[test]
fn a_rank_that_hangs_is_named_within_the_time_out() {
    let workshop = Workshop::new();
    let running = started(&workshop, 2);
    let ranks = trainers(&workshop);
    kill(ranks[1], Signal::SIGSTOP).expect("a rank to stop");
    running.wait().code(75).says(&["waited", "for rank", "of step"]);
    for rank in ranks {
        let _ = kill(rank, Signal::SIGKILL);
    }
    no_orphans(&workshop);
}

#[test]
fn a_taken_port_moves_to_the_next() {
    let workshop = Workshop::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let mut job = workshop.rectify(1, "run");
    job.set("schedule.max_steps=3")
        .arguments(["--metrics-port", &port.to_string()])
        .run()
        .code(0)
        .says(&["is taken: metrics are at"]);
    let log = fs::read_to_string(workshop.path("run/logs/rank-0000.log")).expect("the log");
    assert!(log.contains(&format!("port {port} is taken")), "{log}");
}
