//! `predict`: what single images show.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use trainer::failure::Failure;
use trainer::inference::{Answer, Changes, Predictor, Saved};
use world::Exit;

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  rectify predict --checkpoint runs/demo 3.jpg 8.jpg
  rectify predict --model deit_small_patch16_224 --weights deit.safetensors cat.jpg
  rectify predict --weights exported.safetensors --json *.jpg    one JSON object an image

An image of the model's size is only normalised; others are resized and cropped as in
evaluation. Mean, standard deviation and crop are those of the run, of the exported file, or
timm's for the model. Bad images are named on standard error, the others go on, and the exit
code is 3.
";

/// How many classes are told.
const ANSWERS: usize = 5;

/// What `predict` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// The images: JPEG, PNG or WebP.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The weights: an exported file, or any safetensors file with timm's names.
    #[arg(long, value_name = "FILE", required_unless_present = "checkpoint", conflicts_with = "checkpoint")]
    weights: Option<PathBuf>,
    /// timm's name of the model of these weights; an exported file says it itself.
    #[arg(long, value_name = "NAME", conflicts_with = "checkpoint")]
    model: Option<String>,
    /// A checkpoint's folder, or a run's (its best checkpoint, else its newest).
    #[arg(long, value_name = "CKPT")]
    checkpoint: Option<PathBuf>,
    /// The moving average of the checkpoint's weights instead of the weights.
    #[arg(long, conflicts_with = "weights")]
    ema: bool,
    #[command(flatten)]
    computing: super::Computing,
    /// Print one JSON object a line for each image: file, logits, top5.
    #[arg(long)]
    json: bool,
    /// A file with the names of the classes, one a line, in the order of the outputs.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// How many classes the weights must have.
    #[arg(long, value_name = "N")]
    num_classes: Option<usize>,
    /// Another resolution than the model's: position embeddings are resampled.
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Another activation than the model's; what it learns starts where it starts, unless the file holds it.
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,
    /// Mean of red, green and blue, from 0 to 1, as in `0.5,0.5,0.5`.
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    mean: Option<[f64; 3]>,
    /// Standard deviation of red, green and blue, above 0.
    #[arg(long, value_name = "R,G,B", value_parser = deviations)]
    std: Option<[f64; 3]>,
    /// Side of the central crop over the shorter side of the resized image, above 0 and up to 1.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    crop_pct: Option<f64>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    logits: &'a [f32],
    top5: &'a [Answer],
}

/// Predicts, and says how that ended: exit 3 where an image was bad.
pub fn run(arguments: &Arguments) -> Exit {
    predict(arguments).unwrap_or_else(|failure| super::tell(&failure))
}

fn predict(arguments: &Arguments) -> Result<Exit, Failure> {
    let saved = open(arguments)?.with(changes(arguments)?)?;
    let mut predictor = Predictor::new(&saved, arguments.computing.device_alone(&saved)?)?;
    let mut bad = 0;
    for path in &arguments.images {
        match predictor.logits(path) {
            Ok(logits) => {
                let answers = Answer::best(&logits, ANSWERS, &saved);
                // Who closed the output has read enough.
                if super::say(&words(path, &logits, &answers, arguments.json)).is_err() {
                    return Ok(Exit::Done);
                }
            }
            Err(why) => {
                eprintln!("error: {}: {why}", path.display());
                bad += 1;
            }
        }
    }
    if bad == 0 {
        return Ok(Exit::Done);
    }
    eprintln!("{bad} of {} images could not be used", arguments.images.len());
    Ok(Exit::Data)
}

fn open(arguments: &Arguments) -> Result<Saved, Failure> {
    let saved = match (&arguments.checkpoint, &arguments.weights) {
        (Some(checkpoint), _) => Saved::open(checkpoint, super::kept(arguments.ema), None)?,
        (None, Some(weights)) => Saved::of_file(weights, arguments.model.as_deref())?,
        (None, None) => unreachable!("the command line asks for one of them"),
    };
    if let Some(reason) = &saved.reason {
        eprintln!("{}: {reason}", saved.path.display());
    }
    Ok(saved)
}

fn changes(arguments: &Arguments) -> Result<Changes, Failure> {
    Ok(Changes {
        activation: arguments.activation.clone(),
        image_size: arguments.image_size,
        mean: arguments.mean,
        std: arguments.std,
        crop_pct: arguments.crop_pct,
        num_classes: arguments.num_classes,
        classes: arguments.classes.as_deref().map(super::read_classes).transpose()?,
    })
}

/// What is said of an image.
fn words(path: &Path, logits: &[f32], answers: &[Answer], json: bool) -> String {
    let file = path.to_string_lossy();
    if json {
        let line = Line { file: &file, logits, top5: answers };
        return serde_json::to_string(&line).expect("a line has string keys only");
    }
    let answer = |Answer { class, index, probability }: &Answer| {
        let name = if *class == index.to_string() { String::new() } else { format!("  {class}") };
        format!("\n  {:6.2} %  {index:>4}{name}", 100.0 * probability)
    };
    file.into_owned() + &answers.iter().map(answer).collect::<String>()
}

fn triple(text: &str) -> Result<[f64; 3], String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[red, green, blue]) if [red, green, blue].iter().all(|value| (0.0..=10.0).contains(value)) => {
            Ok([red, green, blue])
        }
        _ => Err("expected three numbers with commas between them, such as 0.485,0.456,0.406".to_owned()),
    }
}

fn deviations(text: &str) -> Result<[f64; 3], String> {
    let found = triple(text)?;
    if found.contains(&0.0) { Err("each must be above 0".to_owned()) } else { Ok(found) }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if 0.0 < share && share <= 1.0 => Ok(share),
        _ => Err("expected a number above 0 and up to 1".to_owned()),
    }
}
