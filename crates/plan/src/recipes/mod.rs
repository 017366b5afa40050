//! Published recipes: what each says as keys of a config, so that a config can be told how it differs.

use toml::{Table, Value};

use crate::config::Config;

/// A recipe as it was published, a file beside this one.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name in configs.
    pub name: &'static str,
    /// Who published it, and where.
    pub source: String,
    /// What it says that no key of a config can, and what happens here instead; one sentence each.
    pub beyond: Vec<String>,
    config: Table, // for all models
    models: Table, // by model, what it says about this one alone
    top1: Table,
}

/// A value of a config that is another one in its recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The whole key, such as `train.batch_size`.
    pub key: String,
    /// The recipe's value, as TOML.
    pub published: String,
    /// The config's, as TOML; an activation in words; empty where the key is not set.
    pub here: String,
}

const FILES: &[(&str, &str)] = &[
    ("crrelu", include_str!("crrelu.toml")),
    ("deit", include_str!("deit.toml")),
    ("deit-distilled", include_str!("deit-distilled.toml")),
    ("deit3", include_str!("deit3.toml")),
    ("swin", include_str!("swin.toml")),
    ("vit-plain", include_str!("vit-plain.toml")),
    ("vit-torchvision", include_str!("vit-torchvision.toml")),
];

/// The key that is an activation, by its name alone.
const ACTIVATION: &str = "model.activation";

/// The names that `recipe` takes.
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// The recipe of this name.
pub fn find(name: &str) -> Option<Recipe> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    let mut file: Table = text.parse().expect("a recipe that ships is TOML");
    let mut table = |key: &str| match file.remove(key) {
        Some(Value::Table(table)) => table,
        _ => Table::new(),
    };
    let (config, models, top1) = (table("config"), table("models"), table("top1"));
    let text_of = |value: &Value| value.as_str().expect("text").to_owned();
    let beyond = file["beyond"].as_array().expect("a list").iter().map(text_of).collect();
    Some(Recipe { name, source: text_of(&file["source"]), beyond, config, models, top1 })
}

impl Recipe {
    /// The models that it was published for.
    pub fn models(&self) -> Vec<&str> {
        let own = self.models.keys().filter(|model| !self.top1.contains_key(*model));
        self.top1.keys().chain(own).map(String::as_str).collect()
    }

    /// The top-1 that it reached on ImageNet-1K with this model, in percent.
    pub fn published_top1(&self, model: &str) -> Option<f64> {
        self.top1.get(model)?.as_float()
    }

    /// The keys that it sets for this model, with their values.
    pub fn values(&self, model: &str) -> Vec<(&str, &Value)> {
        let own = self.models.get(model).and_then(Value::as_table);
        let common = self.config.iter().filter(|(key, _)| own.is_none_or(|own| !own.contains_key(*key)));
        common.chain(own.into_iter().flatten()).map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// Where `config` says something else, by key.
    pub fn differences(&self, config: &Config) -> Vec<Difference> {
        let here = Value::Table(config.to_toml().parse().expect("a config is TOML"));
        let found = |key: &str| key.split('.').try_fold(&here, |at, part| at.get(part));
        let mut differences: Vec<Difference> = self
            .values(&config.model.name)
            .into_iter()
            .filter_map(|(key, published)| {
                let here = match (key, found(key)) {
                    (ACTIVATION, _) => config.model.activation.as_ref().map(|one| Value::String(one.words())),
                    (_, value) => value.cloned(),
                };
                if here.as_ref().is_some_and(|here| equal(here, published)) {
                    return None;
                }
                let here = match here {
                    Some(Value::String(words)) if key == ACTIVATION => words,
                    here => here.map_or_else(String::new, |value| value.to_string()),
                };
                Some(Difference { key: key.to_owned(), published: published.to_string(), here })
            })
            .collect();
        differences.sort_by(|a, b| a.key.cmp(&b.key));
        differences
    }
}

/// Equal as numbers, where both are.
fn equal(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
            _ => a == b,
        },
    }
}
