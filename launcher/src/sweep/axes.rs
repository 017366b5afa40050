//! What a sweep crosses: models, activations with the starts of their parameters, further keys, seeds.

use std::path::Path;

use plan::ConfigError;
use plan::config::SECTIONS;
use toml_edit::{InlineTable, Item, TableLike, Value};

use super::file::Override;
use crate::reader::{Reader, folder_name, shown};

/// The key that the axis of models sets.
pub const MODEL: &str = "model.name";
/// The key that the axis of activations sets.
pub const ACTIVATION: &str = "model.activation";
/// The key that the axis of seeds sets.
pub const SEED: &str = "seed";

/// One thing that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The key of the config that it sets.
    pub key: String,
    /// Its values, at least one, no two with the same label.
    pub choices: Vec<Choice>,
}

/// One value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The value as tables show it: `vit_tiny_patch16_224`, `crrelu epsilon=-0.1`, `0.001`.
    pub label: String,
    /// What sets it.
    pub given: Override,
}

/// Reads the axes that a sweep's file gives: models, activations, further keys, seeds.
///
/// # Errors
/// A value of a wrong type, one that is there twice, a key that no axis may set.
pub fn read(reader: &Reader<'_>, table: &dyn TableLike) -> Result<Vec<Axis>, ConfigError> {
    let mut axes = Vec::new();
    axes.extend(plain(reader, table, "models", MODEL, |value| value.is_str().then_some(()), "names of models")?);
    if let Some(item) = table.get("activations") {
        axes.push(Axis { key: ACTIVATION.to_owned(), choices: activations(reader, table, item)? });
    }
    if let Some(further) = table.get("axes") {
        let line = reader.line_of_key(table, "axes");
        let Some(further) = further.as_table_like() else {
            let expected = "a table of keys and their values, such as `\"optimizer.learning_rate\" = [1e-4, 1e-3]`";
            return Err(reader.bad(line, "axes", expected, &shown(further), Vec::new()));
        };
        keys(reader, further, "", &mut axes)?;
    }
    let whole = |value: &Value| value.as_integer().filter(|&seed| seed >= 0).map(drop);
    axes.extend(plain(reader, table, "seeds", SEED, whole, "whole numbers from 0 on")?);
    for axis in &axes {
        refuse_doubles(reader, axis)?;
    }
    Ok(axes)
}

