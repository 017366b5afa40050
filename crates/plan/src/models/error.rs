//! What can be wrong with a model that a config asks for.

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model is named `{name}`{}", if .nearest.is_empty() { String::new() } else { format!("; did you mean {}?", .nearest.join(" or ")) })]
pub struct UnknownModel {
    /// The name that was asked for.
    pub name: String,
    /// Names that look like it, best first.
    pub nearest: Vec<String>,
}

/// A model that cannot be built, by the key of `[model]` that is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` must be {expected}; found {found}")]
pub struct BadModel {
    /// The key below `model`, such as `num_heads` or `activation.alpha`.
    pub key: String,
    /// What it takes.
    pub expected: String,
    /// What it holds.
    pub found: String,
    /// Names that look like the one found, best first.
    pub nearest: Vec<String>,
}

impl BadModel {
    /// One for which no name is near.
    pub(super) fn new(key: &str, expected: String, found: String) -> BadModel {
        BadModel { key: key.to_owned(), expected, found, nearest: Vec::new() }
    }
}
