//! `inspect`: histograms of what the activations of a trained network are applied to.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use dataloader::{DatasetSpec, LoaderSpec, LoaderStats, Source};
use eafo::layers::LayerFile;
use trainer::failure::Failure;
use trainer::inference::{Changes, Saved, inspect};
use world::Exit;

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  rectify inspect runs/demo --out layers.json           on the run's own validation split
  rectify inspect runs/demo --data photos > layers.json
  rectify inspect vit.safetensors --model vit_tiny_patch16_224 --data imagenet/val --out layers.json
Then: rectify eafo layers layers.json --out plots. docs/eafo.md has the format of the file.
";

/// What `inspect` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// A checkpoint's folder, a run's (its best checkpoint, else its newest), or a file of weights.
    checkpoint: PathBuf,
    /// timm's name of the model of a file of weights; an exported one says it itself.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Another activation than the model's; what it learns starts where it starts, unless the file holds it.
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,
    /// A folder of images, or else of folders of them; what they are called does not matter. Default: the validation split of the
    /// run's own data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// At most so many of the images, always the same ones.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    images: usize,
    /// Images at a time: what their activations are applied to must fit into memory.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20))]
    batch_size: usize,
    #[command(flatten)]
    computing: super::Computing,
    /// The moving average of the weights instead of the weights.
    #[arg(long)]
    ema: bool,
    /// The JSON file to write. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Inspects, and writes the histograms.
pub fn run(arguments: &Arguments) -> Exit {
    let inspected = look(arguments).and_then(|file| {
        let text = file.text().map_err(|error| Failure::new(Exit::Config, error))?;
        let Some(out) = &arguments.out else { return Ok(text) };
        super::write_whole(out, text.as_bytes())?;
        let (count, images, out) = (file.layers.len(), file.images, out.display());
        Ok(format!("{count} activations on {images} images → {out}\nnext: rectify eafo layers {out} --out plots"))
    });
    match inspected {
        Ok(words) => {
            let _ = super::say(&words);
            Exit::Done
        }
        Err(failure) => super::tell(&failure),
    }
}

fn look(arguments: &Arguments) -> Result<LayerFile, Failure> {
    tch::set_num_threads(world::cores() as i32);
    let saved = Saved::open(&arguments.checkpoint, super::kept(arguments.ema), arguments.model.as_deref())?
        .with(Changes { activation: arguments.activation.clone(), ..Changes::default() })?;
    if let Some(out) = &arguments.out {
        super::keep_out(out, &saved.path)?;
    }
    let images = dataloader::at_most(open(arguments, &saved)?, arguments.images);
    let batch_size = arguments.batch_size.min(images.len());
    let spec = LoaderSpec::evaluation(&saved.config, saved.spec()?.image_size as u32, batch_size);
    let device = arguments.computing.device_alone(&saved)?;
    inspect(&saved, &*images, &spec, &LoaderStats::new(), device)
}

fn open(arguments: &Arguments, saved: &Saved) -> Result<Box<dyn Source>, Failure> {
    match &arguments.data {
        Some(folder) => Ok(dataloader::unlabelled(folder)?),
        None => {
            super::own_data(saved)?;
            Ok(dataloader::open(&DatasetSpec::configured(&saved.config))?.validation)
        }
    }
}
