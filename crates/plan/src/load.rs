//! From a TOML file and `--set` overrides to a checked config, remembering where each value came from.

use std::path::Path;

use activations::TableFile;
use toml::{Table, Value};
use toml_edit::{Document, Item, TableLike};

use crate::config::{Activation, Activations, Config, Origins, REQUIRED, SECTIONS, TOP_LEVEL};
use crate::error::{ConfigError, Place, nearest};
use crate::schema::{Key, Kind};

/// Reads the config at `path`, with overrides of the form `section.key=value` that win over the file, the last of a key
/// over the earlier ones. A value is read as TOML, and as a string where it is none.
///
/// # Errors
/// [`ConfigError`], with file and line or the override that is to blame.
pub fn load(path: &Path, sets: &[String]) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path, sets)
}

/// As [`load`], from the text of a file; `path` is for messages, and names the run where the config does not.
///
/// # Errors
/// [`ConfigError`] as for [`load`].
pub fn parse(text: &str, path: &Path, sets: &[String]) -> Result<Config, ConfigError> {
    let mut draft = Draft::read(text, path)?;
    for set in sets {
        draft.set(set)?;
    }
    draft.check()?;
    draft.read_tables()?;
    let config = draft.into_config()?;
    config.check()?;
    Ok(config)
}

/// What a config holds before its types are known.
struct Draft {
    table: Table,
    origins: Origins,
}

impl Draft {
    fn read(text: &str, path: &Path) -> Result<Draft, ConfigError> {
        let line =
            |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&b| b == b'\n').count();
        let document = Document::parse(text).map_err(|error| ConfigError::Syntax {
            place: Box::new(Place::File {
                path: path.to_owned(),
                line: line(error.span().map_or(0, |span| span.start)),
            }),
            message: error.message().trim_end().replace('\n', ", "),
        })?;
        let mut origins = Origins { path: path.to_owned(), ..Origins::default() };
        let table = convert(document.as_table(), "", &mut |key, offset| {
            origins.places.insert(key, Place::File { path: path.to_owned(), line: line(offset) });
        });
        let mut draft = Draft { table, origins };
        draft.spell_out_activation();
        Ok(draft)
    }

    /// Applies one `--set`.
    fn set(&mut self, set: &str) -> Result<(), ConfigError> {
        let refuse = |reason: String| ConfigError::Set { set: set.to_owned(), reason };
        let (key, text) = set.split_once('=').ok_or_else(|| refuse("there is no `=`".to_owned()))?;
        let (key, text) = (key.trim(), text.trim());
        let parts: Vec<&str> = key.split('.').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(refuse(format!("`{key}` is no key")));
        }
        let key = parts.join(".");
        let (last, above) = parts.split_last().expect("a split has at least one part");
        let mut table = &mut self.table;
        for (depth, part) in above.iter().enumerate() {
            let entry = table.entry((*part).to_owned()).or_insert_with(|| Value::Table(Table::new()));
            let found = describe(entry);
            let above = parts[..=depth].join(".");
            table = entry.as_table_mut().ok_or_else(|| refuse(format!("`{above}` is {found} and has no keys")))?;
        }
        table.insert((*last).to_owned(), value_of(text));
        let below = format!("{key}.");
        self.origins.places.retain(|other, _| !other.starts_with(&below));
        self.origins.places.insert(key, Place::Set { set: set.to_owned() });
        self.spell_out_activation();
        Ok(())
    }

    /// All activations of the draft, each with its whole key.
    fn activations(&mut self) -> Vec<(String, &mut Value)> {
        let sections = self.table.iter_mut().filter(|(name, _)| matches!(name.as_str(), "model" | "distillation"));
        let given = sections.filter_map(|(name, section)| Some((name, section.get_mut("activation")?)));
        given
            .flat_map(|(section, activation)| {
                let whole = format!("{section}.activation");
                if layered(activation).is_none() {
                    return vec![(whole, activation)];
                }
                let layers = layered(activation).into_iter().flatten();
                layers.map(|(layers, activation)| (format!("{whole}.{layers}"), activation)).collect()
            })
            .collect()
    }

    /// `activation = "gelu"` means `activation = { name = "gelu" }`; one spelling is enough from here on.
    fn spell_out_activation(&mut self) {
        self.activations().into_iter().for_each(|(_, activation)| spell_out(activation));
    }

    /// Puts the texts of tabulated activations in the place of their files, so that a run does not depend on these.
    fn read_tables(&mut self) -> Result<(), ConfigError> {
        let origins = self.origins.clone();
        for (whole, activation) in self.activations() {
            let Some(table) = activation.as_table_mut() else { continue };
            let Some(file) = table.get("file").and_then(Value::as_str) else { continue };
            if let Some((other, value)) = table.iter().find(|(key, _)| *key != "file") {
                let (whole, expected) =
                    (format!("{whole}.{other}"), "absent beside `file`, whose table is all".to_owned());
                return Err(bad(origins.place(&whole), &whole, expected, describe(value), Vec::new()));
            }
            let text = TableFile::read(Path::new(file)).map(|file| file.text()).map_err(|error| {
                let whole = format!("{whole}.file");
                let expected = "the file of a tabulated activation, as `rectify eafo derive` writes it".to_owned();
                bad(origins.place(&whole), &whole, expected, error.to_string(), Vec::new())
            })?;
            table.clear();
            table.insert("name".to_owned(), Value::String(Activation::TABULATED.to_owned()));
            table.insert("table".to_owned(), Value::String(text));
        }
        Ok(())
    }

    /// Checks every key and value against the schema; in the order of the file, so that the first mistake is told first.
    fn check(&mut self) -> Result<(), ConfigError> {
        let mut errors = Vec::new();
        let Draft { table, origins } = self;
        for (name, value) in table.iter_mut() {
            let keys = SECTIONS.iter().find(|(section, _)| section == name).map(|(_, keys)| keys);
            match (keys, TOP_LEVEL.iter().find(|key| key.name == name.as_str())) {
                (Some(keys), _) => check_section(name, keys, value, origins, &mut errors),
                (None, Some(key)) => check_value(key, name, value, origins, &mut errors),
                (None, None) => errors.push(unknown(name, None, origins)),
            }
        }
        for (section, name) in REQUIRED {
            if table.get(*section).is_none_or(|section| section.get(*name).is_none()) {
                let keys = SECTIONS.iter().find(|(other, _)| other == section).map_or(&[][..], |(_, keys)| keys);
                let expected =
                    keys.iter().find(|key| key.name == *name).map_or_else(String::new, |key| key.kind.expected());
                let place = Box::new(Place::Unset { path: origins.path.clone() });
                errors.push(ConfigError::MissingKey { place, key: format!("{section}.{name}"), expected });
            }
        }
        match errors.into_iter().min_by_key(rank) {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    fn into_config(self) -> Result<Config, ConfigError> {
        let Draft { table, origins } = self;
        let mut config: Config = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            ConfigError::Value {
                place: Box::new(origins.place(&key)),
                key,
                expected: "valid".to_owned(),
                found: error.into_inner().to_string(),
                nearest: Vec::new(),
            }
        })?;
        if config.name.is_empty() {
            let stem = origins.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            let plain = stem.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'), "-");
            config.name = if plain.trim_matches('.').is_empty() { "run".to_owned() } else { plain };
        }
        config.origins = origins;
        Ok(config)
    }
}

