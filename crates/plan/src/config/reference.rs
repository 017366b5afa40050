//! The reference of all keys in Markdown, made from the schema so that it cannot be out of date.

use std::fmt::Write;

use toml::Table;

use super::{Activation, Config, REQUIRED, SECTIONS, TOP_LEVEL};
use crate::schema::Key;

const INTRODUCTION: &str = "\
# The config

A run is described by one TOML file. Any key can be set on the command line as well, where it wins over the file:
`--set train.batch_size=256 --set model.activation=gelu`. A value there is read as TOML, and as a string where it is none.
Unknown keys, wrong types and values out of range are refused before anything starts, with exit code 2.

This page is made from the schema in `crates/plan/src/config/`:
`cargo run --release -p plan --example config-reference > docs/config.md`.
";

/// All keys with what they take, their defaults and their meaning, as a page of Markdown.
pub fn reference() -> String {
    let defaults: Table = Config::default().to_toml().parse().expect("a config is TOML");
    let mut page = INTRODUCTION.to_owned();
    write_keys(&mut page, "At the top", TOP_LEVEL, |key| default_of(&defaults, key));
    for (section, keys) in SECTIONS {
        let table = defaults.get(*section).and_then(|section| section.as_table());
        write_keys(&mut page, &format!("`[{section}]`"), keys, |key| match table {
            _ if REQUIRED.contains(&(section, key)) => "none: has to be given".to_owned(),
            Some(table) => default_of(table, key),
            None => String::new(),
        });
    }
    let title = "`model.activation`, where it is a table";
    write_keys(&mut page, title, Activation::KEYS, |key| if key == "name" { code("\"gelu\"") } else { String::new() });
    page
}

fn write_keys(page: &mut String, title: &str, keys: &[Key], default: impl Fn(&str) -> String) {
    write!(page, "\n## {title}\n\n| key | default | takes | meaning |\n|---|---|---|---|\n")
        .expect("a string takes all");
    for key in keys {
        let (name, takes, help) = (key.name, key.kind.expected(), key.help.trim());
        writeln!(page, "| `{name}` | {} | {takes} | {help} |", default(name)).expect("a string takes all");
    }
}

/// The default of a key; nothing where its meaning says what happens without it.
fn default_of(table: &Table, key: &str) -> String {
    match table.get(key) {
        Some(toml::Value::String(text)) if text.is_empty() => String::new(),
        Some(value) => code(&value.to_string()),
        None => String::new(),
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
