//! `rectify-data`: chores around data sets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use dataloader::{Crop, DatasetSpec, LoaderSpec, Order, Pixels, Transform, bench, open, sample};
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
    /// Measure the loader on the training images of a folder: random crops, flips and normalisation, as in training.
    Bench(BenchArguments),
}

#[derive(Args)]
struct BenchArguments {
    /// An ImageNet-style folder with `train` and `val`.
    dir: PathBuf,
    /// A config whose augmentation is measured, in place of random crops and flips; its data are not read.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Decode threads; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Pixels of a side of the result.
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// Images of a batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sample { dir } => write_sample(dir),
        Command::Bench(arguments) => measure(&arguments),
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

fn measure(arguments: &BenchArguments) -> anyhow::Result<()> {
    let dataset = open(&DatasetSpec::folder(&arguments.dir))?;
    let transform = match &arguments.recipe {
        Some(path) => Transform::training(&plan::load(path, &[])?, arguments.size)?,
        None => Transform {
            crop: Crop::RandomResized { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] },
            flip: 0.5,
            pixels: Pixels::F32 { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
            ..Transform::center(arguments.size, 1.0)
        },
    };
    let once = LoaderSpec::once(transform, arguments.batch);
    let spec = LoaderSpec { order: Order::Shuffled, workers: arguments.workers, ..once };
    let duration = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let report = bench::run(dataset.train.as_ref(), &spec, duration)?;
    println!("{:10.1} images/s", report.images_per_second());
    for (stage, milliseconds) in report.stages_ms {
        println!("{milliseconds:10.3} ms an image: {stage}");
    }
    if let Some(cores) = report.cores_used {
        println!("{cores:10.2} cores used");
    }
    println!("bottleneck: {}", report.bottleneck);
    Ok(())
}
