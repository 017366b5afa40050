//! `rectify-data bench`: measures the loader alone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use dataloader::{Crop, LoaderSpec, Order, Pixels, Transform, bench, open};
use plan::config::Source;
use world::Exit;

use crate::dataset::{in_folder, source};

/// Measure the loader on the training images of a folder: random crops, flips and normalisation, as in training.
#[derive(Args)]
pub struct Arguments {
    /// The folder of the data set.
    dir: PathBuf,
    /// How it is stored, as data.source in a config; by default "shards" where it is packed, else "folder".
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<Source>,
    /// A config whose augmentation is measured, in place of random crops and flips; its data are not read.
    #[arg(long, value_name = "CONFIG")]
    recipe: Option<PathBuf>,
    /// Decode threads; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Keep each decode thread on one core.
    #[arg(long)]
    pin_workers: bool,
    /// Reading threads: how many files are read at once.
    #[arg(long, default_value_t = 1)]
    readers: usize,
    /// Pixels of a side of the result.
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// Images of a batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Print one line of JSON instead.
    #[arg(long)]
    json: bool,
}

/// Measures, and prints what was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let dataset = open(&in_folder(&arguments.dir, arguments.source))?;
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
    let &Arguments { workers, pin_workers, readers, .. } = arguments;
    let spec = LoaderSpec { order: Order::Shuffled, workers, pin_workers, readers, ..once };
    let duration = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let report = bench::run(dataset.train.as_ref(), &spec, duration)?;
    if arguments.json {
        println!("{}", report.to_json());
    } else {
        print(&report);
    }
    Ok(Exit::Done)
}

fn print(report: &bench::Report) {
    println!("{:10.1} images/s", report.images_per_second());
    for (stage, milliseconds) in report.stages_ms {
        println!("{milliseconds:10.3} ms an image: {stage}");
    }
    if let Some(cores) = report.cores_used {
        println!("{cores:10.2} cores used");
    }
    println!("{:10.0} ms to the first batch", 1e3 * report.first_batch_seconds);
    println!("bottleneck: {}", report.explanation());
}
