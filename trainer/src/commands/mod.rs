//! The subcommands of `rectify-trainer`, one file each.

pub mod bench;
pub mod eval;
pub mod export;
pub mod inspect;
pub mod predict;
pub mod train;

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::Args;
use clap::builder::PossibleValuesParser;
use plan::config;
use tch::Device;
use trainer::checkpoint::Kept;
use trainer::device::{self, Asked, Placement};
use trainer::failure::Failure;
use trainer::inference::Saved;
use world::{Exit, World};

/// On what a trained network computes.
#[derive(Args)]
struct Computing {
    /// What computes: `auto` takes a GPU, one for each rank, where the machine has NVIDIA's driver.
    #[arg(long, value_name = "NAME", default_value = config::Device::Auto.name(),
          value_parser = PossibleValuesParser::new(config::Device::names()))]
    device: String,
}

impl Computing {
    /// The device of a rank, for a network whose config says how libtorch computes there. Tells a person why a GPU is not
    /// used.
    fn device(&self, saved: &Saved, world: &World) -> Result<Device, Failure> {
        let wanted = config::Device::named(&self.device).expect("the command line takes no other names");
        let Placement { device, notice } = device::choose(wanted, Asked::OnCommandLine, &saved.config.train, world)?;
        notice.iter().for_each(|words| eprintln!("{words}"));
        Ok(device)
    }

    /// The same for a process that has no other ranks.
    fn device_alone(&self, saved: &Saved) -> Result<Device, Failure> {
        self.device(saved, &World::alone(String::new()))
    }
}

/// Which weights `--ema` asks for.
fn kept(ema: bool) -> Kept {
    if ema { Kept::Averaged } else { Kept::Trained }
}

/// The names of classes in a file, one a line.
fn read_classes(path: &Path) -> Result<Vec<String>, Failure> {
    let refused = |why: String| Failure::because(Exit::Config, format!("--classes {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(refused(format!("line {} is empty; write one class a line", line + 1))),
        None => Ok(names),
    }
}

/// Refuses a file that would lie in a checkpoint.
fn keep_out(file: &Path, checkpoint: &Path) -> Result<(), Failure> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (parent.canonicalize(), checkpoint.canonicalize()) {
        (Ok(parent), Ok(folder)) if folder.is_dir() && parent.starts_with(&folder) => {
            let (file, checkpoint) = (file.display(), checkpoint.display());
            let why = format!(
                "{file} would lie in the checkpoint {checkpoint}, which nothing may change: name a file elsewhere"
            );
            Err(Failure::because(Exit::Config, why))
        }
        _ => Ok(()),
    }
}

/// Writes a file so that it is whole or absent.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    files::replace(path, bytes)
        .map_err(|error| Failure::because(Exit::Config, format!("cannot write {}: {error}", path.display())))
}

/// Refuses a network that does not say where its images are.
fn own_data(saved: &Saved) -> Result<(), Failure> {
    if saved.config.data.path.as_os_str().is_empty() {
        return Err(Failure::because(Exit::Config, "a file of weights has no data of its own: name some with --data"));
    }
    Ok(())
}

/// Prints on standard output.
fn say(words: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{words}")
}

/// Tells a person what went wrong, and gives the exit code for it.
fn tell(failure: &Failure) -> Exit {
    eprintln!("error: {:#}", failure.error);
    failure.exit
}