/// `"gelu"` becomes `{ name = "gelu" }`.
fn spell_out(activation: &mut Value) {
    if activation.is_str() {
        let name = std::mem::replace(activation, Value::Table(Table::new()));
        activation.as_table_mut().expect("just made").insert("name".to_owned(), name);
    }
}

/// The entries of an activation that differs from layer to layer.
fn layered(activation: &mut Value) -> Option<&mut Table> {
    activation.as_table_mut().filter(|table| table.contains_key(Activations::DEFAULT))
}

fn check_section(section: &str, keys: &[Key], value: &mut Value, origins: &Origins, errors: &mut Vec<ConfigError>) {
    let found = describe(value);
    let Some(table) = value.as_table_mut() else {
        let expected = format!("a section, as in `[{section}]` or `{section}.{} = …`", keys[0].name);
        errors.push(bad(origins.place(section), section, expected, found, Vec::new()));
        return;
    };
    for (name, value) in table.iter_mut() {
        let whole = format!("{section}.{name}");
        match keys.iter().find(|key| key.name == name.as_str()) {
            Some(key) => check_value(key, &whole, value, origins, errors),
            None => errors.push(unknown(&whole, Some(keys), origins)),
        }
    }
}

fn check_value(key: &Key, whole: &str, value: &mut Value, origins: &Origins, errors: &mut Vec<ConfigError>) {
    if let (true, false, Place::Set { set }) = (key.kind.is_text(), value.is_str(), origins.place(whole)) {
        let text = set.split_once('=').map_or("", |(_, text)| text.trim());
        *value = Value::String(text.to_owned());
    }
    if let (Kind::Activation, true) = (key.kind, value.is_table()) {
        let Some(layers) = layered(value) else {
            return check_section(whole, Activation::KEYS, value, origins, errors);
        };
        for (layers, value) in layers.iter_mut() {
            let whole = format!("{whole}.{layers}");
            if value.is_table() {
                check_section(&whole, Activation::KEYS, value, origins, errors);
            } else {
                errors.push(bad(origins.place(&whole), &whole, key.kind.expected(), describe(value), Vec::new()));
            }
        }
        return;
    }
    if !key.kind.accepts(value) {
        let near = nearest(value.as_str().unwrap_or_default(), key.kind.names());
        errors.push(bad(origins.place(whole), whole, key.kind.expected(), describe(value), near));
    }
}

