//! A sweep's file: its keys, and what is wrong with them, by file and line.

use std::path::{Path, PathBuf};

use plan::{ConfigError, Place};
use toml_edit::{Array, Document, Item, TableLike, Value};

use super::axes::{self, Axis};

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
    let reader = Reader { text, path };
    let document = Document::parse(text).map_err(|error| ConfigError::Syntax {
        place: Box::new(reader.place(error.span().map_or(0, |span| span.start))),
        message: error.message().trim_end().replace('\n', ", "),
    })?;
    let table = document.as_table();
    for (key, item) in table.iter() {
        if !KEYS.contains(&key) {
            return Err(ConfigError::UnknownKey {
                place: Box::new(reader.place_of_key(table, key, item)),
                key: key.to_owned(),
                nearest: plan::nearest(key, KEYS),
                known: KEYS.map(str::to_owned).to_vec(),
            });
        }
    }
    let config = reader.text(table, "config")?.ok_or_else(|| reader.missing("config", "the path of a config"))?;
    let baseline = reader.text(table, "baseline")?;
    let axes = axes::read(&reader, table)?;
    Ok(SweepFile {
        name: reader.name(table)?,
        config: path.parent().unwrap_or(Path::new("")).join(config),
        shared: reader.shared(table, &axes)?,
        axes,
        baseline: baseline.map(|name| (name, reader.line_of_key(table, "baseline"))),
        nproc: reader.count(table, "nproc")?,
        at_a_time: reader.count(table, "at_a_time")?.unwrap_or(1),
        path: path.to_owned(),
    })
}

/// Reads values, and knows where they stand.
pub struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Reader<'_> {
    /// The line at this offset, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The line where a key of a table stands.
    pub fn line_of_key(&self, table: &dyn TableLike, key: &str) -> usize {
        let span = table.get_key_value(key).and_then(|(key, item)| key.span().or_else(|| item.span()));
        self.line(span.map_or(0, |span| span.start))
    }

    fn place(&self, offset: usize) -> Place {
        Place::File { path: self.path.to_owned(), line: self.line(offset) }
    }

    fn place_of_key(&self, table: &dyn TableLike, key: &str, item: &Item) -> Place {
        let span = table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
        self.place(span.map_or(0, |span| span.start))
    }

    /// The error that the value of `key`, on this line, is not what it must be.
    pub fn bad(&self, line: usize, key: &str, expected: &str, found: &str, nearest: Vec<String>) -> ConfigError {
        ConfigError::Value {
            place: Box::new(Place::File { path: self.path.to_owned(), line }),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: found.trim().to_owned(),
            nearest,
        }
    }

    fn missing(&self, key: &str, expected: &str) -> ConfigError {
        let place = Box::new(Place::Unset { path: self.path.to_owned() });
        ConfigError::MissingKey { place, key: key.to_owned(), expected: expected.to_owned() }
    }

    /// The text that `key` holds, if it is there.
    fn text(&self, table: &dyn TableLike, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_str().filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.bad(self.line_of_key(table, key), key, "text in quotes", &shown(item), Vec::new())),
        }
    }

    /// The number of things, at least 1, that `key` holds, if it is there.
    fn count(&self, table: &dyn TableLike, key: &str) -> Result<Option<usize>, ConfigError> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_integer().and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0) {
            Some(count) => Ok(Some(count)),
            None => {
                let line = self.line_of_key(table, key);
                Err(self.bad(line, key, "a whole number, at least 1", &shown(item), Vec::new()))
            }
        }
    }

    /// The array that `key` holds, if it is there; it has at least one value.
    pub fn array<'t>(&self, table: &'t dyn TableLike, key: &str) -> Result<Option<&'t Array>, ConfigError> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_array().filter(|array| !array.is_empty()) {
            Some(array) => Ok(Some(array)),
            None => {
                let line = self.line_of_key(table, key);
                Err(self.bad(line, key, "an array with at least one value", &shown(item), Vec::new()))
            }
        }
    }

    /// The line where a value stands.
    pub fn line_of(&self, value: &Value) -> usize {
        self.line(value.span().map_or(0, |span| span.start))
    }

    fn name(&self, table: &dyn TableLike) -> Result<String, ConfigError> {
        let stem = self.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let name = self.text(table, "name")?.unwrap_or(stem);
        if axes::folder_name(&name) == name && !name.starts_with('.') && name.len() <= 128 {
            return Ok(name);
        }
        let expected = "a name of letters, digits, `-`, `_` and `.`, not starting with `.`, of at most 128 bytes";
        Err(self.bad(self.line_of_key(table, "name"), "name", expected, &format!("\"{name}\""), Vec::new()))
    }

    fn shared(&self, table: &dyn TableLike, axes: &[Axis]) -> Result<Vec<Override>, ConfigError> {
        let Some(array) = self.array(table, "set")? else { return Ok(Vec::new()) };
        let mut shared = Vec::new();
        for value in array {
            let line = self.line_of(value);
            let set = value.as_str().ok_or_else(|| {
                let expected = "text such as \"schedule.epochs=3\"";
                self.bad(line, "set", expected, &value.to_string(), Vec::new())
            })?;
            if let Some(why) = axes::taken(set, axes) {
                return Err(self.bad(line, "set", &why, &format!("\"{set}\""), Vec::new()));
            }
            shared.push(Override { set: set.to_owned(), line: Some(line) });
        }
        Ok(shared)
    }
}

/// A value as an error shows it.
pub fn shown(item: &Item) -> String {
    match item {
        Item::Value(value) => value.to_string(),
        Item::Table(_) | Item::ArrayOfTables(_) => "a table".to_owned(),
        Item::None => "nothing".to_owned(),
    }
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
