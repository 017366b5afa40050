//! `rectify eafo bayes`: entropy and Bayes error of classes, before and after activations.

use anyhow::bail;
use clap::Args;
use eafo::EafoError;
use eafo::bayes::{Examination, examine};
use eafo::density::{self, Density, Mixture};
use eafo::function::Function;

use crate::report;

/// Compare entropy and Bayes error before and after activations; the classes are the parts of a mixture.
#[derive(Args)]
pub struct Arguments {
    /// The classes, such as `mixture(0.5: -1, 1; 0.5: 1, 1)`: weight: mean, standard deviation.
    #[arg(long, value_name = "MIXTURE")]
    density: String,
    /// An activation; may be given many times. Without it: all.
    #[arg(long, value_name = "NAME")]
    activation: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Examines, and gives the text to print.
pub fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let classes = density::parse_mixture(&arguments.density)?;
    if classes.parts().len() < 2 {
        bail!("`{}` is one class; a Bayes error needs two or more parts", arguments.density);
    }
    let functions = match arguments.activation.as_slice() {
        [] => Function::all(),
        names => names.iter().map(|name| Function::parse(name)).collect::<Result<_, EafoError>>()?,
    };
    let found = functions.iter().map(|function| examine(function, &classes)).collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&found)?));
    }
    Ok(text(&classes, &found))
}

fn text(classes: &Mixture, found: &[Examination]) -> String {
    let header = ["activation", "entropy", "scale-normalised, change", "share in atoms", "Bayes error"];
    let row = |one: &Examination| {
        vec![
            one.activation.clone(),
            report::number(Some(one.entropy_after.mixed())),
            report::number(one.normalised_change),
            report::percent(Some(1.0 - one.entropy_after.continuous_mass)),
            report::percent(Some(one.error_after)),
        ]
    };
    let before = found.first().map_or((f64::NAN, f64::NAN), |one| (one.entropy_before, one.error_before));
    format!(
        "{}: entropy {} nats, Bayes error {} before any activation\n\n{}\n\
         A function with an inverse leaves the Bayes error as it is, whatever it does to entropy.\n",
        classes.name(),
        report::number(Some(before.0)),
        report::percent(Some(before.1)),
        report::table(&header, found.iter().map(row).collect()),
    )
}