fn bad(place: Place, key: &str, expected: String, found: String, nearest: Vec<String>) -> ConfigError {
    ConfigError::Value { place: Box::new(place), key: key.to_owned(), expected, found, nearest }
}

/// The error for a key that no section has, or that the section with these `keys` has not.
fn unknown(whole: &str, keys: Option<&[Key]>, origins: &Origins) -> ConfigError {
    let (prefix, name) = whole.rsplit_once('.').map_or(("", whole), |(section, name)| (section, name));
    let known: Vec<String> = match keys {
        Some(keys) => keys.iter().map(|key| format!("{prefix}.{}", key.name)).collect(),
        None => TOP_LEVEL
            .iter()
            .map(|key| key.name)
            .chain(SECTIONS.iter().map(|(name, _)| *name))
            .map(str::to_owned)
            .collect(),
    };
    // The same name in another section is the likeliest mistake of all: a key below the wrong header.
    let mut near: Vec<String> = SECTIONS
        .iter()
        .filter(|(_, keys)| keys.iter().any(|key| key.name == name))
        .map(|(section, _)| format!("{section}.{name}"))
        .chain(TOP_LEVEL.iter().filter(|key| key.name == name).map(|key| key.name.to_owned()))
        .collect();
    let short = |key: &str| key.rsplit_once('.').map_or(key.to_owned(), |(_, name)| name.to_owned());
    let names: Vec<String> = known.iter().map(|key| short(key)).collect();
    let like = nearest(name, names.iter().map(String::as_str));
    near.splice(0..0, like.into_iter().map(|name| if prefix.is_empty() { name } else { format!("{prefix}.{name}") }));
    near.truncate(3);
    ConfigError::UnknownKey { place: Box::new(origins.place(whole)), key: whole.to_owned(), nearest: near, known }
}

/// Errors of the file come in the order of its lines, then those of overrides, then what is missing.
fn rank(error: &ConfigError) -> (usize, usize) {
    match error {
        ConfigError::UnknownKey { place, .. } | ConfigError::Value { place, .. } => match place.as_ref() {
            Place::File { line, .. } => (0, *line),
            Place::Set { .. } => (1, 0),
            Place::Unset { .. } => (2, 0),
        },
        _ => (3, 0),
    }
}

/// The value that the text of an override stands for.
fn value_of(text: &str) -> Value {
    match text.parse::<toml_edit::Value>() {
        Ok(value) => plain(&value),
        Err(_) => Value::String(text.to_owned()),
    }
}

/// The plain values of a table; tells the whole key of every value at any depth, and the offset at which it stands.
fn convert(table: &dyn TableLike, above: &str, tell: &mut dyn FnMut(String, usize)) -> Table {
    let mut values = Table::new();
    for (name, item) in table.iter() {
        let whole = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let key_span = table.get_key_value(name).and_then(|(key, _)| key.span());
        if let Some(span) = key_span.or_else(|| item.span()) {
            tell(whole.clone(), span.start);
        }
        let value = match item {
            Item::Value(toml_edit::Value::InlineTable(inner)) => Value::Table(convert(inner, &whole, tell)),
            Item::Table(inner) => Value::Table(convert(inner, &whole, tell)),
            Item::Value(value) => plain(value),
            Item::ArrayOfTables(tables) => Value::Array(vec![Value::Table(Table::new()); tables.len()]),
            Item::None => continue,
        };
        values.insert(name.to_owned(), value);
    }
    values
}

fn plain(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::Boolean(*flag.value()),
        toml_edit::Value::Datetime(time) => Value::Datetime(*time.value()),
        toml_edit::Value::Array(array) => Value::Array(array.iter().map(plain).collect()),
        toml_edit::Value::InlineTable(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.to_owned(), plain(value))).collect())
        }
    }
}

/// A value in the words of an error.
fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {text:?}"),
        Value::Integer(number) => format!("{number}"),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(time) => format!("the date {time}"),
        Value::Array(_) => format!("the array {value}"),
        Value::Table(_) => "a table".to_owned(),
    }
}
