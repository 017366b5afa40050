//! The grammar of policies, timm's: a name and sections of letters and a number behind dashes; and what is wrong with one.

/// A policy string that says nothing that is known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No policy has such a name.
    #[error("no augmentation policy {policy:?}: the nearest is {nearest:?}; known are {known}")]
    Unknown {
        /// What was asked for.
        policy: String,
        /// The known name nearest to it.
        nearest: String,
        /// All known names.
        known: String,
    },
    /// A section of RandAugment's grammar is unknown or has a bad value.
    #[error(
        "section {section:?} of the augmentation policy {policy:?}: expected {expected}, e.g. rand-m9-mstd0.5-inc1"
    )]
    Section {
        /// The whole policy.
        policy: String,
        /// Its wrong section.
        section: String,
        /// What may stand there, and what is nearest.
        expected: String,
    },
}

/// The names that policies begin with.
pub(super) const NAMES: [&str; 9] =
    ["none", "rand", "augmix", "original", "originalr", "v0", "v0r", "3-augment", "trivial-wide"];

impl PolicyError {
    pub(super) fn unknown(policy: &str) -> PolicyError {
        let first = ["rand", "augmix"].into_iter().find(|name| policy.starts_with(name)).unwrap_or(policy);
        let (nearest, known) = (nearest(first, NAMES).to_owned(), NAMES.join(", "));
        PolicyError::Unknown { policy: policy.to_owned(), nearest, known }
    }

    pub(super) fn section(policy: &str, section: &str, expected: String) -> PolicyError {
        PolicyError::Section { policy: policy.to_owned(), section: section.to_owned(), expected }
    }
}

/// The name that needs the fewest changes of letters to become `name`.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> &'a str {
    names.into_iter().min_by_key(|known| distance(name, known)).unwrap_or_default()
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut costs[0], row + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = costs[column + 1];
            costs[column + 1] = replaced.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs[to.len()]
}

/// The letters and the number of a section.
pub(super) fn split(section: &str) -> (&str, &str) {
    section.split_at(section.find(|c: char| c.is_ascii_digit()).unwrap_or(section.len()))
}

/// The error for a section whose letters are not among `known`.
pub(super) fn unknown_section(policy: &str, section: &str, known: &[&str]) -> PolicyError {
    let near = nearest(split(section).0, known.iter().copied());
    let known = known.join(", ");
    PolicyError::section(policy, section, format!("one of {known} and a value; the nearest is {near}"))
}

/// The number of a section, both ends included.
pub(super) fn in_range(policy: &str, section: &str, value: &str, (low, high): (f64, f64)) -> Result<f64, PolicyError> {
    let number = value.parse::<f64>().ok().filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| {
        let range = if high == f64::MAX { format!("of at least {low}") } else { format!("from {low} to {high}") };
        PolicyError::section(policy, section, format!("a number {range} after its letters"))
    })
}

/// A number that counts.
pub(super) fn whole(policy: &str, section: &str, number: f64) -> Result<usize, PolicyError> {
    if number.fract() != 0.0 {
        return Err(PolicyError::section(policy, section, "a whole number after its letters".to_owned()));
    }
    Ok(number as usize)
}
