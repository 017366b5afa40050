//! Ties a command to the life of the launcher, however that ends: a keeper process between the two sees to it.
//!
//! launcher → keeper → `mpirun` → ranks. The kernel tells the keeper when the launcher dies, and `mpirun` when the keeper dies.
//! `mpirun` cannot be tied to the launcher directly: the launcher has several threads, the kernel may send its signal for each of
//! them, and `mpirun` leaves its ranks behind when it is told to end twice within five seconds. The keeper has one thread.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, execvp, getppid};
use signal_hook::consts::{SIGCHLD, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::command::CommandLine;
use crate::family;

/// Name of the hidden subcommand that is the keeper.
pub const KEEPER: &str = "keep";

/// Name of the hidden subcommand that becomes the kept command.
pub const TIED: &str = "tied";

/// How long a command that was told to end may take before all below the keeper is killed.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// Starts `line` under a keeper, in a process group of their own, which the terminal's Ctrl-C does not reach, with piped output.
/// SIGUSR1 and SIGTERM to the keeper go to the command.
///
/// Call it from the main thread: the kernel watches the thread that started the process.
pub fn spawn(line: &CommandLine, environment: &[(String, String)]) -> Result<Child> {
    let mut command = step(KEEPER, std::process::id(), &line.0)?;
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    for (name, _) in std::env::vars_os() {
        if crate::command::is_rank_variable(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    Ok(command.spawn()?)
}

/// The exit code, or 128 + the signal that ended the process, as a shell would say.
pub fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

fn step(subcommand: &str, parent: u32, words: &[String]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(subcommand).arg(parent.to_string()).arg("--").args(words);
    Ok(command)
}

/// Asks the kernel for a SIGTERM at the death of `parent`.
fn tie_to(parent: u32) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    // The parent may have died before the request; then nobody would ever send the signal.
    if getppid().as_raw().unsigned_abs() != parent {
        bail!("the parent process is gone");
    }
    Ok(())
}

/// The keeper: runs `words` until they end, or until it is told to end them; returns their exit code.
pub fn keep(parent: u32, words: &[String]) -> Result<i32> {
    family::adopt_orphans();
    let mut signals = Signals::new([SIGTERM, SIGUSR1, SIGCHLD])?;
    tie_to(parent)?;
    let mut child = step(TIED, std::process::id(), words)?.spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let status = loop {
        let mut told_to_end = false;
        for signal in signals.wait() {
            match signal {
                SIGUSR1 => drop(kill(pid, Signal::SIGUSR1)),
                SIGTERM => told_to_end = true,
                _ => {}
            }
        }
        match child.try_wait()? {
            Some(status) => break status,
            None if told_to_end => break end(&mut child, pid)?,
            None => {}
        }
    };
    family::end_all();
    Ok(code(status))
}

/// Tells the command once to end, and kills it and all below when it does not.
fn end(child: &mut Child, pid: Pid) -> Result<ExitStatus> {
    let _ = kill(pid, Signal::SIGTERM);
    let deadline = Instant::now() + KILL_AFTER;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            family::kill_all();
            return Ok(child.wait()?);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Becomes `words`, tied to the life of the keeper. Returns only when that fails.
pub fn become_tied(keeper: u32, words: &[String]) -> Result<Infallible> {
    tie_to(keeper)?;
    // Unlike the standard library's, this exec leaves SIGPIPE ignored, as it is in every Rust program: when the launcher is gone,
    // mpirun must not die of printing before it has ended its ranks.
    let c_words = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let program = c_words.first().context("no program to become")?;
    execvp(program, &c_words).with_context(|| format!("cannot start {}", program.to_string_lossy()))
}
