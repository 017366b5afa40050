//! How `rectify` ends: an exit code and the words that go with it.

use std::fmt::Display;

use world::Exit;

/// The end of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit code.
    pub code: i32,
    /// What to print on standard error before; empty if all is said.
    pub message: String,
}

impl Ending {
    /// Everything is said.
    pub fn said(code: i32) -> Ending {
        Ending { code, message: String::new() }
    }

    /// What was asked for cannot be done: config, command line or a missing part of the system (exit 2).
    pub fn config(error: impl Display) -> Ending {
        Ending::with(Exit::Config, error)
    }

    /// The data are wrong (exit 3).
    pub fn data(error: impl Display) -> Ending {
        Ending::with(Exit::Data, error)
    }

    fn with(exit: Exit, error: impl Display) -> Ending {
        Ending { code: exit.code(), message: format!("error: {error}") }
    }
}

/// Something failed that should not: a bug, or an operating system in trouble (exit 1).
impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Ending {
        Ending { code: 1, message: format!("error: {error:#}") }
    }
}
