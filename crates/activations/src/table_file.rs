//! The TOML file of a tabulated activation: where it comes from, and its numbers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{BadTable, Table};

/// A tabulated activation with its origin, as a file holds it.
///
/// ```toml
/// name = "softplus-gaussian"
/// density = "gaussian"
/// base = "softplus"
/// step = 1.25
/// interval = [-8.0, 8.0]
/// kinks = []
///
/// [table]
/// x0 = -8.0
/// step = 8.0
/// values = [0.0, 0.69, 8.0]
/// slopes = [0.0, 0.5, 1.0]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TableFile {
    /// What it is called in reports; not empty.
    pub name: String,
    /// The density of pre-activations that it was derived for, as `rectify eafo` writes densities.
    pub density: String,
    /// The activation that was corrected.
    pub base: String,
    /// The step t of the correction; 0 where nothing was corrected.
    pub step: f64,
    /// The pre-activations that the correction was derived on. Outside it is the base.
    pub interval: (f64, f64),
    /// Where the tabulated function had a kink, which the table rounds off within the cells beside it; rising.
    pub kinks: Vec<f64>,
    /// The numbers. They reach beyond the interval; what lies beyond them goes on straight.
    pub table: Table,
}

/// A file that is no tabulated activation.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// It cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// It is no TOML, a key is missing, unknown, or of another type. The message names line and key.
    #[error("{}: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A key has a value that it must not have.
    #[error("{}: `{key}` {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, such as `table.slopes`.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    density: String,
    base: String,
    step: f64,
    interval: [f64; 2],
    #[serde(default)]
    kinks: Vec<f64>,
    table: Numbers,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    x0: f64,
    step: f64,
    values: Vec<f64>,
    slopes: Vec<f64>,
}

impl TableFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TableFileError`], which names the file and the key.
    pub fn read(path: &Path) -> Result<TableFile, TableFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| TableFileError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        TableFile::parse(&text, path)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// As [`TableFile::read`].
    pub fn parse(text: &str, path: &Path) -> Result<TableFile, TableFileError> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            TableFileError::Toml { path: path.to_owned(), message: format!("{place}{}", error.message()) }
        })?;
        let bad =
            |key: &str, reason: String| TableFileError::Value { path: path.to_owned(), key: key.to_owned(), reason };
        if document.name.trim().is_empty() {
            return Err(bad("name", "is empty; reports name the activation by it".to_owned()));
        }
        if !document.step.is_finite() {
            return Err(bad("step", format!("is {}; it must be finite", document.step)));
        }
        let [low, high] = document.interval;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(bad("interval", format!("is [{low}, {high}]; its ends are finite and rise")));
        }
        let rise = document.kinks.windows(2).all(|pair| pair[0] < pair[1]);
        if !rise || document.kinks.iter().any(|kink| !kink.is_finite()) {
            return Err(bad("kinks", format!("is {:?}; they are finite and rise", document.kinks)));
        }
        let Numbers { x0, step, values, slopes } = document.table;
        let table = Table::new(x0, step, values, slopes)
            .map_err(|BadTable { key, reason }| bad(&format!("table.{key}"), reason))?;
        let room = 1e-9 * (table.end() - table.x0());
        if low < table.x0() - room || high > table.end() + room {
            let reason =
                format!("is [{low}, {high}], and the table reaches from {} to {} only", table.x0(), table.end());
            return Err(bad("interval", reason));
        }
        let Document { name, density, base, step, kinks, .. } = document;
        Ok(TableFile { name, density, base, step, interval: (low, high), kinks, table })
    }

    /// The text of the file; [`TableFile::parse`] gives back the very same numbers.
    pub fn text(&self) -> String {
        let table = &self.table;
        let lines = |numbers: &[f64]| {
            let rows = numbers.chunks(8).map(|row| row.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", "));
            rows.map(|row| format!("    {row},\n")).collect::<String>()
        };
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        format!(
            "# A tabulated activation, straight beyond its ends. Train with: activation = {{ file = \"…\" }}\n\
             name = {}\ndensity = {}\nbase = {}\nstep = {:?}\ninterval = [{:?}, {:?}]\nkinks = {:?}\n\n\
             [table]\nx0 = {:?}\nstep = {:?}\nvalues = [\n{}]\nslopes = [\n{}]\n",
            quoted(&self.name),
            quoted(&self.density),
            quoted(&self.base),
            self.step,
            self.interval.0,
            self.interval.1,
            self.kinks,
            table.x0(),
            table.step(),
            lines(table.values()),
            lines(table.slopes()),
        )
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`TableFileError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), TableFileError> {
        let scratch = path.with_extension("toml.partial");
        std::fs::write(&scratch, self.text()).and_then(|()| std::fs::rename(&scratch, path)).map_err(|source| {
            let _ = std::fs::remove_file(&scratch);
            TableFileError::Io { action: "write", path: path.to_owned(), source }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TableFile {
        let table = Table::new(-1.0, 1.0 / 3.0, vec![0.1, 0.2, 0.3, 1e-17], vec![1.0, 2.0 / 3.0, 0.0, -1.0]).unwrap();
        TableFile {
            name: "a \"quoted\" name".to_owned(),
            density: "student-t(5)".to_owned(),
            base: "softplus".to_owned(),
            step: 0.7,
            interval: (-0.9, 0.0),
            kinks: vec![-0.5, 0.0],
            table,
        }
    }

    #[test]
    fn a_file_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        example().write(&path).unwrap();
        assert_eq!(TableFile::read(&path).unwrap(), example());
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        let good = example().text();
        let cases = [
            (good.replace("step = 0.7\n", ""), "step"),
            (good.replace("density = ", "denisty = "), "denisty"),
            (good.replace("step = 0.7\n", "step = nan\n"), "`step` is NaN"),
            (good.replace("[-0.9, 0.0]", "[0.5, -0.5]"), "`interval` is [0.5, -0.5]"),
            (good.replace("[-0.9, 0.0]", "[-1.5, 0.0]"), "`interval` is [-1.5, 0], and the table"),
            (good.replace("[-0.5, 0.0]", "[0.5, 0.0]"), "`kinks` is [0.5, 0.0]"),
            (good.replace("0.3, ", ""), "`table.slopes` has 4 numbers"),
            (good.replace("1e-17", "inf"), "`table.values` holds inf at place 3"),
            (good.replace("1e-17", "\"x\""), "line 13"),
            (good.replace("x0 = -1.0", "x0 = "), "line 10"),
        ];
        for (text, expected) in cases {
            let error = TableFile::parse(&text, Path::new("some/file.toml")).expect_err(expected).to_string();
            assert!(error.starts_with("some/file.toml: ") && error.contains(expected), "{expected}: {error}");
        }
        let absent = TableFile::read(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(absent.starts_with("no/such.toml: cannot read"), "{absent}");
    }
}
