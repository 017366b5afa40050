//! The accuracies of a sweep's `results.csv` beside entropies.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use eafo::density::Density;
use eafo::function::{Function, Map};
use eafo::rank::{rank, spearman};
use serde::Serialize;

/// One activation of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The activation with the parameters that it started from.
    pub activation: String,
    /// Mean of the final top-1 over runs, in percent.
    pub top1: f64,
    /// How many runs that is.
    pub runs: usize,
    /// Entropy of its output at the start, mixed, in nats.
    pub entropy: f64,
    /// The same scaled to standard deviation 1.
    pub normalised: Option<f64>,
}

/// The activations of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// The model.
    pub model: String,
    /// Its activations, the most accurate first.
    pub measured: Vec<Measured>,
    /// Rank correlation of top-1 with entropy; `None` for fewer than three activations.
    pub with_entropy: Option<f64>,
    /// Rank correlation of top-1 with scale-normalised entropy.
    pub with_normalised: Option<f64>,
    /// What has no one activation, or no top-1.
    pub left_out: Vec<String>,
}

struct Run {
    model: String,
    function: Function,
    top1: f64,
}

/// Reads a sweep and compares it with entropies on a density, model by model; `tables` are tabulated activations that it may name.
pub fn agreement(path: &Path, tables: &[Function], density: &dyn Density) -> anyhow::Result<Vec<Agreement>> {
    let (runs, left_out) = read(path, tables).with_context(|| path.display().to_string())?;
    let mut models: Vec<&str> = Vec::new();
    for run in &runs {
        if !models.contains(&run.model.as_str()) {
            models.push(&run.model);
        }
    }
    models.into_iter().map(|model| of_model(model, &runs, &left_out, density)).collect()
}

fn of_model(model: &str, runs: &[Run], left_out: &[String], density: &dyn Density) -> anyhow::Result<Agreement> {
    let mut groups: Vec<(&Function, Vec<f64>)> = Vec::new();
    for run in runs.iter().filter(|run| run.model == model) {
        match groups.iter_mut().find(|(function, _)| **function == run.function) {
            Some((_, all)) => all.push(run.top1),
            None => groups.push((&run.function, vec![run.top1])),
        }
    }
    let mut measured = Vec::new();
    for (function, all) in &groups {
        let ranked = rank(std::slice::from_ref(*function), density)?;
        let found = ranked.first().context("an activation has an entropy")?;
        measured.push(Measured {
            activation: function.name(),
            top1: all.iter().sum::<f64>() / all.len() as f64,
            runs: all.len(),
            entropy: found.mixed,
            normalised: found.normalised,
        });
    }
    measured.sort_by(|a, b| b.top1.total_cmp(&a.top1));
    let with = |of: &dyn Fn(&Measured) -> Option<f64>| {
        spearman(&measured.iter().filter_map(|one| of(one).map(|entropy| (one.top1, entropy))).collect::<Vec<_>>())
    };
    let (with_entropy, with_normalised) = (with(&|one| Some(one.entropy)), with(&|one| one.normalised));
    Ok(Agreement { model: model.to_owned(), with_entropy, with_normalised, measured, left_out: left_out.to_vec() })
}

fn read(path: &Path, tables: &[Function]) -> anyhow::Result<(Vec<Run>, Vec<String>)> {
    let mut reader = csv::Reader::from_path(path)?;
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let all: Vec<&str> = header.iter().collect();
        header.iter().position(|column| column == name).with_context(|| {
            format!("there is no column `{name}`, which `rectify sweep` writes; there are {}", all.join(", "))
        })
    };
    let (model, activation, settings, epsilon, top1) =
        (column("model")?, column("activation")?, column("settings")?, column("epsilon_start")?, column("top1")?);
    let (mut runs, mut left_out) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let named = format!("{} {}", cell(activation), cell(settings)).trim().to_owned();
        if cell(top1).is_empty() || cell(activation) == "layers" {
            left_out.push(named);
            continue;
        }
        let top1: f64 =
            cell(top1).parse().map_err(|_| anyhow!("line {line}: top1 is `{}`, which is no number", cell(top1)))?;
        if !top1.is_finite() {
            bail!("line {line}: top1 is {top1}");
        }
        let function = function(cell(activation), cell(settings), cell(epsilon), tables)
            .with_context(|| format!("line {line}"))?;
        runs.push(Run { model: cell(model).to_owned(), function, top1 });
    }
    if runs.is_empty() {
        bail!("no line has an activation and a top1");
    }
    left_out.dedup();
    Ok((runs, left_out))
}

/// The activation of a line: settings are `name=value`, those that are no parameter belong to training.
fn function(activation: &str, settings: &str, epsilon: &str, tables: &[Function]) -> anyhow::Result<Function> {
    if let Some(table) = tables.iter().find(|table| table.plain_name() == activation) {
        return Ok(table.clone());
    }
    let plain = Function::parse(activation)?;
    let Some(known) = plain.activation() else { return Ok(plain) };
    let mut values = known.initial_values();
    let mut set = |name: &str, value: &str| -> anyhow::Result<()> {
        if let Some(at) = known.parameters().iter().position(|parameter| parameter.name == name) {
            values[at] = value.parse().map_err(|_| anyhow!("{name} is `{value}`, which is no number"))?;
        }
        Ok(())
    };
    if !epsilon.is_empty() {
        set("epsilon", epsilon)?;
    }
    for (name, value) in settings.split_whitespace().filter_map(|setting| setting.split_once('=')) {
        set(name, value)?;
    }
    Ok(Function::catalogue(known, &values)?)
}
