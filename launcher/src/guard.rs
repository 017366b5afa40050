//! Ties a process to the life of its parent, without `unsafe`: a small step of ours that becomes the process.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::command::CommandLine;

/// Name of the hidden subcommand behind [`spawn`].
pub const SUBCOMMAND: &str = "tied";

/// Starts `line` in a process group of its own, which the terminal's Ctrl-C does not reach, with piped output. When the launcher
/// dies, however it dies, the kernel sends SIGTERM to the process; `mpirun` then takes its ranks with it.
///
/// Call it from the main thread: the kernel watches the thread that started the process.
pub fn spawn(line: &CommandLine, environment: &[(String, String)]) -> anyhow::Result<Child> {
    let this = std::env::current_exe()?;
    let mut command = Command::new(this);
    command.arg(SUBCOMMAND).arg(std::process::id().to_string()).arg("--").args(&line.0);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    for (name, _) in std::env::vars_os() {
        if crate::command::is_rank_variable(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    Ok(command.spawn()?)
}

/// Asks the kernel for a SIGTERM at the death of `parent`, then becomes `words`. Returns only when that fails.
pub fn become_tied(parent: u32, words: &[String]) -> anyhow::Error {
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return error.into();
    }
    // The parent may have died before the request; then nobody would ever send the signal.
    if getppid().as_raw().unsigned_abs() != parent {
        return anyhow::anyhow!("the launcher is gone");
    }
    let [program, arguments @ ..] = words else { return anyhow::anyhow!("no program to become") };
    let error = Command::new(program).args(arguments).exec();
    anyhow::anyhow!("cannot start {program}: {error}")
}
