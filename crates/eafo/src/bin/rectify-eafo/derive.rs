//! `rectify eafo derive`: the correction of an activation, its step, its plot and its file.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use activations::TableFile;
use anyhow::Context;
use clap::{Args, ValueEnum};
use eafo::correction::{Derivation, Form, derive_with_share, derive_with_step};
use eafo::density;
use eafo::formula::{authors_form, formula};
use eafo::function::{Function, Map as _};
use eafo::pieces::Direction;
use serde_json::{Value, json};

use crate::{drawing, report};

/// Derive the correction of an activation for a density of pre-activations, and the step that lowers entropy most.
#[derive(Args)]
pub struct Arguments {
    /// The activation, with parameters in parentheses where they are not the usual ones: softplus, gelu, elu(0.5). Or the TOML file
    /// of one that was derived before.
    #[arg(long, value_name = "NAME")]
    activation: String,
    /// The density of pre-activations.
    #[arg(long, value_name = "DENSITY", default_value = "gaussian")]
    density: String,
    /// Pre-activations that are corrected; the function must have an inverse there. Without it: the best of some intervals.
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = interval)]
    interval: Option<(f64, f64)>,
    /// The step t of y + t·η. Without it: the one that lowers entropy most, up to 0.9 of those that leave an inverse.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    step: Option<f64>,
    /// Go only this share of the step that lowers entropy most; a negative one goes the other way.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, allow_hyphen_values = true, conflicts_with = "step")]
    share: f64,
    /// What the file tabulates.
    #[arg(long, value_enum, default_value_t = Which::Exact)]
    form: Which,
    /// What the new activation is called. Without it: after the activation and the density.
    #[arg(long)]
    name: Option<String>,
    /// Write a plot (SVG and PNG) and the file to train with (TOML) into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Which new activation ([`Form`]).
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Which {
    /// The exact inverse of y + t·η.
    Exact,
    /// The first-order form f − t·η·f′.
    FirstOrder,
}

fn interval(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("`{text}` is no interval; write LOW,HIGH, such as -2,2");
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let number = |part: &str| part.trim().parse::<f64>().map_err(|_| wrong());
    Ok((number(low)?, number(high)?))
}

