//! A search's file: its keys, and what is wrong with them, by file and line.

use std::path::{Path, PathBuf};

use eafo::correction::Form;
use eafo::density;
use eafo::function::{Function, Map};
use plan::ConfigError;
use toml_edit::{TableLike, Value};

use crate::reader::{Reader, shown};
use crate::sweep::{self, ACTIVATION, Axis, Override, SEED};

/// The keys of a search's file.
const KEYS: [&str; 14] = [
    "name",
    "config",
    "set",
    "start",
    "densities",
    "shares",
    "form",
    "generations",
    "keep",
    "seeds",
    "confirm",
    "baseline",
    "nproc",
    "at_a_time",
];

/// The density that stands for the pre-activations of a candidate's own trained network.
pub const MEASURED: &str = "measured";

/// What a search's file says.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchFile {
    /// The file itself, for messages.
    pub path: PathBuf,
    /// Names the search and its folder.
    pub name: String,
    /// The config that every candidate is trained with, found from where the search's file is.
    pub config: PathBuf,
    /// What all runs share beyond the config.
    pub shared: Vec<Override>,
    /// The activations that the search begins with, and their lines.
    pub start: Vec<(String, usize)>,
    /// The densities that corrections are derived for; [`MEASURED`] among them, perhaps.
    pub densities: Vec<String>,
    /// The shares of the best step that are tried.
    pub shares: Vec<f64>,
    /// Which new activation.
    pub form: Form,
    /// How often corrections are derived from what was kept.
    pub generations: usize,
    /// How many candidates are kept after each generation.
    pub keep: usize,
    /// The seeds that every candidate is trained with.
    pub seeds: Vec<u64>,
    /// Further seeds, with which the best candidate and the baseline are trained at the end.
    pub confirm: Vec<u64>,
    /// The activation of `start` that the others are compared with, and its line.
    pub baseline: (String, usize),
    /// Ranks of each run; where the file is silent, what `rectify train` would take.
    pub nproc: Option<usize>,
    /// Runs at the same time.
    pub at_a_time: usize,
}

