//! The subcommands of `rectify-trainer`, one file each.

pub mod bench;
pub mod eval;
pub mod export;
pub mod predict;
pub mod train;

use std::io::Write;
use std::path::Path;

use trainer::checkpoint::Kept;
use trainer::failure::Failure;
use world::Exit;

/// Which weights `--ema` asks for.
fn kept(ema: bool) -> Kept {
    if ema { Kept::Averaged } else { Kept::Trained }
}

/// The names of classes in a file, one a line.
fn read_classes(path: &Path) -> Result<Vec<String>, Failure> {
    let refused = |why: String| Failure::because(Exit::Config, format!("--classes {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(refused(format!("line {} is empty; write one class a line", line + 1))),
        None => Ok(names),
    }
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
