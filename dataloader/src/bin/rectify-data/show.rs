//! `rectify-data show`: draws what a model will see.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use dataloader::{DatasetSpec, LoaderSpec, open, show};
use world::Exit;

use crate::dataset::configured;

/// Most samples of a batch of the loader that draws: whole batches of a recipe may not fit into memory.
const BATCH: usize = 64;

/// Draw a contact sheet of what the model will see: the training stream's samples, through the very pipeline of training.
///
/// Eight tiles a row, each above the name of its class; pictures below 96 pixels are magnified.
#[derive(Args)]
pub struct Arguments {
    /// The data set's folder, in place of the recipe's data.path.
    dir: Option<PathBuf>,
    /// The config whose data, augmentation and size of images are shown.
    #[arg(long, visible_alias = "config", value_name = "CONFIG")]
    recipe: PathBuf,
    /// How many samples.
    #[arg(short = 'n', long, default_value_t = 64)]
    images: usize,
    /// The seed of the run, in place of the recipe's.
    #[arg(long)]
    seed: Option<u64>,
    /// The step of training at which to begin.
    #[arg(long, default_value_t = 0)]
    step: u64,
    /// Show the validation split as evaluation sees it, in its order from the first image.
    #[arg(long, conflicts_with = "step")]
    val: bool,
    /// The PNG to write.
    #[arg(long, value_name = "FILE.png", default_value = "sheet.png")]
    out: PathBuf,
    /// Override a key of the recipe, as in --set augment.flip=0; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Draws, writes and tells.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    ensure!((1..=4096).contains(&arguments.images), "-n {}: a sheet has 1 to 4096 images", arguments.images);
    let mut config = configured(Some(&arguments.recipe), arguments.dir.as_deref(), &arguments.sets)?;
    config.seed = arguments.seed.unwrap_or(config.seed);
    let dataset = open(&DatasetSpec::configured(&config))?;
    let model = plan::models::configured(&config.model, dataset.train.classes().len());
    let size = model.context("[model] of the recipe")?.image_size as u32;
    // The stream does not depend on how a global batch is cut.
    let global_batch = config.train.batch_size;
    let batch = (1..=BATCH.min(global_batch)).rev().find(|part| global_batch.is_multiple_of(*part)).unwrap_or(1);
    let (source, mut spec) = match arguments.val {
        false => (&dataset.train, LoaderSpec::training(&config, size, batch)?),
        true => (&dataset.validation, LoaderSpec::evaluation(&config, size, batch)),
    };
    spec.start_step = arguments.step;
    // A sheet has tiles of one size: that of its first step.
    let size = spec.size_at(arguments.step, source.len());
    (spec.transform.size, spec.sizes) = (size, Vec::new());
    let sheet = show::draw(source.as_ref(), &spec, arguments.images)?;
    let out = &arguments.out;
    let format = image::ImageFormat::Png;
    sheet.image.save_with_format(out, format).with_context(|| format!("cannot write {}", out.display()))?;
    let (width, height) = sheet.image.dimensions();
    let split = if arguments.val { "validation" } else { "training" };
    println!("{}: {} {split} images of {size}×{size}, a sheet of {width}×{height}", out.display(), sheet.images);
    if sheet.bad > 0 {
        eprintln!("{} bad images were met, and replaced or left out; rectify-data verify lists them", sheet.bad);
    }
    Ok(Exit::Done)
}
