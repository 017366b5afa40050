//! Runs one command to its end: takes its output line by line, passes signals on, leaves no process behind.

use std::io::Read;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::command::CommandLine;
use crate::stopping::{Action, Stopping};
use crate::{family, guard, lines, machine};

/// The longest nap between two looks at clock and child.
const TICK: Duration = Duration::from_millis(100);

/// How long output may still arrive once all processes are gone.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What the supervisor tells the one who shows it.
pub trait Audience {
    /// A line without its line break.
    fn line(&mut self, stream: Stream, line: &str);
    /// A stop was asked for, is enforced, or is enforced by force.
    fn stopping(&mut self, action: Action);
    /// Some time passed.
    fn tick(&mut self);
}

enum Event {
    Line(Stream, String),
    Closed,
    Signal(i32),
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code of the command, or 128 + the signal that ended it.
    pub code: i32,
    /// Whether a signal had asked for the end.
    pub asked_to_stop: bool,
    /// Whether the ranks were then ended without having saved.
    pub enforced: bool,
}

/// Watches commands, one after the other.
pub struct Supervisor {
    sender: Sender<Event>,
    events: Receiver<Event>,
    stopping: Stopping,
}

impl Supervisor {
    /// Takes over the signals of this process: SIGINT, SIGTERM, SIGUSR1 and, unless `nohup` asked otherwise, SIGHUP stop the
    /// command that runs, with `grace` for its checkpoint.
    pub fn new(grace: Duration) -> anyhow::Result<Supervisor> {
        family::adopt_orphans();
        let (sender, events) = channel();
        let mut watched = vec![SIGINT, SIGTERM, SIGUSR1, SIGCHLD];
        if !machine::ignores_hangup() {
            watched.push(SIGHUP);
        }
        let mut signals = signal_hook::iterator::Signals::new(watched).context("cannot watch for signals")?;
        let to_loop = sender.clone();
        thread::spawn(move || signals.forever().all(|signal| to_loop.send(Event::Signal(signal)).is_ok()));
        Ok(Supervisor { sender, events, stopping: Stopping::new(grace) })
    }

    /// Runs `line` to its end. When it returns, no process that the command started is left on this machine.
    pub fn run(
        &mut self,
        line: &CommandLine,
        environment: &[(String, String)],
        audience: &mut dyn Audience,
    ) -> anyhow::Result<Ended> {
        let mut child = guard::spawn(line, environment).with_context(|| format!("cannot start {}", line.0[0]))?;
        let mut open = 0;
        if let Some(out) = child.stdout.take() {
            open += self.read(Stream::Out, out);
        }
        if let Some(err) = child.stderr.take() {
            open += self.read(Stream::Err, err);
        }
        let status = self.watch(&mut child, &mut open, audience);
        family::end_all();
        self.drain(open, audience);
        Ok(Ended {
            code: guard::code(status?),
            asked_to_stop: self.stopping.asked(),
            enforced: self.stopping.enforced(),
        })
    }

    /// Hands the lines of `source` to the loop; returns the number of streams opened.
    fn read(&self, stream: Stream, source: impl Read + Send + 'static) -> usize {
        let (to_loop, at_end) = (self.sender.clone(), self.sender.clone());
        let closed = move || drop(at_end.send(Event::Closed));
        lines::read(source, move |line| to_loop.send(Event::Line(stream, line)).is_ok(), closed);
        1
    }

    fn watch(
        &mut self,
        child: &mut Child,
        open: &mut usize,
        audience: &mut dyn Audience,
    ) -> anyhow::Result<ExitStatus> {
        loop {
            let action = match self.events.recv_timeout(TICK) {
                Ok(Event::Signal(SIGCHLD)) | Err(RecvTimeoutError::Timeout) => Action::Wait,
                Ok(Event::Signal(signal)) => self.stopping.on_signal(signal, Instant::now()),
                Ok(Event::Line(stream, line)) => {
                    audience.line(stream, &line);
                    Action::Wait
                }
                Ok(Event::Closed) => {
                    *open -= 1;
                    Action::Wait
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the supervisor holds a sender"),
            };
            act(action, child, audience);
            act(self.stopping.on_tick(Instant::now()), child, audience);
            audience.tick();
            if let Some(status) = child.try_wait().context("cannot wait for the ranks")? {
                return Ok(status);
            }
        }
    }

    /// Takes what is still in the pipes.
    fn drain(&mut self, mut open: usize, audience: &mut dyn Audience) {
        let deadline = Instant::now() + DRAIN;
        while open > 0 {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(stream, line)) => audience.line(stream, &line),
                Ok(Event::Closed) => open -= 1,
                Ok(Event::Signal(SIGCHLD)) => {}
                Ok(Event::Signal(signal)) => drop(self.stopping.on_signal(signal, Instant::now())),
                Err(_) => return,
            }
        }
    }
}

fn act(action: Action, child: &Child, audience: &mut dyn Audience) {
    let pid = Pid::from_raw(child.id() as i32);
    // A command that is gone already is no reason to complain: the loop is about to see it.
    match action {
        Action::Wait => return,
        // mpirun forwards it to the ranks; after SIGINT or SIGTERM it would kill them within a second or two.
        Action::Ask => drop(kill(pid, Signal::SIGUSR1)),
        // mpirun ends the ranks on every machine.
        Action::End => drop(kill(pid, Signal::SIGTERM)),
        Action::Kill => family::kill_all(),
    }
    audience.stopping(action);
}
