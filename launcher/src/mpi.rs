//! Open MPI on this machine: whether it is there, and which version.

use std::path::PathBuf;
use std::process::Command;

use crate::placement::{Placement, Start};
use crate::tools::find_on_path;

/// Why ranks cannot be started here.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// There is no `mpirun`.
    #[error(
        "mpirun is not on PATH, and {nproc} ranks need it: install Open MPI (Debian, Ubuntu: openmpi-bin), \
         or train with --nproc 1"
    )]
    Missing {
        /// Ranks asked for.
        nproc: usize,
    },
    /// There is one, but not Open MPI's.
    #[error(
        "{} is not Open MPI's (it says: {says}); put Open MPI's mpirun first on PATH, or start the ranks with your own \
         launcher: `mpiexec -n {nproc} rectify-trainer train CONFIG`", path.display()
    )]
    NotOpenMpi {
        /// What was found.
        path: PathBuf,
        /// The first line of its `--version`.
        says: String,
        /// Ranks asked for.
        nproc: usize,
    },
}

/// Open MPI's `mpirun`.
#[derive(Clone, Debug)]
pub struct Mpirun {
    /// Where it is.
    pub path: PathBuf,
    /// The first line that `mpirun --version` prints.
    pub says: String,
}

impl Mpirun {
    /// The first `mpirun` on `PATH`, of whatever kind.
    pub fn find() -> Option<Mpirun> {
        let path = find_on_path("mpirun")?;
        let output = Command::new(&path).arg("--version").output().ok()?;
        let says = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_string();
        Some(Mpirun { path, says })
    }

    /// Whether it is Open MPI's: only its flags are known here.
    pub fn is_open_mpi(&self) -> bool {
        self.says.contains("Open MPI") || self.says.contains("OpenRTE") || self.says.contains("PRRTE")
    }

    /// The version number alone, as far as it can be made out.
    pub fn version(&self) -> &str {
        self.says.split_whitespace().last().unwrap_or_default()
    }
}

/// Checks that what starts the ranks of this placement is there.
pub fn require(placement: &Placement) -> Result<(), MpiError> {
    let nproc = placement.nproc;
    if placement.start == Start::Alone {
        return Ok(());
    }
    match Mpirun::find() {
        None => Err(MpiError::Missing { nproc }),
        Some(found) if !found.is_open_mpi() => Err(MpiError::NotOpenMpi { path: found.path, says: found.says, nproc }),
        Some(_) => Ok(()),
    }
}
