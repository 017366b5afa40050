//! The front door: checks the plan, places, starts, watches and ends ranks.

mod cause;
mod check;
mod cli;
mod command;
mod doctor;
mod dry_run;
mod ending;
mod family;
mod guard;
mod handing;
mod hosts;
mod lines;
mod machine;
mod models;
mod mpi;
mod placement;
mod reader;
mod restart;
mod screen;
mod search;
mod simulate;
mod stopping;
mod supervisor;
mod sweep;
mod tools;
mod train;
mod verdict;

use clap::Parser;

use cli::{Cli, Command};
use ending::Ending;

fn main() {
    let ending = run(Cli::parse()).err().unwrap_or_else(|| Ending::said(0));
    if !ending.message.is_empty() {
        eprintln!("{}", ending.message);
    }
    std::process::exit(ending.code);
}

fn run(cli: Cli) -> Result<(), Ending> {
    match cli.command {
        Command::Train(arguments) => train::train(&arguments),
        Command::Sweep(arguments) => sweep::sweep(&arguments),
        Command::Search(arguments) => search::search(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Eval { arguments } => handing::eval(&arguments),
        Command::Bench { arguments } => handing::to_trainer("bench", &arguments),
        Command::Inspect { arguments } => handing::to_trainer("inspect", &arguments),
        Command::Predict { arguments } => handing::to_trainer("predict", &arguments),
        Command::Export { arguments } => handing::to_trainer("export", &arguments),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Models(arguments) => {
            models::models(&arguments);
            Ok(())
        }
        Command::Data { arguments } => handing::hand_over(tools::DATA, &arguments),
        Command::Eafo { arguments } => handing::hand_over(tools::EAFO, &arguments),
        Command::Keep(kept) => match guard::keep(kept.parent, &kept.words)? {
            0 => Ok(()),
            code => Err(Ending::said(code)),
        },
        Command::Tied(kept) => match guard::become_tied(kept.parent, &kept.words)? {},
    }
}
