//! A sweep's file: its keys, and what is wrong with them, by file and line.

use std::path::{Path, PathBuf};

use plan::ConfigError;
use toml_edit::TableLike;

use super::axes::{self, Axis};
use crate::reader::Reader;

/// The keys of a sweep's file.
const KEYS: [&str; 10] =
    ["name", "config", "models", "activations", "seeds", "axes", "set", "baseline", "nproc", "at_a_time"];

/// What a sweep's file says.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepFile {
    /// The file itself, for messages.
    pub path: PathBuf,
    /// Names the sweep and its folder.
    pub name: String,
    /// The config that every cell starts from, found from where the sweep's file is.
    pub config: PathBuf,
    /// What is crossed: models, activations, further keys and seeds, those that the file gives.
    pub axes: Vec<Axis>,
    /// What all cells share beyond the config.
    pub shared: Vec<Override>,
    /// The activation that the others are compared with, and its line.
    pub baseline: Option<(String, usize)>,
    /// Ranks of each cell; where the file is silent, what `rectify train` would take.
    pub nproc: Option<usize>,
    /// Cells that run at the same time.
    pub at_a_time: usize,
}

/// One key of the config with its value, as `--set` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// `section.key=value`.
    pub set: String,
    /// The line of the sweep's file that says so; `None` for the command line.
    pub line: Option<usize>,
}

/// Reads the file at `path`.
///
/// # Errors
/// Those of a config: with file, line, key, what was expected and found, and the nearest names.
pub fn read(path: &Path) -> Result<SweepFile, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// As [`read`], from the text of the file.
pub fn parse(text: &str, path: &Path) -> Result<SweepFile, ConfigError> {
    let reader = Reader::new(text, path);
    let document = reader.document(&KEYS)?;
    let table = document.as_table();
    let config = reader.required(table, "config", "the path of a config")?;
    let baseline = reader.text(table, "baseline")?;
    let axes = axes::read(&reader, table)?;
    Ok(SweepFile {
        name: reader.name(table)?,
        config: path.parent().unwrap_or(Path::new("")).join(config),
        shared: shared(&reader, table, |set| axes::taken(set, &axes))?,
        axes,
        baseline: baseline.map(|name| (name, reader.line_of_key(table, "baseline"))),
        nproc: reader.count(table, "nproc")?,
        at_a_time: reader.count(table, "at_a_time")?.unwrap_or(1),
        path: path.to_owned(),
    })
}

/// The overrides under `set`, which all cells share; `taken` says of one why it cannot be, in words that complete "must be …".
pub fn shared(
    reader: &Reader<'_>,
    table: &dyn TableLike,
    taken: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Override>, ConfigError> {
    let Some(array) = reader.array(table, "set")? else { return Ok(Vec::new()) };
    let mut shared = Vec::new();
    for value in array {
        let line = reader.line_of(value);
        let set = value.as_str().ok_or_else(|| {
            let expected = "text such as \"schedule.epochs=3\"";
            reader.bad(line, "set", expected, &value.to_string(), Vec::new())
        })?;
        if let Some(why) = taken(set) {
            return Err(reader.bad(line, "set", &why, &format!("\"{set}\""), Vec::new()));
        }
        shared.push(Override { set: set.to_owned(), line: Some(line) });
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SweepFile, String> {
        parse(text, Path::new("configs/table.toml")).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, says: &[&str]) {
        let error = parsed(text).expect_err(text);
        for words in says {
            assert!(error.contains(words), "{words:?} is not in: {error}");
        }
    }

    #[test]
    fn a_file_says_what_is_crossed_and_what_is_shared() {
        let text = "config = 'base.toml'\nactivations = ['gelu', 'crrelu']\nseeds = [1, 2]\nbaseline = 'gelu'\n\
                    set = ['schedule.epochs=3']\nnproc = 2\n";
        let file = parsed(text).unwrap();
        assert_eq!((file.name.as_str(), file.config.to_str()), ("table", Some("configs/base.toml")));
        assert_eq!((file.nproc, file.at_a_time, file.baseline), (Some(2), 1, Some(("gelu".to_owned(), 4))));
        assert_eq!(file.shared, [Override { set: "schedule.epochs=3".to_owned(), line: Some(5) }]);
        assert_eq!(file.axes.len(), 2);
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_the_nearest_names() {
        refused("config = 'x'\nactivation = ['gelu']", &["table.toml:2", "`activation`", "did you mean `activations`"]);
        refused("seeds = [1]", &["table.toml: `config` is missing"]);
        refused("config = 'x'\nseeds = []", &["table.toml:2: `seeds`", "at least one"]);
        refused("config = 'x'\nnproc = 0", &["table.toml:2: `nproc`", "at least 1; found 0"]);
        refused("config = 'x'\nname = 'a/b'", &["table.toml:2: `name`", "letters"]);
        refused("config = 'x'\nset = [\n 3]", &["table.toml:3: `set`", "found 3"]);
        refused("config = ", &["table.toml:1: this is not TOML"]);
    }

    #[test]
    fn what_an_axis_sets_is_not_set_for_all() {
        let text = "config = 'x'\nseeds = [1]\nactivations = ['gelu']\nset = ['schedule.epochs=3', '%']";
        for set in ["seed=3", "model.activation=relu", "model.activation.epsilon=1", "name=x"] {
            refused(&text.replace('%', set), &["table.toml:4: `set`", set]);
        }
        assert!(parsed(&text.replace('%', "model.name=x")).is_ok(), "there is no axis of models");
    }
}
