//! `rectify eafo epsilon`: entropy over ε, both signs of it.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use eafo::density;
use eafo::function::Function;
use eafo::rank::{Ranked, rank};
use serde_json::json;

use crate::{drawing, report};

/// Follow the entropy of an activation with a correction ε·x·e^(−x²/2) over ε, on both sides of 0.
#[derive(Args)]
pub struct Arguments {
    /// crrelu, crgelu, crsilu or crmish.
    #[arg(long, value_name = "NAME", default_value = "crrelu")]
    activation: String,
    /// The density of pre-activations.
    #[arg(long, value_name = "DENSITY", default_value = "half-normal")]
    density: String,
    /// Values of ε; without it from −0.9 to 1 by 0.05, and 0.01.
    #[arg(long, value_name = "E,…", allow_hyphen_values = true, value_delimiter = ',')]
    epsilon: Vec<f64>,
    /// Write a plot into this folder (SVG and PNG).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Measures, draws, and gives the text to print.
pub fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let density = density::parse(&arguments.density)?;
    let Some(activation) = Function::parse(&arguments.activation)?.activation() else {
        bail!("{} has no ε; crrelu, crgelu, crsilu and crmish have", arguments.activation);
    };
    ensure!(
        activation.parameters().first().is_some_and(|parameter| parameter.name == "epsilon"),
        "{activation} has no ε; crrelu, crgelu, crsilu and crmish have"
    );
    let mut epsilons = arguments.epsilon.clone();
    if epsilons.is_empty() {
        epsilons = (-18..=20).map(|i| f64::from(i) / 20.0).chain([0.01]).collect();
    }
    epsilons.sort_by(f64::total_cmp);
    let function = |epsilon: &f64| Function::catalogue(activation, &[*epsilon]);
    let mut found: Vec<(f64, Ranked)> = Vec::new();
    for epsilon in &epsilons {
        let mut ranked = rank(&[function(epsilon)?], density.as_ref())?;
        found.extend(ranked.pop().map(|one| (*epsilon, one)));
    }
    let mut told = if arguments.json {
        let rows: Vec<_> = found.iter().map(|(epsilon, one)| json!({ "epsilon": epsilon, "output": one })).collect();
        let all = json!({ "activation": activation.name(), "density": density.name(), "epsilons": rows });
        format!("{}\n", serde_json::to_string_pretty(&all)?)
    } else {
        format!("{activation} on {}, entropies in nats\n\n{}", density.name(), table(&found))
    };
    if let Some(folder) = &arguments.out {
        report::folder(folder)?;
        let name = report::slug(&[activation.name(), "epsilon", &density.name()]);
        drawing::epsilons(activation, density.as_ref(), &found)?.write(folder, &name)?;
        if !arguments.json {
            told.push_str(&format!("\nplot      {}\n", folder.join(format!("{name}.svg")).display()));
        }
    }
    Ok(told)
}

fn table(found: &[(f64, Ranked)]) -> String {
    let header = ["ε", "entropy, continuous part", "scale-normalised", "share in atoms", "deviation"];
    let row = |(epsilon, one): &(f64, Ranked)| {
        vec![
            format!("{epsilon}").replace('-', "−"),
            report::number(Some(one.entropy.continuous)),
            report::number(one.normalised),
            report::percent(Some(1.0 - one.entropy.continuous_mass)),
            report::number(one.deviation),
        ]
    };
    report::table(&header, found.iter().map(row).collect())
}
