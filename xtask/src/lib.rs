//! The rules of the house as code: which crate may use which ([`layers`]) and how files look ([`tidy`]).

pub mod layers;
pub mod repository;
pub mod tidy;

use std::fmt;

/// One broken rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file relative to the repository's root, or the crate's name.
    pub place: String,
    /// The line, counted from 1; `None` where the whole file or crate is meant.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault of a whole file or crate.
    pub fn whole(place: &str, message: impl Into<String>) -> Fault {
        Fault { place: place.to_owned(), line: None, message: message.into() }
    }

    /// A fault on one line; `index` counts from 0, as `enumerate` does.
    pub fn on_line(place: &str, index: usize, message: impl Into<String>) -> Fault {
        Fault { place: place.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.place, self.message),
            None => write!(formatter, "{}: {}", self.place, self.message),
        }
    }
}
