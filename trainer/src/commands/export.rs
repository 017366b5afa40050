//! `export`: the weights of a checkpoint as a file that timm loads.

use std::path::{Path, PathBuf};

use clap::Args;
use trainer::checkpoint::EMA;
use trainer::failure::Failure;
use trainer::inference::{Saved, to_timm};
use world::Exit;

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  rectify export runs/demo/checkpoints/step-00001234 vit.safetensors
  rectify export runs/demo vit.safetensors                            of the run's best checkpoint, else its newest
In Python: model.load_state_dict(safetensors.torch.load_file(\"vit.safetensors\")), the model being timm's of the same
name, sizes and activation; the header says which, under `rectify`. docs/models.md has more.
";

/// What `export` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// A checkpoint's folder, or a run's.
    checkpoint: PathBuf,
    /// The file to write, NAME.safetensors; one that is there is replaced.
    out: PathBuf,
    /// The moving average of the weights instead of the weights.
    #[arg(long)]
    ema: bool,
}

/// Exports, and says what.
pub fn run(arguments: &Arguments) -> Exit {
    match export(arguments) {
        Ok(words) => {
            let _ = super::say(&words);
            Exit::Done
        }
        Err(failure) => super::tell(&failure),
    }
}

fn export(arguments: &Arguments) -> Result<String, Failure> {
    named_safetensors(&arguments.out)?;
    let saved = Saved::open(&arguments.checkpoint, super::kept(arguments.ema), None)?;
    super::keep_out(&arguments.out, &saved.path)?;
    let bytes = to_timm(&saved)?;
    super::write_whole(&arguments.out, &bytes)?;
    let reason = saved.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let spec = saved.spec()?;
    let mut words = format!(
        "{}{reason}\n{}, {} classes, {} parameters, {}, after {} steps → {} ({:.1} MB)",
        saved.path.display(),
        saved.config.model.name,
        saved.num_classes,
        spec.parameters(),
        spec.activations.default.function.name(),
        saved.step,
        arguments.out.display(),
        bytes.len() as f64 / 1e6,
    );
    if !arguments.ema && saved.path.join(EMA).is_file() {
        words += "\nthe checkpoint also holds a moving average of the weights: --ema exports that";
    }
    Ok(words)
}

/// Refuses a name that promises another format than the one that is written: `torch.load` would fail on a `.pth` of safetensors.
fn named_safetensors(out: &Path) -> Result<(), Failure> {
    if out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        return Ok(());
    }
    let (given, better) = (out.display(), out.with_extension("safetensors"));
    let why =
        format!("export writes safetensors, and {given} is named as something else: name it {}", better.display());
    Err(Failure::because(Exit::Config, why))
}
