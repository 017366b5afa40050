//! The values of a TOML file of ours that is no config, and where each stands, for messages.

use std::path::Path;

use plan::{ConfigError, Place};
use toml_edit::{Array, Document, Item, TableLike, Value};

/// Reads values, and knows where they stand.
pub struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    /// The reader of the file at `path`, which holds `text`.
    pub fn new(text: &'a str, path: &'a Path) -> Reader<'a> {
        Reader { text, path }
    }

    /// The document, which has no other keys than these.
    pub fn document(&self, keys: &[&str]) -> Result<Document<&'a str>, ConfigError> {
        let document = Document::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: Box::new(self.place(error.span().map_or(0, |span| span.start))),
            message: error.message().trim_end().replace('\n', ", "),
        })?;
        let table = document.as_table();
        if let Some((key, item)) = table.iter().find(|(key, _)| !keys.contains(key)) {
            return Err(ConfigError::UnknownKey {
                place: Box::new(self.place_of_key(table, key, item)),
                key: key.to_owned(),
                nearest: plan::nearest(key, keys.iter().copied()),
                known: keys.iter().map(|&key| key.to_owned()).collect(),
            });
        }
        Ok(document)
    }

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

    /// The error that there is no `key`.
    pub fn missing(&self, key: &str, expected: &str) -> ConfigError {
        let place = Box::new(Place::Unset { path: self.path.to_owned() });
        ConfigError::MissingKey { place, key: key.to_owned(), expected: expected.to_owned() }
    }

    /// The text that `key` holds, if it is there.
    pub fn text(&self, table: &dyn TableLike, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_str().filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.bad(self.line_of_key(table, key), key, "text in quotes", &shown(item), Vec::new())),
        }
    }

    /// The text that `key` must hold.
    pub fn required(&self, table: &dyn TableLike, key: &str, expected: &str) -> Result<String, ConfigError> {
        self.text(table, key)?.ok_or_else(|| self.missing(key, expected))
    }

    /// The number of things, at least 1, that `key` holds, if it is there.
    pub fn count(&self, table: &dyn TableLike, key: &str) -> Result<Option<usize>, ConfigError> {
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

    /// The name under `name`, or that of the file.
    pub fn name(&self, table: &dyn TableLike) -> Result<String, ConfigError> {
        let stem = self.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let name = self.text(table, "name")?.unwrap_or(stem);
        if folder_name(&name) == name && !name.starts_with('.') && name.len() <= 128 {
            return Ok(name);
        }
        let expected = "a name of letters, digits, `-`, `_` and `.`, not starting with `.`, of at most 128 bytes";
        Err(self.bad(self.line_of_key(table, "name"), "name", expected, &format!("\"{name}\""), Vec::new()))
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

/// `text` with every character that a folder's name cannot have made a `_`.
pub fn folder_name(text: &str) -> String {
    text.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'), "_")
}
