//! The doctor's look at programs: the trainer, and Open MPI.

use std::process::Command;

use super::findings::Finding;
use crate::mpi::Mpirun;
use crate::tools::{self, Tool};

/// Looks at every program that training needs.
pub fn look() -> Vec<Finding> {
    vec![tool("trainer", tools::TRAINER), tool("data tool", tools::DATA), open_mpi()]
}

fn tool(part: &'static str, tool: Tool) -> Finding {
    let path = match tools::find(tool) {
        Ok(path) => path,
        Err(error) => return Finding::missing(part, error.to_string(), "run `make build`"),
    };
    match Command::new(&path).arg("--version").output() {
        Ok(output) if output.status.success() => {
            let says = String::from_utf8_lossy(&output.stdout).trim().to_string();
            Finding::ok(part, format!("{says}, {}", path.display()))
        }
        Ok(output) => {
            let says = String::from_utf8_lossy(&output.stderr);
            let says = says.lines().next().unwrap_or("no message");
            let found = format!("{} does not start: {says}", path.display());
            Finding::missing(part, found, "if a library is not found, run `make setup`, which lays `.libtorch`")
        }
        Err(error) => Finding::missing(part, format!("{}: {error}", path.display()), "build it again"),
    }
}

fn open_mpi() -> Finding {
    const PART: &str = "Open MPI";
    let advice = "needed for more than one rank; Debian, Ubuntu: apt-get install openmpi-bin libopenmpi-dev";
    let Some(mpirun) = Mpirun::find() else {
        return Finding::warning(PART, "no mpirun on PATH; --nproc 1 works without", advice);
    };
    let found = format!("{} ({})", mpirun.version(), mpirun.path.display());
    if !mpirun.is_open_mpi() {
        let advice = "only Open MPI's mpirun is started by `rectify train`; put it first on PATH";
        return Finding::warning(PART, format!("another MPI: {}, {}", mpirun.says, mpirun.path.display()), advice);
    }
    if !mpirun.version().starts_with("4.") {
        return Finding::warning(PART, found, "tried with 4.1; other versions may want other flags");
    }
    Finding::ok(PART, found)
}
