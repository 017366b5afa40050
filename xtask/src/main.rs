//! Chores of the repository on the command line: `cargo xtask layers` and `cargo xtask tidy`.

use anyhow::{Result, bail};
use std::process::ExitCode;
use xtask::{Fault, layers, repository, tidy};

const USAGE: &str = "usage: cargo xtask COMMAND

  layers   print the crates by layer with what they use, and any arrow that breaks a rule
  tidy     check the house rules on every file (headers, sizes, names, paths, links)

Both are also tests: cargo test --release -p xtask";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["layers"] => {
            let graph = layers::Graph::of_workspace(&repository::root())?;
            print!("{}", layers::describe(&graph, layers::CRATES));
            Ok(report(&layers::check(&graph, layers::CRATES)))
        }
        ["tidy"] => Ok(report(&tidy::check(&repository::root())?)),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("no such command: {}\n\n{USAGE}", arguments.join(" ")),
    }
}

fn report(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
