//! `rectify-eafo`: derives, ranks and examines activations by entropy, one file a command.

mod bayes;
mod derive;
mod drawing;
mod epsilon;
mod layers;
mod page;
mod panel;
mod rank;
mod report;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use world::Exit;

const EXAMPLES: &str = "\
Examples:
  rectify eafo derive --activation softplus --density gaussian --out runs/eafo
  rectify eafo derive --activation gelu --density 'layers(layers.json)' --json
  rectify eafo derive --activation runs/eafo/softplus-gaussian.toml --share 0.5
  rectify eafo rank --density 'student-t(5)' --sweep runs/starts/results.csv
  rectify eafo layers layers.json --out runs/eafo
  rectify eafo epsilon --activation crrelu --density half-normal --out runs/eafo
  rectify eafo bayes --density 'mixture(0.5: -1, 1; 0.5: 1, 1)'

Densities: gaussian, half-normal, student-t(nu), laplace, logistic, uniform, mixture(weight: mean, deviation; …), kde(FILE),
histogram(FILE), layers(FILE) of `rectify inspect`; with their parameters in parentheses, as in gaussian(0, 2). Entropies are in nats.
docs/eafo.md has the mathematics.

Exit codes: 0 done, 2 the command line or a file is wrong.
";

/// Searches activations by the entropy of their output.
#[derive(Parser)]
#[command(name = "rectify-eafo", version, max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Derive(derive::Arguments),
    Rank(rank::Arguments),
    Layers(layers::Arguments),
    Epsilon(epsilon::Arguments),
    Bayes(bayes::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Derive(arguments) => derive::run(&arguments),
        Command::Rank(arguments) => rank::run(&arguments),
        Command::Layers(arguments) => layers::run(&arguments),
        Command::Epsilon(arguments) => epsilon::run(&arguments),
        Command::Bayes(arguments) => bayes::run(&arguments),
    };
    match done {
        Ok(text) => {
            // Whoever closes the pipe has read enough.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            ExitCode::from(Exit::Done.code() as u8)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(Exit::Config.code() as u8)
        }
    }
}
