//! `rectify-data`: chores around data sets, one file a command.

mod bench;
mod dataset;
mod histogram;
mod inspect;
mod pack;
mod progress;
mod sample;
mod show;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dataloader::DataError;
use world::Exit;

/// Looks at, makes and prepares the image sets that Rectify trains on.
#[derive(Parser)]
#[command(name = "rectify-data", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sample(sample::Arguments),
    Inspect(inspect::Arguments),
    Verify(verify::Arguments),
    Show(show::Arguments),
    Bench(bench::Arguments),
    Pack(pack::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
    };
    let exit = done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        blame(&error)
    });
    ExitCode::from(exit.code() as u8)
}

/// What the data are not to blame for, the config or the command line is.
fn blame(error: &anyhow::Error) -> Exit {
    match error.downcast_ref() {
        None | Some(DataError::InvalidSpec { .. } | DataError::SubsetTooLarge { .. }) => Exit::Config,
        Some(_) => Exit::Data,
    }
}
