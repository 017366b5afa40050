//! A small data set, a config and a stand-in for the trainer, in a folder that vanishes with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Words that every stand-in begins with: who am I, where is the run's folder, how does one fail, and how does one work on; a
/// stand-in says that it is there when it works, that is, after it has set its traps.
const PRELUDE: &str = r#"#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-0}
all="$*"
while [ $# -gt 0 ]; do [ "$1" = --run-dir ] && run=$2; shift; done
mkdir -p "$run/logs" "$run/pids"
echo "log of rank $rank" > "$run/logs/rank-000$rank.log"
echo "$all" >> "$run/words.$rank"
fail() {
  echo "{\"rank\":$rank,\"host\":\"h\",\"unix_time\":$2,\"exit_code\":$1,\"message\":\"$3\"}" > "$run/logs/rank-000$rank.error.json"
  echo "error: $3" >&2
  exit $1
}
work() {
  echo $$ > "$run/pids/$rank.new" && mv "$run/pids/$rank.new" "$run/pids/$rank"
  while :; do sleep 0.1; done
}
"#;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Stage {
    folder: tempfile::TempDir,
}

/// How a command ended.
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Stage {
    /// A stage whose trainer does what `script` says.
    pub fn new(script: &str) -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        for image in ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"] {
            stage.write(&format!("data/{image}"), "not looked into before training");
        }
        stage.write(
            "run.toml",
            "name = \"small\"\n[data]\npath = \"data\"\n[model]\nname = \"vit_tiny_patch16_224\"\n[train]\nbatch_size = 12\n",
        );
        stage.script("trainer", &format!("{PRELUDE}{script}\n"));
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the run's folder.
    pub fn run_file(&self, name: &str) -> PathBuf {
        self.path("runs/small").join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `rectify WORDS`; the words are split at blanks.
    pub fn rectify(&self, words: &str) -> Command {
        // A test under `nohup` inherits an ignored SIGHUP; a user's terminal does not hand one down.
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_rectify")]);
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        command.env("RECTIFY_TRAINER", self.path("trainer")).env_remove("RECTIFY_PROGRESS");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &str) -> Outcome {
        finish(self.rectify(words).spawn().unwrap())
    }

    /// Starts `rectify train` and waits until `ranks` stand-ins are at work.
    pub fn start(&self, words: &str, ranks: usize) -> Started<'_> {
        let child = self.rectify(words).spawn().unwrap();
        let started = Started { stage: self, child: Some(child), ranks };
        wait_until("all ranks are at work", || started.pids().len() == ranks);
        started
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.run_file(name)).unwrap_or_default()
    }
}

/// A run that is going on.
pub struct Started<'a> {
    stage: &'a Stage,
    child: Option<Child>,
    ranks: usize,
}

impl Started<'_> {
    /// The launcher's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().unwrap().id() as i32)
    }

    /// The stand-ins' processes.
    pub fn pids(&self) -> Vec<i32> {
        let read = |rank| fs::read_to_string(self.stage.run_file(&format!("pids/{rank}"))).ok()?.trim().parse().ok();
        (0..self.ranks).filter_map(read).collect()
    }

    /// The one child of the launcher: mpirun.
    pub fn mpirun(&self) -> Pid {
        let parent = fs::read_to_string(format!("/proc/{}/stat", self.pids()[0])).unwrap();
        let parent = parent.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(fs::read_to_string(format!("/proc/{parent}/comm")).unwrap().contains("run"));
        Pid::from_raw(parent)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the launcher, and checks that nothing is left of its ranks.
    pub fn finish(mut self) -> Outcome {
        let outcome = finish(self.child.take().unwrap());
        let left: Vec<i32> = self.pids().into_iter().filter(|pid| is_alive(*pid)).collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{}", outcome.err);
        outcome
    }

    /// Waits until no rank is left, whatever became of the launcher.
    pub fn wait_for_ranks_to_go(mut self) {
        wait_until("all ranks are gone", || !self.pids().into_iter().any(is_alive));
        self.child.take().unwrap().wait().unwrap();
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // A test that failed half-way must not leave a run behind.
        if let Some(mut child) = self.child.take() {
            for pid in self.pids() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn finish(child: Child) -> Outcome {
    let pid = Pid::from_raw(child.id() as i32);
    let (ended, end) = channel::<()>();
    // A launcher that outlasts all patience fails its test instead of holding up all others.
    let watch = thread::spawn(move || {
        if end.recv_timeout(3 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watch.join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// The position of `text` in `all`, or a failure that shows `all`.
pub fn place(all: &str, text: &str) -> usize {
    all.find(text).unwrap_or_else(|| panic!("no `{text}` in:\n{all}"))
}

/// Whether nothing was started.
pub fn nothing_started(stage: &Stage) -> bool {
    !Path::new(&stage.run_file("pids")).exists()
}
