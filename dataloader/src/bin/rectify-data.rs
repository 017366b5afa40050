//! `rectify-data`: chores around data sets.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use dataloader::sample;
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
    /// Write a small real data set: 1,797 handwritten digits as an ImageNet-style folder of 32×32 JPEGs.
    Sample {
        /// The folder to make; it appears whole or not at all.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sample { dir } => write_sample(dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(Exit::Data.code() as u8)
        }
    }
}

fn write_sample(dir: PathBuf) -> anyhow::Result<()> {
    let written = sample::write(&dir).context("writing the sample")?;
    let (train, validation, classes) = (written.train, written.validation, written.classes);
    let verb = match written.state {
        sample::State::Written => "wrote",
        sample::State::Found => "already there:",
    };
    println!("{verb} {} images of {classes} classes in {}", train + validation, dir.display());
    println!("  train/<class>/*.JPEG  {train}");
    println!("  val/<class>/*.JPEG    {validation}");
    println!("next: rectify train configs/demo.toml --nproc 2 --set data.path={}", dir.display());
    Ok(())
}
