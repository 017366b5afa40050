//! `rectify eafo rank`: all activations by entropy, and beside measured accuracy.

use std::path::PathBuf;

use activations::TableFile;
use clap::Args;
use eafo::density;
use eafo::function::Function;
use eafo::rank::{Ranked, rank};
use serde_json::json;

use crate::report;
use crate::sweep::{self, Agreement};

/// Rank all activations by the entropy of their output, scaled to standard deviation 1 and as it is.
#[derive(Args)]
pub struct Arguments {
    /// The density of pre-activations.
    #[arg(long, value_name = "DENSITY", default_value = "gaussian")]
    density: String,
    /// Tabulated activations that are ranked too, such as a search's; those of a sweep are told by their names.
    #[arg(long, value_name = "TOML", num_args = 1..)]
    tables: Vec<PathBuf>,
    /// The results.csv of `rectify sweep`: also tell the rank correlation with its accuracies.
    #[arg(long, value_name = "CSV")]
    sweep: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Ranks, and gives the text to print.
pub fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let density = density::parse(&arguments.density)?;
    let tables = arguments.tables.iter().map(|path| Ok(Function::table(&TableFile::read(path)?)));
    let tables = tables.collect::<anyhow::Result<Vec<_>>>()?;
    let ranked = rank(&[Function::all(), tables.clone()].concat(), density.as_ref())?;
    let agreement = match &arguments.sweep {
        Some(path) => sweep::agreement(path, &tables, density.as_ref())?,
        None => Vec::new(),
    };
    if arguments.json {
        let all = json!({ "density": density.name(), "activations": ranked, "sweep": agreement });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let mut text =
        format!("Activations on {}, by scale-normalised entropy in nats\n\n{}", density.name(), table(&ranked));
    text.push_str(
        "\nWith atoms, entropy is that of the choice between them and the rest, plus the rest's share of its own. The most\n\
         that any output scaled to deviation 1 can have is 1.4189, the Gaussian's.\n",
    );
    for group in &agreement {
        text.push_str(&sweep_text(group));
    }
    Ok(text)
}

fn table(ranked: &[Ranked]) -> String {
    let header = ["activation", "scale-normalised", "entropy", "continuous part", "share in atoms", "deviation"];
    let row = |one: &Ranked| {
        vec![
            one.activation.clone(),
            report::number(one.normalised),
            report::number(Some(one.mixed)),
            report::number(Some(one.entropy.continuous)),
            report::percent(Some(1.0 - one.entropy.continuous_mass)),
            report::number(one.deviation),
        ]
    };
    report::table(&header, ranked.iter().map(row).collect())
}

fn sweep_text(group: &Agreement) -> String {
    let header = ["activation", "top-1, %", "runs", "entropy", "scale-normalised"];
    let row = |one: &sweep::Measured| {
        vec![
            one.activation.clone(),
            format!("{:.2}", one.top1),
            one.runs.to_string(),
            report::number(Some(one.entropy)),
            report::number(one.normalised),
        ]
    };
    let rows = group.measured.iter().map(row).collect();
    format!(
        "\n{}\n\n{}\nSpearman's rank correlation of top-1 with entropy: {}; with scale-normalised entropy: {}.\n\
         The method expects it to be negative. It means little for {} activation(s).{}\n",
        group.model,
        report::table(&header, rows),
        report::number(group.with_entropy),
        report::number(group.with_normalised),
        group.measured.len(),
        if group.left_out.is_empty() { String::new() } else { format!(" Left out: {}.", group.left_out.join(", ")) },
    )
}
