//! What a key of a config is: its name, meaning and range; and the macros by which a section declares its keys once.

use toml::Value;

/// One key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name inside the section.
    pub name: &'static str,
    /// What it means, in one or more sentences.
    pub help: &'static str,
    /// Which values it takes.
    pub kind: Kind,
}

/// The values that a key takes. All ranges include both ends, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Whole {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A finite number.
    Number {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// A finite number above 0.
    Positive {
        /// The largest value.
        max: f64,
    },
    /// An array of finite numbers.
    Numbers {
        /// How many.
        count: usize,
        /// The smallest value of each.
        min: f64,
        /// The largest value of each.
        max: f64,
        /// What must hold among them.
        order: NumberOrder,
    },
    /// An array of pairs `[epoch, whole number]`, the epochs rising from 0; may be empty.
    Stages {
        /// What the numbers are, with its article.
        what: &'static str,
        /// The smallest number.
        min: u64,
        /// The largest number.
        max: u64,
    },
    /// A name out of a list.
    OneOf {
        /// What is named, with its article.
        what: &'static str,
        /// The list.
        names: fn() -> Vec<&'static str>,
    },
    /// The name of a run: it names a folder.
    RunName,
    /// A path; not empty.
    Path,
    /// Text in a grammar that is checked where it is understood.
    Text {
        /// What it describes, with its article.
        what: &'static str,
    },
    /// True or false.
    Flag,
    /// An activation: its name, or a table that holds `name` and more (see [`crate::config::Activation`]).
    Activation,
}

/// What must hold among the numbers of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOrder {
    /// Nothing.
    Any,
    /// No number is below the one before it.
    Rising,
}

impl Kind {
    /// The values that it takes, in words that complete "must be …".
    pub fn expected(&self) -> String {
        match *self {
            Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Positive { max } => format!("a number above 0 and up to {max}"),
            Kind::Numbers { count, min, max, order } => {
                let rising = if order == NumberOrder::Rising { ", none below the one before it" } else { "" };
                format!("an array of {count} numbers from {min} to {max}{rising}")
            }
            Kind::Stages { what, min, max } => {
                format!("an array of pairs `[epoch, {what} from {min} to {max}]`, the epochs rising from 0, or empty")
            }
            Kind::OneOf { what, names } => format!("{what}: one of {}", quoted(&names())),
            Kind::RunName => {
                "a name of letters, digits, `-`, `_` and `.`, not starting with `.`, of at most 128 bytes".to_owned()
            }
            Kind::Path => "a path in quotes, not empty".to_owned(),
            Kind::Text { what } => format!("{what} in quotes"),
            Kind::Flag => "true or false".to_owned(),
            Kind::Activation => {
                format!(
                    "an activation: one of {}, or a table with `name` and its parameters",
                    quoted(&activation_names())
                )
            }
        }
    }

    /// Whether it takes `value`.
    pub fn accepts(&self, value: &Value) -> bool {
        match *self {
            Kind::Whole { min, max } => {
                value.as_integer().and_then(|n| u64::try_from(n).ok()).is_some_and(|n| min <= n && n <= max)
            }
            Kind::Number { min, max } => number(value).is_some_and(|x| min <= x && x <= max),
            Kind::Positive { max } => number(value).is_some_and(|x| 0.0 < x && x <= max),
            Kind::Numbers { count, min, max, order } => {
                let Some(numbers) =
                    value.as_array().and_then(|array| array.iter().map(number).collect::<Option<Vec<f64>>>())
                else {
                    return false;
                };
                numbers.len() == count
                    && numbers.iter().all(|&x| min <= x && x <= max)
                    && (order == NumberOrder::Any || numbers.is_sorted())
            }
            Kind::Stages { min, max, .. } => value.as_array().is_some_and(|array| are_stages(array, min, max)),
            Kind::OneOf { names, .. } => value.as_str().is_some_and(|name| names().contains(&name)),
            Kind::RunName => value.as_str().is_some_and(is_run_name),
            Kind::Path => value.as_str().is_some_and(|path| !path.is_empty()),
            Kind::Text { .. } => value.is_str(),
            Kind::Flag => value.is_bool(),
            Kind::Activation => value.is_table(),
        }
    }

    /// The names that it takes, where it takes names.
    pub fn names(&self) -> Vec<&'static str> {
        match *self {
            Kind::OneOf { names, .. } => names(),
            Kind::Activation => activation_names(),
            _ => Vec::new(),
        }
    }

    /// Whether its values are strings, so that an override needs no quotes even where it looks like another type.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Kind::OneOf { .. } | Kind::RunName | Kind::Path | Kind::Text { .. })
    }
}

