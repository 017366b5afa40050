//! Subcommands that another binary of the house does: `data`, `eafo`, `eval`, `inspect`, `predict`, `bench`, `export`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command;
use crate::ending::Ending;
use crate::tools::{self, Tool};
use crate::{mpi, train};

/// How many ranks evaluate, as for `rectify train`.
const NPROC: &str = "--nproc";

/// Becomes `tool`, with these words; comes back only when that fails.
pub fn hand_over(tool: Tool, words: &[OsString]) -> Result<(), Ending> {
    match tools::hand_over(tool, words) {
        Err(error) => Err(Ending::config(error)),
        Ok(never) => match never {},
    }
}

/// Becomes a subcommand of the trainer.
pub fn to_trainer(subcommand: &str, words: &[OsString]) -> Result<(), Ending> {
    let mut all = vec![OsString::from(subcommand)];
    all.extend_from_slice(words);
    hand_over(tools::TRAINER, &all)
}

/// Becomes `rectify-trainer eval`, or the `mpirun` that starts as many of them as `--nproc` says.
pub fn eval(words: &[OsString]) -> Result<(), Ending> {
    let (nproc, words) = take_nproc(words).map_err(Ending::config)?;
    let Some(nproc) = nproc.filter(|&nproc| nproc > 1) else { return to_trainer("eval", &words) };
    let placement = train::place(Some(nproc), Vec::new()).map_err(Ending::config)?;
    let trainer = tools::find(tools::TRAINER).map_err(Ending::config)?;
    mpi::require(&placement).map_err(Ending::config)?;
    let mut program = vec![trainer.to_string_lossy().into_owned(), "eval".to_owned()];
    program.extend(words.iter().map(|word| word.to_string_lossy().into_owned()));
    let line = command::compose(&placement, &train::circumstances(None, &placement), &program);
    let failed = Command::new(&line.0[0]).args(&line.0[1..]).exec();
    Err(Ending::config(format!("cannot start {}: {failed}", line.0[0])))
}

/// The number after `--nproc`, and the other words.
fn take_nproc(words: &[OsString]) -> Result<(Option<usize>, Vec<OsString>), String> {
    let (mut nproc, mut others) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let value = match text.strip_prefix(NPROC) {
            Some("") => words.next().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => rest[1..].to_owned(),
            _ => {
                others.push(word.clone());
                continue;
            }
        };
        let count = value.parse().ok().filter(|&count: &usize| count > 0);
        nproc = Some(count.ok_or_else(|| format!("{NPROC} takes a number of ranks, at least 1; found {value:?}"))?);
    }
    Ok((nproc, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &str) -> Result<(Option<usize>, String), String> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        take_nproc(&words).map(|(nproc, others)| (nproc, others.join(" ".as_ref()).to_string_lossy().into_owned()))
    }

    #[test]
    fn the_number_of_ranks_is_taken_out_of_the_words() {
        assert_eq!(taken("ckpt --data x --nproc 2 --json"), Ok((Some(2), "ckpt --data x --json".to_owned())));
        assert_eq!(taken("--nproc=4 ckpt"), Ok((Some(4), "ckpt".to_owned())));
        assert_eq!(taken("ckpt --json"), Ok((None, "ckpt --json".to_owned())));
        for wrong in ["--nproc", "--nproc 0", "--nproc=two"] {
            assert!(taken(wrong).expect_err(wrong).contains("a number of ranks"));
        }
    }
}
