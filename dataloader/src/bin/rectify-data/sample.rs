//! `rectify-data sample`: writes the digits that ship with the program.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use dataloader::sample;
use world::Exit;

/// Write a small real data set: 1,797 handwritten digits as an ImageNet-style folder of 32×32 JPEGs.
#[derive(Args)]
pub struct Arguments {
    /// The folder to make; it appears whole or not at all.
    dir: PathBuf,
}

/// Writes the sample, and says what to do with it.
pub fn run(Arguments { dir }: &Arguments) -> anyhow::Result<Exit> {
    let written = sample::write(dir).context("writing the sample")?;
    let (train, validation, classes) = (written.train, written.validation, written.classes);
    let verb = match written.state {
        sample::State::Written => "wrote",
        sample::State::Found => "already there:",
    };
    println!("{verb} {} images of {classes} classes in {}", train + validation, dir.display());
    println!("  train/<class>/*.JPEG  {train}");
    println!("  val/<class>/*.JPEG    {validation}");
    println!("next: rectify train configs/demo.toml --nproc 2 --set data.path={}", dir.display());
    Ok(Exit::Done)
}