/// Why an override cannot be shared by all cells, in words that complete "must be …".
pub fn taken(set: &str, axes: &[Axis]) -> Option<String> {
    let key = set.split('=').next().unwrap_or_default().trim();
    if key == "name" {
        return Some("keys other than `name`: each cell has a name of its own".to_owned());
    }
    let is_of = |axis: &&Axis| key.strip_prefix(&axis.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    axes.iter().find(is_of).map(|axis| format!("keys that no axis sets (one sets `{}`)", axis.key))
}

/// An axis whose values are taken as they are.
fn plain(
    reader: &Reader<'_>,
    table: &dyn TableLike,
    name: &str,
    key: &str,
    accepts: impl Fn(&Value) -> Option<()>,
    expected: &str,
) -> Result<Option<Axis>, ConfigError> {
    let Some(array) = reader.array(table, name)? else { return Ok(None) };
    let mut choices = Vec::new();
    for value in array {
        let line = reader.line_of(value);
        if accepts(value).is_none() {
            return Err(reader.bad(line, name, expected, &value.to_string(), Vec::new()));
        }
        choices.push(choice(key, value, line));
    }
    Ok(Some(Axis { key: key.to_owned(), choices }))
}

fn choice(key: &str, value: &Value, line: usize) -> Choice {
    let set = format!("{key}={}", bare(value));
    Choice { label: label(value), given: Override { set, line: Some(line) } }
}

/// The axes below `[axes]`, whether their keys are dotted, quoted or in tables of their own.
fn keys(reader: &Reader<'_>, table: &dyn TableLike, above: &str, axes: &mut Vec<Axis>) -> Result<(), ConfigError> {
    for (name, item) in table.iter() {
        let key = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        if let Some(below) = item.as_table_like() {
            keys(reader, below, &key, axes)?;
            continue;
        }
        let line = reader.line_of_key(table, name);
        let own = [(MODEL, "models"), (ACTIVATION, "activations"), (SEED, "seeds"), ("name", "name")];
        let begins = |known: &str| key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if let Some((_, place)) = own.iter().find(|(known, _)| begins(known)) {
            let expected = format!("a key that has no place of its own (this one belongs into `{place}`)");
            return Err(reader.bad(line, &format!("axes.{key}"), &expected, &shown(item), Vec::new()));
        }
        axes.extend(plain(reader, table, name, &key, |_| Some(()), "values")?);
    }
    Ok(())
}

/// The activations: names and tables, a table once for every combination of the values in its arrays.
fn activations(reader: &Reader<'_>, table: &dyn TableLike, item: &Item) -> Result<Vec<Choice>, ConfigError> {
    const EXPECTED: &str = "names of activations, or tables with `name` and its parameters";
    let mut choices = Vec::new();
    if let Some(tables) = item.as_array_of_tables() {
        for table in tables {
            let line = reader.line(table.span().map_or(0, |span| span.start));
            choices.extend(starts(reader, table, line)?);
        }
        return Ok(choices);
    }
    for value in reader.array(table, "activations")?.into_iter().flatten() {
        let line = reader.line_of(value);
        match value {
            Value::String(_) => choices.push(choice(ACTIVATION, value, line)),
            Value::InlineTable(table) => choices.extend(starts(reader, table, line)?),
            other => return Err(reader.bad(line, "activations", EXPECTED, &other.to_string(), Vec::new())),
        }
    }
    Ok(choices)
}

/// One activation for every combination of starts.
fn starts(reader: &Reader<'_>, table: &dyn TableLike, line: usize) -> Result<Vec<Choice>, ConfigError> {
    if table.is_empty() {
        return Err(reader.bad(line, "activations", "a table with `name`", "an empty one", Vec::new()));
    }
    let mut tables = vec![InlineTable::new()];
    for (key, item) in table.iter() {
        let whole = format!("activations.{key}");
        if is_of_the_config(key) {
            let whole = match item.as_table_like().and_then(|below| below.iter().next()) {
                Some((below, _)) => format!("{whole}.{below}"),
                None => whole,
            };
            let expected = "absent: every activation gets the same budget and the same everything else, so this belongs \
                            into `set`, for all cells, or under `[axes]`, which is crossed with all activations";
            return Err(reader.bad(line, &whole, expected, &shown(item), Vec::new()));
        }
        let Some(value) = item.as_value() else {
            return Err(reader.bad(line, &whole, "a value", &shown(item), Vec::new()));
        };
        let values: Vec<&Value> = value.as_array().map_or(vec![value], |array| array.iter().collect());
        if values.is_empty() {
            return Err(reader.bad(line, &whole, "a value, or an array of at least one", "[]", Vec::new()));
        }
        let with = |table: &InlineTable, value: &Value| {
            let mut table = table.clone();
            table.insert(key, bare(value));
            table
        };
        tables = values.iter().flat_map(|value| tables.iter().map(move |table| with(table, value))).collect();
    }
    Ok(tables.into_iter().map(|table| choice(ACTIVATION, &Value::InlineTable(table), line)).collect())
}

/// Whether a key of an activation's table is one of the config, such as `schedule.epochs` or `seed`.
fn is_of_the_config(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or_default();
    first == SEED || SECTIONS.iter().any(|(section, _)| *section == first)
}

/// The value without the blanks and comments around it in the file.
fn bare(value: &Value) -> Value {
    let mut value = value.clone();
    value.decor_mut().clear();
    value
}

/// A value for tables: an activation's name (its file's without the ending) comes first, then what else its table says.
fn label(value: &Value) -> String {
    match value {
        Value::String(text) => text.value().clone(),
        Value::InlineTable(table) => {
            let file = table.get("file").and_then(Value::as_str).and_then(|file| Path::new(file).file_stem());
            let name = match (table.get("name"), file) {
                (Some(name), _) => label(name),
                (None, Some(stem)) => stem.to_string_lossy().into_owned(),
                (None, None) => "layers".to_owned(),
            };
            let others = table.iter().filter(|(key, _)| !matches!(*key, "name" | "file"));
            others.fold(name, |text, (key, value)| format!("{text} {key}={}", label(value)))
        }
        other => bare(other).to_string(),
    }
}

fn refuse_doubles(reader: &Reader<'_>, axis: &Axis) -> Result<(), ConfigError> {
    for (index, choice) in axis.choices.iter().enumerate() {
        let same = |other: &&Choice| folder_name(&other.label) == folder_name(&choice.label);
        if let Some(first) = axis.choices[..index].iter().find(same) {
            let (line, before) = (choice.given.line.unwrap_or(1), first.given.line.unwrap_or(1));
            let expected = format!("values that differ (the same is on line {before})");
            return Err(reader.bad(line, &axis.key, &expected, &choice.label, Vec::new()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::file;

    fn axes(text: &str) -> Result<Vec<Axis>, String> {
        let text = format!("config = 'x'\n{text}");
        file::parse(&text, Path::new("s.toml")).map(|file| file.axes).map_err(|error| error.to_string())
    }

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.choices.iter().map(|choice| choice.label.as_str()).collect()
    }

    #[test]
    fn a_list_of_starts_is_one_activation_each() {
        let found =
            axes("activations = ['gelu',\n { name = 'crrelu', epsilon = [-0.1, 0.01], decay = true }]").unwrap();
        assert_eq!(labels(&found[0]), ["gelu", "crrelu epsilon=-0.1 decay=true", "crrelu epsilon=0.01 decay=true"]);
        let set = "model.activation={ name = 'crrelu', epsilon = -0.1, decay = true }".replace('\'', "\"");
        let given = &found[0].choices[1].given;
        assert_eq!((given.set.replace('\'', "\""), given.line), (set, Some(3)));
        let in_tables =
            axes("[[activations]]\nname = 'crrelu'\nepsilon = [1, 2]\n[[activations]]\nname = 'elu'\n").unwrap();
        assert_eq!(labels(&in_tables[0]), ["crrelu epsilon=1", "crrelu epsilon=2", "elu"]);
        let by_layer = axes("activations = [{ default = 'gelu', 'blocks.8-11' = 'crrelu' }]").unwrap();
        assert_eq!(labels(&by_layer[0]), ["layers default=gelu blocks.8-11=crrelu"]);
        let by_file = axes("activations = [{ file = ['some/a.toml', 'b.toml'] }]").unwrap();
        assert_eq!(labels(&by_file[0]), ["a", "b"]);
    }

    #[test]
    fn further_keys_are_axes_however_they_are_written() {
        let quoted = axes("seeds = [1, 2]\n[axes]\n'optimizer.learning_rate' = [1e-4, 1e-3]").unwrap();
        let dotted = axes("seeds = [1, 2]\n[axes]\noptimizer.learning_rate = [1e-4, 1e-3]").unwrap();
        assert_eq!(quoted, dotted);
        assert_eq!((quoted[0].key.as_str(), labels(&quoted[0])), ("optimizer.learning_rate", vec!["0.0001", "0.001"]));
        assert_eq!(quoted[0].choices[1].given.set, "optimizer.learning_rate=0.001");
        assert_eq!((quoted[1].key.as_str(), labels(&quoted[1])), ("seed", vec!["1", "2"]));
    }

    #[track_caller]
    fn refused(text: &str, says: &[&str]) {
        let error = axes(text).expect_err(text);
        for words in says {
            assert!(error.contains(words), "{words:?} is not in: {error}");
        }
    }

    #[test]
    fn no_activation_gets_a_budget_of_its_own() {
        for key in ["schedule.epochs", "\"schedule.epochs\"", "train.batch_size", "optimizer.learning_rate"] {
            let text = format!("activations = ['gelu', {{ name = 'crrelu', {key} = 5 }}]");
            refused(&text, &["s.toml:2", key.trim_matches('"'), "same budget", "[axes]"]);
        }
        refused("activations = [{ name = 'crrelu', seed = 5 }]", &["activations.seed", "same budget"]);
    }

    #[test]
    fn what_cannot_be_crossed_is_refused_with_its_line() {
        refused("models = [1]", &["s.toml:2: `models`", "names of models"]);
        refused("seeds = [1,\n -2]", &["s.toml:3: `seeds`", "found -2"]);
        refused("seeds = [1, 2,\n 1]", &["s.toml:3: `seed`", "on line 2"]);
        refused("activations = ['gelu', 'gelu']", &["differ"]);
        refused("activations = [{ name = 'crrelu', epsilon = [] }]", &["s.toml:2: `activations.epsilon`"]);
        refused("activations = ['gelu', {}]", &["s.toml:2: `activations`", "empty"]);
        refused("activations = [3]", &["names of activations"]);
        refused("[axes]\nseed = [1]", &["s.toml:3: `axes.seed`", "`seeds`"]);
        refused("[axes]\nmodel.activation.epsilon = [1]", &["s.toml:3", "`activations`"]);
        refused("[axes]\noptimizer.learning_rate = 3", &["s.toml:3", "an array"]);
        refused("axes = 3", &["s.toml:2: `axes`"]);
    }

    #[test]
    fn names_of_folders_are_plain() {
        assert_eq!(folder_name("crrelu epsilon=-0.1"), "crrelu_epsilon_-0.1");
        assert_eq!(folder_name("ε/../x"), "__.._x");
    }
}
