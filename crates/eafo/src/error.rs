//! What can be wrong with a density, a function, a sample or an interval, said with the point and the reason.

use std::path::PathBuf;

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
pub enum EafoError {
    /// No density has this name.
    #[error("no density is named `{name}`; {}", suggest(.nearest, .all))]
    UnknownDensity {
        /// The name that was asked for.
        name: String,
        /// Names that look like it, best first; empty when none does.
        nearest: Vec<String>,
        /// All names.
        all: Vec<String>,
    },
    /// No function has this name.
    #[error("no activation is named `{name}`; {}", suggest(.nearest, .all))]
    UnknownFunction {
        /// The name that was asked for.
        name: String,
        /// Names that look like it, best first; empty when none does.
        nearest: Vec<String>,
        /// All names.
        all: Vec<String>,
    },
    /// A text cannot be read as a density or a function.
    #[error("cannot read `{text}`: {reason}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong with it, and how it is written.
        reason: String,
    },
    /// A parameter has a value that it must not have.
    #[error("{of}: {parameter} = {value} {reason}")]
    Parameter {
        /// The density or the function.
        of: String,
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: f64,
        /// Why it cannot be.
        reason: String,
    },
    /// Samples from which nothing can be learned.
    #[error("{of}: {reason}")]
    Samples {
        /// Where they come from.
        of: String,
        /// What is wrong, with the place of the sample.
        reason: String,
    },
    /// An integral did not reach its tolerance, or met a value that is no number.
    #[error("the integral of {what} over [{low}, {high}] {reason}")]
    Integral {
        /// What was integrated.
        what: String,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// What went wrong, with the point.
        reason: String,
    },
    /// A function has no inverse where one is needed.
    #[error("{function} has no inverse at x = {point}: {reason}")]
    NotInvertible {
        /// The function.
        function: String,
        /// The point.
        point: f64,
        /// Why, and what can be done.
        reason: String,
    },
    /// An interval that cannot be worked on.
    #[error("the interval [{low}, {high}] {reason}")]
    Interval {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// Why.
        reason: String,
    },
    /// A file is no tabulated activation.
    #[error(transparent)]
    Table(#[from] activations::TableFileError),
    /// A file cannot be read or written, or does not hold what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the place inside the file.
        reason: String,
    },
}

fn suggest(nearest: &[String], all: &[String]) -> String {
    if nearest.is_empty() {
        return format!("there are {}", all.join(", "));
    }
    format!("did you mean {}?", nearest.join(" or "))
}

/// The names most like `name`, best first.
pub(crate) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut near: Vec<(f64, &str)> =
        all.map(|known| (strsim::jaro_winkler(name, known), known)).filter(|&(likeness, _)| likeness > 0.7).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}