impl SearchFile {
    /// Which of `start` is the baseline.
    pub fn baseline_place(&self) -> usize {
        self.start.iter().position(|(text, _)| *text == self.baseline.0).unwrap_or_default()
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// Those of a config: with file, line, key, what was expected and found, and the nearest names.
pub fn read(path: &Path) -> Result<SearchFile, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// As [`read`], from the text of the file.
pub fn parse(text: &str, path: &Path) -> Result<SearchFile, ConfigError> {
    let reader = Reader::new(text, path);
    let document = reader.document(&KEYS)?;
    let table = document.as_table();
    let config = reader.required(table, "config", "the path of a config")?;
    let start = start(&reader, table)?;
    let baseline = reader.required(table, "baseline", "one of the activations of `start`")?;
    let seeds = seeds(&reader, table, "seeds")?;
    let missing = |key, expected| reader.missing(key, expected);
    let file = SearchFile {
        name: reader.name(table)?,
        config: path.parent().unwrap_or(Path::new("")).join(config),
        shared: sweep::shared(&reader, table, taken)?,
        densities: densities(&reader, table)?,
        shares: shares(&reader, table)?,
        form: form(&reader, table)?,
        generations: reader.count(table, "generations")?.unwrap_or(1),
        keep: reader.count(table, "keep")?.ok_or_else(|| missing("keep", "how many candidates a generation keeps"))?,
        seeds: seeds.ok_or_else(|| missing("seeds", "an array of seeds"))?,
        confirm: self::seeds(&reader, table, "confirm")?.unwrap_or_default(),
        baseline: (baseline, reader.line_of_key(table, "baseline")),
        nproc: reader.count(table, "nproc")?,
        at_a_time: reader.count(table, "at_a_time")?.unwrap_or(1),
        start,
        path: path.to_owned(),
    };
    let (wanted, line) = &file.baseline;
    let known = || file.start.iter().map(|(text, _)| text.as_str());
    if !known().any(|text| text == wanted) {
        let expected = format!("one of the activations of `start`: {}", known().collect::<Vec<_>>().join(", "));
        return Err(reader.bad(*line, "baseline", &expected, wanted, plan::nearest(wanted, known())));
    }
    if let Some(seed) = file.confirm.iter().find(|seed| file.seeds.contains(seed)) {
        let line = reader.line_of_key(table, "confirm");
        let expected = "seeds that are not among `seeds`, which have chosen the winner";
        return Err(reader.bad(line, "confirm", expected, &seed.to_string(), Vec::new()));
    }
    Ok(file)
}

/// What a candidate that the search begins with is called: after its file, or after the function.
pub fn name(text: &str, function: &Function) -> String {
    match Path::new(text).file_stem().filter(|_| text.ends_with(".toml")) {
        Some(stem) => slug(&stem.to_string_lossy()),
        None => slug(&function.name()),
    }
}

/// A text as a part of a name: `student-t(5)` is `student-t_5`, whatever else a name cannot have a dash.
pub fn slug(text: &str) -> String {
    let plain = text.replace('(', "_").replace(')', "");
    let plain = plain.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'), "-");
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Why an override cannot be shared by all candidates, in words that complete "must be …".
pub fn taken(set: &str) -> Option<String> {
    let axis = |key: &str| Axis { key: key.to_owned(), choices: Vec::new() };
    sweep::taken(set, &[axis(ACTIVATION), axis(SEED)])
}

/// The texts of an array with their lines, no two alike.
fn texts(reader: &Reader<'_>, table: &dyn TableLike, key: &str) -> Result<Option<Vec<(String, usize)>>, ConfigError> {
    let Some(array) = reader.array(table, key)? else { return Ok(None) };
    let mut texts: Vec<(String, usize)> = Vec::new();
    for value in array {
        let line = reader.line_of(value);
        let Some(text) = value.as_str() else {
            return Err(reader.bad(line, key, "texts in quotes", &value.to_string(), Vec::new()));
        };
        if texts.iter().any(|(other, _)| other == text) {
            return Err(reader.bad(line, key, "texts that differ", text, Vec::new()));
        }
        texts.push((text.to_owned(), line));
    }
    Ok(Some(texts))
}

fn start(reader: &Reader<'_>, table: &dyn TableLike) -> Result<Vec<(String, usize)>, ConfigError> {
    let texts = texts(reader, table, "start")?
        .ok_or_else(|| reader.missing("start", "an array of activations, such as [\"relu\", \"gelu\"]"))?;
    let mut names = Vec::new();
    for (text, line) in &texts {
        match Function::parse(text) {
            Ok(function) => names.push(name(text, &function)),
            Err(error) => return Err(reader.bad(*line, "start", "activations", &error.to_string(), Vec::new())),
        }
    }
    // Children are called after their parents: no other may be called like one.
    for (index, (text, line)) in texts.iter().enumerate() {
        let clashes = |other: usize| {
            other != index && (names[index] == names[other] || names[index].starts_with(&format!("{}-", names[other])))
        };
        if let Some(other) = (0..names.len()).find(|&other| clashes(other)) {
            let (name, other) = (&names[index], &names[other]);
            let expected =
                format!("names of their own; this is `{name}`, which `{other}` or a child of it is called too");
            return Err(reader.bad(*line, "start", &expected, text, Vec::new()));
        }
    }
    Ok(texts)
}

fn densities(reader: &Reader<'_>, table: &dyn TableLike) -> Result<Vec<String>, ConfigError> {
    let Some(texts) = texts(reader, table, "densities")? else { return Ok(vec!["gaussian".to_owned()]) };
    for (text, line) in texts.iter().filter(|(text, _)| text != MEASURED) {
        if let Err(error) = density::parse(text) {
            let expected = format!("\"{MEASURED}\", or densities as `rectify eafo` takes them");
            return Err(reader.bad(*line, "densities", &expected, &error.to_string(), Vec::new()));
        }
    }
    Ok(texts.into_iter().map(|(text, _)| text).collect())
}

fn shares(reader: &Reader<'_>, table: &dyn TableLike) -> Result<Vec<f64>, ConfigError> {
    let number = |value: &Value| {
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        number.filter(|share| (-1.0..=1.0).contains(share) && *share != 0.0)
    };
    let expected = "numbers from -1 to 1, but not 0: shares of the step that lowers entropy most, which differ";
    Ok(values(reader, table, "shares", expected, number)?.unwrap_or_else(|| vec![1.0]))
}

fn seeds(reader: &Reader<'_>, table: &dyn TableLike, key: &str) -> Result<Option<Vec<u64>>, ConfigError> {
    let whole = |value: &Value| value.as_integer().and_then(|seed| u64::try_from(seed).ok());
    values(reader, table, key, "whole numbers from 0 on, which differ", whole)
}

/// The values of an array, no two alike.
fn values<T: PartialEq>(
    reader: &Reader<'_>,
    table: &dyn TableLike,
    key: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<Vec<T>>, ConfigError> {
    let Some(array) = reader.array(table, key)? else { return Ok(None) };
    let mut values = Vec::new();
    for value in array {
        match read(value).filter(|new| !values.contains(new)) {
            Some(new) => values.push(new),
            None => return Err(reader.bad(reader.line_of(value), key, expected, &value.to_string(), Vec::new())),
        }
    }
    Ok(Some(values))
}

fn form(reader: &Reader<'_>, table: &dyn TableLike) -> Result<Form, ConfigError> {
    let Some(item) = table.get("form") else { return Ok(Form::Exact) };
    match item.as_str() {
        Some("exact") => Ok(Form::Exact),
        Some("first-order") => Ok(Form::FirstOrder),
        _ => {
            let line = reader.line_of_key(table, "form");
            Err(reader.bad(line, "form", "\"exact\" or \"first-order\"", &shown(item), Vec::new()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str =
        "config = 'base.toml'\nstart = ['relu', 'gelu']\nkeep = 2\nseeds = [1, 2]\nbaseline = 'gelu'\nconfirm = [3]\n";

    fn parsed(text: &str) -> Result<SearchFile, String> {
        parse(text, Path::new("configs/search.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_says_where_to_begin_and_what_to_try() {
        let file = parsed(SMALL).unwrap();
        assert_eq!((file.name.as_str(), file.config.to_str()), ("search", Some("configs/base.toml")));
        assert_eq!((file.densities, file.shares, file.form), (vec!["gaussian".to_owned()], vec![1.0], Form::Exact));
        assert_eq!((file.generations, file.keep, file.at_a_time), (1, 2, 1));
        let more = "densities = ['measured', 'student-t(5)']\nshares = [1, 0.5, -0.5]\nform = 'first-order'\n";
        let file = parsed(&format!("{SMALL}{more}generations = 3")).unwrap();
        assert_eq!((file.shares, file.form, file.generations), (vec![1.0, 0.5, -0.5], Form::FirstOrder, 3));
    }

    #[test]
    fn names_are_plain_and_tell_parameters_from_children() {
        let named = |text: &str| name(text, &Function::parse(text).unwrap());
        assert_eq!(["GELU", "crrelu(-0.1)"].map(named), ["gelu", "crrelu_-0.1"]);
        assert_eq!(["student-t(5)", "mixture(0.5: -2, 1)"].map(slug), ["student-t_5", "mixture_0.5-2-1"]);
        assert!(parsed(&SMALL.replace("'relu'", "'crrelu', 'crrelu(-0.1)'")).is_ok());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let refused = |text: &str, says: &[&str]| {
            let error = parsed(text).expect_err(text);
            assert!(says.iter().all(|words| error.contains(words)), "{error}");
        };
        refused(&SMALL.replace("'relu'", "'rely'"), &["search.toml:2: `start`", "did you mean relu"]);
        refused(&SMALL.replace("'relu'", "'GELU'"), &["search.toml:2: `start`", "names of their own"]);
        refused(&SMALL.replace("baseline = 'gelu'", "baseline = 'silu'"), &["search.toml:5: `baseline`", "relu, gelu"]);
        refused(&SMALL.replace("[3]", "[2]"), &["search.toml:6: `confirm`", "chosen the winner"]);
        refused(&SMALL.replace("[1, 2]", "[1, 1]"), &["search.toml:4: `seeds`", "differ"]);
        refused(&SMALL.replace("keep = 2", "keep = 0"), &["search.toml:3: `keep`", "at least 1"]);
        refused(&SMALL.replace("keep = 2\n", ""), &["`keep` is missing"]);
        refused(&format!("{SMALL}shares = [0]"), &["search.toml:7: `shares`", "not 0"]);
        refused(&format!("{SMALL}shares = [2.0]"), &["search.toml:7: `shares`"]);
        refused(&format!("{SMALL}densities = ['gausian']"), &["search.toml:7: `densities`", "gaussian"]);
        refused(&format!("{SMALL}form = 'second'"), &["search.toml:7: `form`", "first-order"]);
        refused(
            &format!("{SMALL}generation = 2"),
            &["search.toml:7: unknown key `generation`", "did you mean `generations`"],
        );
        refused(&format!("{SMALL}set = ['seed=3']"), &["search.toml:7: `set`", "seed=3"]);
    }
}
