//! Runs commands, some at a time: hands on their events, passes stops on to them, leaves no process behind.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::lanes::Lanes;
use crate::command::CommandLine;
use crate::stopping::{Action, Stopping};
use crate::{family, guard, lines, machine};

/// The longest nap between two looks at clock and children.
const TICK: Duration = Duration::from_millis(100);

/// How long output may still arrive once a command is gone.
const DRAIN: Duration = Duration::from_secs(2);

/// One command.
#[derive(Clone, Debug)]
pub struct Job {
    /// The command.
    pub line: CommandLine,
    /// Takes what it prints besides events.
    pub log: PathBuf,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With exit code 0.
    Done,
    /// With this exit code.
    Failed(i32),
    /// Because a stop was asked for.
    Stopped,
}

/// What becomes of the other jobs when one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They go on.
    GoOn,
    /// No further one is started.
    StartNoMore,
}

/// Who is told what happens, by the index of the job.
pub trait Listener {
    /// A job was started.
    fn started(&mut self, job: usize);
    /// Its rank 0 told something.
    fn event(&mut self, job: usize, event: &metrics::Event);
    /// A job could not be started.
    fn refused(&mut self, job: usize, error: &anyhow::Error);
    /// It is gone.
    fn ended(&mut self, job: usize, end: End);
    /// A stop was asked for, is enforced, or is enforced by force.
    fn stopping(&mut self, action: Action);
    /// Some time passed.
    fn tick(&mut self);
}

enum Message {
    Line(usize, String),
    Closed(usize),
    Signal(i32),
}

struct Running {
    job: usize,
    lane: usize,
    child: Child,
    log: File,
    open: usize,
    exited: Option<(i32, Instant)>,
}

/// The signals that ask for a stop.
pub fn stopping_signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1];
    if !machine::ignores_hangup() {
        signals.push(SIGHUP);
    }
    signals
}

/// Runs jobs.
pub struct Crew {
    sender: Sender<Message>,
    messages: Receiver<Message>,
    stopping: Stopping,
    lanes: Lanes,
    on_failure: OnFailure,
}

impl Crew {
    /// Takes over the signals of this process, as [`crate::supervisor::Supervisor::new`]: they stop the jobs, with `grace` for
    /// their checkpoints. `lanes` jobs run at a time and share the cores of this process evenly.
    pub fn new(lanes: usize, grace: Duration, on_failure: OnFailure) -> anyhow::Result<Crew> {
        family::adopt_orphans();
        let (sender, messages) = channel();
        let watched = stopping_signals().into_iter().chain([SIGCHLD]);
        let mut signals = signal_hook::iterator::Signals::new(watched).context("cannot watch for signals")?;
        let to_loop = sender.clone();
        thread::spawn(move || signals.forever().all(|signal| to_loop.send(Message::Signal(signal)).is_ok()));
        Ok(Crew { sender, messages, stopping: Stopping::new(grace), lanes: Lanes::new(lanes), on_failure })
    }

    /// Whether somebody asked for a stop.
    pub fn asked_to_stop(&self) -> bool {
        self.stopping.asked()
    }

