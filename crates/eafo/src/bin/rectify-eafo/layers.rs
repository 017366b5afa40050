//! `rectify eafo layers`: what the pre-activations of a trained network look like, layer by layer.

use std::path::PathBuf;

use clap::Args;
use eafo::layers::{LayerFile, Reading};
use serde_json::json;

use crate::{drawing, report};

/// Read the histograms of pre-activations that `rectify inspect` writes: distance from a Gaussian, entropy, dead units, ε.
#[derive(Args)]
pub struct Arguments {
    /// The JSON file of histograms (docs/eafo.md has its format).
    file: PathBuf,
    /// Write a page of plots into this folder, as layers.svg and layers.png.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Reads, draws, and gives the text to print.
pub fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let file = LayerFile::read(&arguments.file)?;
    let readings = file.layers.iter().map(|layer| layer.reading()).collect::<Result<Vec<_>, _>>()?;
    let mut told = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&json!({ "model": file.model, "layers": readings }))?)
    } else {
        text(&file, &readings)
    };
    if let Some(folder) = &arguments.out {
        report::folder(folder)?;
        drawing::layers(&file, &readings)?.write(folder, "layers")?;
        if !arguments.json {
            told.push_str(&format!("\nplots     {}\n", folder.join("layers.svg").display()));
        }
    }
    Ok(told)
}

fn text(file: &LayerFile, readings: &[Reading]) -> String {
    let header = [
        "layer",
        "activation",
        "ε",
        "mean",
        "deviation",
        "kurtosis",
        "total variation",
        "KS",
        "entropy before",
        "after",
        "after, normalised",
        "flat",
        "dead units",
    ];
    let row = |one: &Reading| {
        vec![
            one.name.clone(),
            one.activation.split('(').next().unwrap_or_default().to_owned(),
            report::number(one.epsilon),
            report::number(Some(one.mean)),
            report::number(Some(one.deviation)),
            report::number(Some(one.kurtosis)),
            report::number(Some(one.total_variation)),
            report::number(Some(one.kolmogorov)),
            report::number(Some(one.entropy_before)),
            report::number(Some(one.entropy_after)),
            report::number(one.normalised_after),
            report::percent(Some(one.flat_share)),
            report::percent(one.dead_share),
        ]
    };
    let outside = readings.iter().map(|one| one.outside_share).fold(0.0, f64::max);
    format!(
        "{} ({} images{})\n\n{}\nTotal variation and KS are distances from the Gaussian of the same mean and variance; entropies are in nats, \
         without the\nvalues outside the histograms (at most {} of a layer). Flat: values where the activation has no slope.\n",
        file.model,
        file.images,
        if file.source.is_empty() { String::new() } else { format!(", {}", file.source) },
        report::table(&header, readings.iter().map(row).collect()),
        report::percent(Some(outside)),
    )
}
