//! One row of the doctor's table.

use serde::Serialize;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There, and usable.
    Ok,
    /// Not there, and not needed here.
    Absent,
    /// Usable, but likely to cause trouble.
    Warning,
    /// Not there or not usable, and training needs it.
    Missing,
}

impl State {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Absent => "absent",
            State::Warning => "warning",
            State::Missing => "missing",
        }
    }
}

/// What was found about one part of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part.
    pub part: &'static str,
    /// How good it is.
    pub state: State,
    /// What was found, in words.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(part: &'static str, found: impl Into<String>) -> Finding {
        Finding { part, state: State::Ok, found: found.into(), advice: None }
    }

    /// Not there, which is fine.
    pub fn absent(part: &'static str, found: impl Into<String>) -> Finding {
        Finding { part, state: State::Absent, found: found.into(), advice: None }
    }

    /// Usable, with a catch.
    pub fn warning(part: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { part, state: State::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    /// Needed, and not there.
    pub fn missing(part: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { part, state: State::Missing, found: found.into(), advice: Some(advice.into()) }
    }
}