    /// Runs all jobs, in their order as far as there are lanes. When it returns, none of their processes is left.
    pub fn run(&mut self, jobs: &[Job], listener: &mut dyn Listener) -> anyhow::Result<()> {
        let mut waiting: VecDeque<usize> = (0..jobs.len()).collect();
        let mut running: Vec<Running> = Vec::new();
        let outcome = loop {
            let mut failed = false;
            while let Some(lane) = self.lanes.free(running.iter().map(|one| one.lane)) {
                if self.stopping.asked() || (failed && self.on_failure == OnFailure::StartNoMore) {
                    waiting.clear();
                }
                let Some(job) = waiting.pop_front() else { break };
                match self.start(job, lane, &jobs[job]) {
                    Ok(started) => {
                        running.push(started);
                        listener.started(job);
                    }
                    Err(error) => {
                        failed = true;
                        listener.refused(job, &error);
                    }
                }
            }
            if running.is_empty() {
                break Ok(());
            }
            self.look(&mut running, listener);
            match self.collect(&mut running, listener) {
                Ok(failed) if failed && self.on_failure == OnFailure::StartNoMore => waiting.clear(),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        family::end_all();
        outcome
    }

    fn start(&self, job: usize, lane: usize, what: &Job) -> anyhow::Result<Running> {
        let log = File::create(&what.log).with_context(|| format!("cannot write {}", what.log.display()))?;
        let wire = (metrics::PROGRESS_VARIABLE.to_string(), metrics::ProgressMode::Wire.name().to_string());
        let spawned = self.lanes.within(lane, || guard::spawn(&what.line, &[wire]));
        let mut child = spawned.with_context(|| format!("cannot start {}", what.line.0[0]))?;
        let mut open = 0;
        if let Some(out) = child.stdout.take() {
            open += self.read(job, out);
        }
        if let Some(err) = child.stderr.take() {
            open += self.read(job, err);
        }
        Ok(Running { job, lane, child, log, open, exited: None })
    }

    /// Hands the lines of `source` to the loop; returns the number of streams opened.
    fn read(&self, job: usize, source: impl Read + Send + 'static) -> usize {
        let (to_loop, at_end) = (self.sender.clone(), self.sender.clone());
        let closed = move || drop(at_end.send(Message::Closed(job)));
        lines::read(source, move |line| to_loop.send(Message::Line(job, line)).is_ok(), closed);
        1
    }

    /// Waits for one message, or a while, and acts on it.
    fn look(&mut self, running: &mut [Running], listener: &mut dyn Listener) {
        let action = match self.messages.recv_timeout(TICK) {
            Ok(Message::Signal(SIGCHLD)) | Err(RecvTimeoutError::Timeout) => Action::Wait,
            Ok(Message::Signal(signal)) => self.stopping.on_signal(signal, Instant::now()),
            Ok(Message::Line(job, line)) => {
                match metrics::parse(&line) {
                    Some(event) => listener.event(job, &event),
                    // A full disk must not end a sweep for the sake of a log.
                    None => running
                        .iter_mut()
                        .filter(|one| one.job == job)
                        .for_each(|one| drop(writeln!(one.log, "{line}"))),
                }
                Action::Wait
            }
            Ok(Message::Closed(job)) => {
                running.iter_mut().filter(|one| one.job == job).for_each(|one| one.open = one.open.saturating_sub(1));
                Action::Wait
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the crew holds a sender"),
        };
        act(action, running, listener);
        act(self.stopping.on_tick(Instant::now()), running, listener);
        listener.tick();
    }

    /// Takes leave of jobs that are gone, once their output is read; says whether one of them failed.
    fn collect(&self, running: &mut Vec<Running>, listener: &mut dyn Listener) -> anyhow::Result<bool> {
        let mut ends = Vec::new();
        for one in running.iter_mut() {
            if one.exited.is_none() {
                let status = one.child.try_wait().context("cannot wait for a cell")?;
                one.exited = status.map(|status| (guard::code(status), Instant::now()));
            }
            if let Some((code, _)) = one.exited.filter(|(_, since)| one.open == 0 || since.elapsed() >= DRAIN) {
                ends.push((one.job, end_of(code, self.stopping.asked())));
            }
        }
        running.retain(|one| !ends.iter().any(|(job, _)| *job == one.job));
        for (job, end) in &ends {
            listener.ended(*job, *end);
        }
        Ok(ends.iter().any(|(_, end)| matches!(end, End::Failed(_))))
    }
}

/// What an exit code means. Whatever a job that was told to stop ended with, the stop is its cause.
fn end_of(code: i32, asked_to_stop: bool) -> End {
    match code {
        0 => End::Done,
        _ if asked_to_stop => End::Stopped,
        code => End::Failed(code),
    }
}

fn act(action: Action, running: &[Running], listener: &mut dyn Listener) {
    for one in running.iter().filter(|one| one.exited.is_none()) {
        let pid = Pid::from_raw(one.child.id() as i32);
        // A command that is gone already is no reason to complain: the loop is about to see it.
        match action {
            Action::Wait | Action::Kill => {}
            Action::Ask => drop(kill(pid, Signal::SIGUSR1)),
            Action::End => drop(kill(pid, Signal::SIGTERM)),
        }
    }
    match action {
        Action::Wait => return,
        Action::Kill => family::kill_all(),
        Action::Ask | Action::End => {}
    }
    listener.stopping(action);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_explains_every_end_but_a_good_one() {
        assert_eq!(end_of(0, true), End::Done);
        assert_eq!(end_of(75, true), End::Stopped);
        assert_eq!(end_of(138, true), End::Stopped);
        assert_eq!(end_of(75, false), End::Failed(75));
    }
}
