//! `eval`: how well a trained network does on a set of images, on one rank or many.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;
use collectives::Communicator;
use dataloader::{DatasetSpec, EvaluationSet, Labels, LoaderSpec, LoaderStats};
use serde::Serialize;
use trainer::device;
use trainer::failure::Failure;
use trainer::inference::{Changes, Saved, Scored, score};
use world::{Exit, World};

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  rectify eval runs/demo                            on the run's own validation split
  rectify eval runs/deit/checkpoints/step-00375000 --data imagenetv2 --labels imagenet-v2
  rectify eval runs/deit --data imagenet-a --labels imagenet-a --json

`rectify eval … --nproc N` evaluates on N ranks.

Labels:
  folders          one folder of images a class, called as the class; some may be missing
  imagenet         ImageNet's val: such folders, or flat beside val_labels.txt or the devkit
  imagenet-a, -r   folders by wnid; the model chooses among the classes that are there
  imagenet-v2      folders 0 to 999, in the order of the sorted wnids
  imagenet-sketch  folders by wnid
  real             ImageNet's flat val beside real.json: right is what is on an image's list
";

/// What `eval` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// A checkpoint's folder, a run's (its best checkpoint, else its newest), or a file of weights.
    checkpoint: PathBuf,
    /// timm's name of the model of a file of weights; an exported one says it itself.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The images. Default: the validation split of the run's own data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How the set names its classes.
    #[arg(long, value_name = "KIND", default_value = Labels::Folders.name(), hide_possible_values = true, requires = "data",
          value_parser = PossibleValuesParser::new(Labels::ALL.map(Labels::name)))]
    labels: String,
    /// Images of a batch on one rank [default: as in the run].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch_size: Option<u32>,
    #[command(flatten)]
    computing: super::Computing,
    /// A file with the names of the classes, one a line, for checkpoints that do not hold them.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Another resolution than the run's: position embeddings are resampled.
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// The moving average of the weights instead of the weights.
    #[arg(long)]
    ema: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    checkpoint: String,
    step: u64,
    ema: bool,
    model: String,
    data: String,
    labels: String,
    images: u64,
    bad_images: u64,
    left_out: usize,
    chosen_from: usize,
    top1: f64,
    top5: f64,
    loss: Option<f64>,
    seconds: f64,
    world_size: usize,
}

/// Evaluates on this rank, together with the others; rank 0 says what came of it.
pub fn run(arguments: &Arguments) -> Exit {
    let world = match World::from_env() {
        Ok(world) => world,
        Err(error) => return super::tell(&Failure::new(Exit::Config, error)),
    };
    let joined = collectives::connect(collectives::Backend::Auto, &world, Duration::from_secs(600));
    let communicator = match joined {
        Ok(communicator) => communicator,
        Err(error) => return super::tell(&error.into()),
    };
    match evaluate(arguments, &world, &*communicator) {
        Ok(report) => {
            if world.is_main() {
                let _ = super::say(&if arguments.json { to_json(&report) } else { to_text(&report) });
            }
            Exit::Done
        }
        Err(failure) => {
            let exit = super::tell(&failure);
            if communicator.size() > 1 { communicator.abort(exit.code()) } else { exit }
        }
    }
}

fn evaluate(arguments: &Arguments, world: &World, communicator: &dyn Communicator) -> Result<Report, Failure> {
    let begun = Instant::now();
    tch::set_num_threads((world::cores() / world.local_size.max(1)).max(1) as i32);
    let saved =
        Saved::open(&arguments.checkpoint, super::kept(arguments.ema), arguments.model.as_deref())?.with(Changes {
            image_size: arguments.image_size,
            classes: arguments.classes.as_deref().map(super::read_classes).transpose()?,
            ..Changes::default()
        })?;
    let (set, data) = open_set(arguments, &saved)?;
    let device = arguments.computing.device(&saved, world)?;
    device::compare(communicator, device)?;
    let model = saved.model(device)?;
    let size = saved.spec()?.image_size;
    let batch_size = arguments.batch_size.map_or(saved.config.eval.batch_size, |size| size as usize);
    let spec = LoaderSpec {
        rank: communicator.rank(),
        world_size: communicator.size(),
        ..LoaderSpec::evaluation(&saved.config, size as u32, batch_size)
    };
    let stats = LoaderStats::new();
    let Scored { accuracy, loss } = score(&model, &set, &spec, size, &stats, communicator)?;
    Ok(Report {
        checkpoint: saved.path.display().to_string(),
        step: saved.step,
        ema: arguments.ema,
        model: saved.config.model.name.clone(),
        data,
        labels: arguments.labels.clone(),
        images: accuracy.images(),
        bad_images: set.images.len() as u64 - accuracy.images(),
        left_out: set.left_out,
        chosen_from: set.chosen_from.map_or(saved.num_classes, |classes| classes.len()),
        top1: accuracy.top1(),
        top5: accuracy.top5(),
        loss,
        seconds: begun.elapsed().as_secs_f64(),
        world_size: communicator.size(),
    })
}

/// The set that is named, or the validation split of the run; and where that is.
fn open_set(arguments: &Arguments, saved: &Saved) -> Result<(EvaluationSet, String), Failure> {
    let named = Labels::ALL.into_iter().find(|labels| labels.name() == arguments.labels);
    let labels = named.expect("the command line takes no other names");
    if let Some(folder) = &arguments.data {
        return Ok((EvaluationSet::open(folder, labels, &saved.class_names())?, folder.display().to_string()));
    }
    super::own_data(saved)?;
    let path = saved.config.data.path.display().to_string();
    let validation = dataloader::open(&DatasetSpec::configured(&saved.config))?.validation;
    let found = validation.classes().len();
    if found != saved.num_classes {
        let why = format!("{path} has {found} classes, the checkpoint {}: these are other data", saved.num_classes);
        return Err(Failure::because(Exit::Data, why));
    }
    Ok((EvaluationSet::of(validation), path))
}

fn to_json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report has string keys only")
}

fn to_text(report: &Report) -> String {
    let mut lines = vec![
        format!("{} ({}, step {})", report.checkpoint, report.model, report.step),
        format!("{} images of {}, labels {}", report.images, report.data, report.labels),
    ];
    if report.ema {
        lines[0] += ", averaged weights";
    }
    if report.bad_images > 0 {
        lines.push(format!("{} bad images were left out", report.bad_images));
    }
    if report.left_out > 0 {
        lines.push(format!("{} images without a right class were left out", report.left_out));
    }
    if report.labels == Labels::ImageNetA.name() || report.labels == Labels::ImageNetR.name() {
        lines.push(format!("the model chose among {} classes", report.chosen_from));
    }
    lines.push(format!("top-1 {:.2} %   top-5 {:.2} %", report.top1, report.top5));
    if let Some(loss) = report.loss {
        lines.push(format!("loss  {loss:.4}"));
    }
    lines.push(format!("{:.1} s on {} rank(s)", report.seconds, report.world_size));
    lines.join("\n")
}
