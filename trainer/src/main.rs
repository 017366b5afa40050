//! `rectify-trainer`: one process for each rank of a run, and what is done with trained networks.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{bench, eval, export, inspect, predict, train};

/// Trains vision transformers: one process for each rank, started by `rectify`, by `mpirun`, or alone.
#[derive(Parser)]
#[command(name = "rectify-trainer", version, long_version = long_version(), max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Train as a config says.
    Train(train::Arguments),
    /// Measure how fast a config's steps are, and what holds them back.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Score a trained network on a set of images.
    #[command(after_help = eval::EXAMPLES)]
    Eval(eval::Arguments),
    /// Write histograms of what a trained network's activations are applied to.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Arguments),
    /// Name what images show.
    #[command(after_help = predict::EXAMPLES)]
    Predict(predict::Arguments),
    /// Write the weights of a checkpoint as a safetensors file that timm loads.
    #[command(after_help = export::EXAMPLES)]
    Export(export::Arguments),
}

fn long_version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (libtorch ", env!("RECTIFY_LIBTORCH_VERSION"), ")")
}

fn main() -> ExitCode {
    let exit = match Command::parse().action {
        Action::Train(arguments) => train::run(&arguments),
        Action::Bench(arguments) => bench::run(&arguments),
        Action::Eval(arguments) => eval::run(&arguments),
        Action::Inspect(arguments) => inspect::run(&arguments),
        Action::Predict(arguments) => predict::run(&arguments),
        Action::Export(arguments) => export::run(&arguments),
    };
    exit.into()
}