/// Derives, writes what was asked for, and gives the text to print.
pub fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let function = Function::parse(&arguments.activation)?;
    let density = density::parse(&arguments.density)?;
    let found = match arguments.step {
        Some(step) => derive_with_step(&function, density.as_ref(), arguments.interval, step)?,
        None => derive_with_share(&function, density.as_ref(), arguments.interval, arguments.share)?,
    };
    let (file, error) = tabulated(&found, arguments)?;
    let mut written = Vec::new();
    if let Some(folder) = &arguments.out {
        written = write(&found, &file, folder)?;
    }
    if arguments.json {
        let mut all = as_json(&found, error);
        all["files"] = json!(written);
        return Ok(format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let mut text = as_text(&found, error);
    for path in &written {
        let _ = writeln!(text, "written             {path}");
    }
    if written.is_empty() {
        text.push_str("\nWith --out DIR: a plot, and a TOML file for activation = { file = \"…\" }.\n");
    }
    Ok(text)
}

fn tabulated(found: &Derivation<'_>, arguments: &Arguments) -> anyhow::Result<(TableFile, f64)> {
    let (form, ending) = match arguments.form {
        Which::Exact => (Form::Exact, ""),
        Which::FirstOrder => (Form::FirstOrder, "-first-order"),
    };
    let (base, density) = (found.correction.function().name(), found.correction.density().name());
    let name = arguments.name.clone().unwrap_or_else(|| report::slug(&[&base, &density]) + ending);
    found.file(form, &name).context("the new activation cannot be tabulated")
}

fn write(found: &Derivation<'_>, file: &TableFile, folder: &Path) -> anyhow::Result<Vec<String>> {
    report::folder(folder)?;
    file.write(&folder.join(format!("{}.toml", file.name)))?;
    drawing::derivation(found)?.write(folder, &file.name)?;
    let path = |extension: &str| folder.join(format!("{}.{extension}", file.name)).display().to_string();
    Ok(["toml", "svg", "png"].map(path).to_vec())
}

/// One line of the correction's table.
struct Row {
    branch: usize,
    /// The argument of the inverse.
    x: f64,
    /// The inverse: a pre-activation.
    y: f64,
    eta: f64,
}

/// η over each branch; where it has no limit at an end, rows stop short of it.
fn rows(found: &Derivation<'_>) -> Vec<Row> {
    const ROWS: usize = 160;
    let correction = &found.correction;
    let mut rows = Vec::new();
    for (branch, part) in correction.branches().iter().enumerate() {
        let room = 1e-3 * (part.high() - part.low());
        for i in 0..=ROWS {
            let y = part.low() + room + (part.high() - part.low() - 2.0 * room) * i as f64 / ROWS as f64;
            rows.push(Row { branch, x: correction.function().value(y), y, eta: correction.eta(y) });
        }
    }
    rows.retain(|row| row.eta.is_finite() && row.x.is_finite());
    // On a falling branch the argument falls where the inverse rises.
    rows.sort_by(|a, b| a.branch.cmp(&b.branch).then(a.x.total_cmp(&b.x)));
    rows
}

/// Each branch with its arguments and its probability; and the heaviest.
fn branches(found: &Derivation<'_>) -> (Vec<Value>, usize) {
    let (correction, density) = (&found.correction, found.correction.density());
    let mass = |branch: &eafo::correction::Branch| density.cdf(branch.high()) - density.cdf(branch.low());
    let value = |branch: &eafo::correction::Branch| {
        let (low, high) = arguments_of(found, branch);
        let falling = branch.direction_of_function() == Direction::Falling;
        let (from, to) = branch.untouched();
        json!({
            "direction": if falling { "falling" } else { "rising" },
            "interval": [low, high],
            "preactivation_interval": [branch.low(), branch.high()],
            "untapered": [from, to],
            "mass": mass(branch),
        })
    };
    let all = correction.branches();
    let heaviest = (0..all.len()).max_by(|a, b| mass(&all[*a]).total_cmp(&mass(&all[*b]))).unwrap_or(0);
    (all.iter().map(value).collect(), heaviest)
}

fn arguments_of(found: &Derivation<'_>, branch: &eafo::correction::Branch) -> (f64, f64) {
    let ends = [branch.low(), branch.high()].map(|x| found.correction.function().value(x));
    (ends[0].min(ends[1]), ends[0].max(ends[1]))
}

fn as_json(found: &Derivation<'_>, table_error: f64) -> Value {
    let correction = &found.correction;
    let (branches, heaviest) = branches(found);
    let rows: Vec<Value> =
        rows(found).iter().map(|row| json!({ "x": row.x, "y": row.y, "eta": row.eta, "branch": row.branch })).collect();
    let (low, high) = arguments_of(found, &correction.branches()[heaviest]);
    let normalised = found.deviations.map(
        |(before, after)| json!({ "before": found.before.normalised(before), "after": found.after.normalised(after) }),
    );
    json!({
        "activation": correction.function().name(),
        "density": correction.density().name(),
        "formula": formula(correction.function(), correction.density()),
        "entropy_before": found.before.continuous,
        "entropy_after": found.after.continuous,
        "entropy_error": found.before.error.max(found.after.error),
        "step": found.step,
        "step_limit": found.most,
        "interval": [low, high],
        "preactivation_interval": [correction.interval().0, correction.interval().1],
        "branches": branches,
        "atoms": found.before.atoms,
        "mixed_before": found.before.mixed(),
        "mixed_after": found.after.mixed(),
        "normalised": normalised,
        "sign": { "step": found.sign.step, "along": found.sign.along, "against": found.sign.against, "none": found.before.mixed() },
        "first_order": { "step": found.first_order_step, "entropy_after": found.first_order.continuous },
        "table_error": table_error,
        "table": rows,
    })
}

fn as_text(found: &Derivation<'_>, table_error: f64) -> String {
    let correction = &found.correction;
    let n = |value: f64| report::number(Some(value));
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:<20}{value}");
    };
    line("activation", correction.function().name());
    line("density", correction.density().name());
    match formula(correction.function(), correction.density()) {
        Some(formula) => line("correction", formula),
        None => line("correction", "η(x) = −(p(y)·y″/y′ + p′(y)·y′), by numbers: see the table below".to_owned()),
    }
    if matches!(correction.function().plain_name(), "gelu" | "silu" | "mish") {
        line("the authors' form", authors_form(correction.function()));
    }
    let (low, high) = correction.interval();
    line("pre-activations", format!("[{}, {}]", n(low), n(high)));
    for branch in correction.branches() {
        let (from, to) = arguments_of(found, branch);
        let way = if branch.direction_of_function() == Direction::Falling { "falling" } else { "rising" };
        let (a, b) = branch.untouched();
        line(
            "  branch",
            format!(
                "{way} on [{}, {}], x in [{}, {}], not tapered on [{}, {}]",
                n(branch.low()),
                n(branch.high()),
                n(from),
                n(to),
                n(a),
                n(b)
            ),
        );
    }
    for atom in &found.before.atoms {
        line("  atom", format!("at {} with probability {}", n(atom.value), n(atom.mass)));
    }
    line("step", format!("{} (an inverse is left below {})", n(found.step), n(found.most)));
    line(
        "entropy",
        format!(
            "{} → {} nats (± {:.0e})",
            n(found.before.continuous),
            n(found.after.continuous),
            found.before.error.max(found.after.error)
        ),
    );
    if let Some((before, after)) = found.deviations {
        line(
            "scale-normalised",
            format!("{} → {}", n(found.before.normalised(before)), n(found.after.normalised(after))),
        );
    }
    let sign = found.sign;
    line(
        "sign",
        format!(
            "at ±{}: {} along η, {} against it, {} without",
            n(sign.step),
            n(sign.along),
            n(sign.against),
            n(found.before.mixed())
        ),
    );
    line("first-order form", format!("{} nats at step {}", n(found.first_order.continuous), n(found.first_order_step)));
    line("table", format!("off by {table_error:.1e} at most"));
    let all = rows(found);
    let shown = all.iter().step_by((all.len() / 20).max(1));
    let header = ["branch", "x", "y", "η"];
    let cells = shown.map(|row| vec![(row.branch + 1).to_string(), n(row.x), n(row.y), n(row.eta)]).collect();
    format!("{text}\n{}", report::table(&header, cells))
}