/// The names of all activations, and that of those which are numbers.
pub(crate) fn activation_names() -> Vec<&'static str> {
    let formulas = activations::Activation::ALL.iter().map(|activation| activation.name());
    formulas.chain([crate::config::Activation::TABULATED]).collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(x) if x.is_finite() => Some(*x),
        _ => None,
    }
}

fn are_stages(array: &[Value], min: u64, max: u64) -> bool {
    let whole = |value: &Value| value.as_integer().and_then(|n| u64::try_from(n).ok());
    let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([epoch, number]) => Some((whole(epoch)?, whole(number)?)),
        _ => None,
    };
    let Some(stages) = array.iter().map(pair).collect::<Option<Vec<_>>>() else { return false };
    stages.first().is_none_or(|(epoch, _)| *epoch == 0)
        && stages.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && stages.iter().all(|(_, number)| (min..=max).contains(number))
}

fn is_run_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Declares a section: each key once, with its meaning, type, default and range.
///
/// Makes the struct (serde, unknown keys refused), its `Default` and its `KEYS`.
macro_rules! section {
    ($(#[$outer:meta])* pub struct $Section:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $kind:expr;)+
    }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $Section {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $Section {
            fn default() -> $Section {
                $Section { $($field: $default,)+ }
            }
        }

        impl $Section {
            /// The keys of this section, in their order.
            pub const KEYS: &'static [$crate::schema::Key] = &[
                $($crate::schema::Key { name: stringify!($field), help: concat!($($doc),+), kind: $kind },)+
            ];
        }
    };
}

/// Declares an enum whose variants have names in configs.
macro_rules! choice {
    ($(#[$outer:meta])* pub enum $Choice:ident {
        $($(#[doc = $doc:literal])+ $Variant:ident = $name:literal,)+
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $Choice {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $Variant,)+
        }

        impl $Choice {
            /// Its name in configs.
            pub const fn name(self) -> &'static str {
                match self {
                    $($Choice::$Variant => $name,)+
                }
            }

            /// The one of that name.
            pub fn named(name: &str) -> Option<Self> {
                [$($Choice::$Variant),+].into_iter().find(|choice| choice.name() == name)
            }

            /// All names, in order.
            pub fn names() -> Vec<&'static str> {
                vec![$($name),+]
            }
        }
    };
}

pub(crate) use {choice, section};

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        toml::from_str::<toml::Table>(&format!("x = {text}")).unwrap()["x"].clone()
    }

    #[test]
    fn ranges_include_their_ends_and_nothing_beyond() {
        let cases: [(Kind, &[&str], &[&str]); 8] = [
            (Kind::Whole { min: 1, max: 8 }, &["1", "8"], &["0", "9", "-1", "1.0", "'1'", "true"]),
            (Kind::Number { min: 0.0, max: 1.0 }, &["0", "1", "0.5", "1e-9"], &["-0.1", "1.1", "nan", "inf", "'x'"]),
            (Kind::Positive { max: 2.0 }, &["2", "1e-9"], &["0", "0.0", "-1", "2.1", "nan"]),
            (
                Kind::Numbers { count: 2, min: 0.0, max: 1.0, order: NumberOrder::Rising },
                &["[0, 1]", "[0.5, 0.5]"],
                &["[1, 0]", "[0, 1, 1]", "[0]", "0.5", "[0, 'x']", "[0, 2]"],
            ),
            (
                Kind::Stages { what: "a side", min: 1, max: 9 },
                &["[]", "[[0, 1]]", "[[0, 9], [3, 1], [4, 1]]"],
                &["[0, 1]", "[[1, 1]]", "[[0, 10]]", "[[0, 0]]", "[[0, 1], [0, 2]]", "[[0, 1, 2]]", "[[0, 1.5]]", "1"],
            ),
            (Kind::RunName, &["'demo-1.2_x'"], &["''", "'a/b'", "'..'", "'.hidden'", "'a b'", "3"]),
            (Kind::Path, &["'data/x y'"], &["''", "3"]),
            (Kind::Flag, &["true", "false"], &["0", "'true'"]),
        ];
        for (kind, good, bad) in cases {
            for text in good {
                assert!(kind.accepts(&value(text)), "{kind:?} should take {text}");
            }
            for text in bad {
                assert!(!kind.accepts(&value(text)), "{kind:?} should refuse {text}");
            }
        }
    }
}
