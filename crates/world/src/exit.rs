//! The exit codes by which a process tells its launcher what to do next.

use std::fmt;

/// Why a process ended. Any other code (1, 101) is a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Exit {
    /// The work is done.
    Done = 0,
    /// The configuration is wrong; never retry.
    Config = 2,
    /// The data are missing or wrong.
    Data = 3,
    /// The loss was not finite.
    Diverged = 4,
    /// Worth a retry: a rank did not come in time, a peer was lost, or the run was interrupted after a checkpoint
    /// (75 is `EX_TEMPFAIL` of `sysexits.h`).
    Retry = 75,
}

/// A shell and Open MPI report a process that a signal ended as 128 + the signal's number.
const KILLED_FROM_OUTSIDE: [i32; 3] = [128 + 1, 128 + 9, 128 + 15]; // SIGHUP, SIGKILL, SIGTERM

impl Exit {
    /// Every exit that has a name.
    pub const ALL: [Exit; 5] = [Exit::Done, Exit::Config, Exit::Data, Exit::Diverged, Exit::Retry];

    /// The number given to the operating system.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The exit with this number, if it has a name.
    pub fn from_code(code: i32) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// Whether the same command may succeed when it is run again: [`Exit::Retry`], and a process that was killed from
    /// outside (SIGHUP, SIGKILL, SIGTERM: a lost host, a batch system, no memory left). Crashes (SIGSEGV, SIGABRT) and
    /// unnamed codes would come back, so they are not.
    pub fn worth_a_retry(code: i32) -> bool {
        code == Exit::Retry.code() || KILLED_FROM_OUTSIDE.contains(&code)
    }

    /// What the code means, in words for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Config => "the configuration is wrong; correct it before running again",
            Exit::Data => "the data are missing or wrong; correct them before running again",
            Exit::Diverged => "the loss was not finite; lower the learning rate or clip the gradients",
            Exit::Retry => "interrupted or a rank was lost; run again with --resume auto",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}: {}", self.code(), self.meaning())
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code() as u8)
    }
}
