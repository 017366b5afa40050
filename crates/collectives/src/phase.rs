//! `Phase`: what ranks are doing together, in words, so that an error can say it.

use std::fmt;

/// What an operation is for: a few words, and the step where there is one. All ranks must name the same phase.
///
/// ```
/// use collectives::Phase;
/// assert_eq!(Phase::new("parameter check").to_string(), "parameter check");
/// assert_eq!(Phase::of_step("gradients", 12).to_string(), "gradients of step 12");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    pub(crate) name: &'static str,
    pub(crate) step: Option<u64>,
}

impl Phase {
    /// A phase without a step: "parameter check", "evaluation".
    pub const fn new(name: &'static str) -> Phase {
        Phase { name, step: None }
    }

    /// A phase of one step: `Phase::of_step("gradients", 12)` reads "gradients of step 12".
    pub const fn of_step(name: &'static str, step: u64) -> Phase {
        Phase { name, step: Some(step) }
    }
}

impl From<&'static str> for Phase {
    fn from(name: &'static str) -> Phase {
        Phase::new(name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "{} of step {step}", self.name),
            None => f.write_str(self.name),
        }
    }
}
