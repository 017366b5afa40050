//! `World`: rank, size and host of this process, with its errors.

use crate::launchers::{self, LauncherKind};

/// Where this process stands among the ranks of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Rank of this process, `0 ≤ rank < size`.
    pub rank: usize,
    /// Number of ranks of the job, at least 1.
    pub size: usize,
    /// Rank among the ranks of this host, `0 ≤ local_rank < local_size`.
    pub local_rank: usize,
    /// Number of ranks on this host, `1 ≤ local_size ≤ size`.
    pub local_size: usize,
    /// Name of this host.
    pub host: String,
    /// Whose variables told.
    pub launcher: LauncherKind,
}

/// Why the environment does not say who this process is. Every message names the variables at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// A variable does not hold a whole number.
    #[error("{variable}={value:?} is not a whole number ≥ 0: set it right, or unset it together with its group")]
    NotANumber {
        /// The variable.
        variable: String,
        /// What it holds.
        value: String,
    },
    /// Some variables of a group are set and others, needed with them, are not.
    #[error("{set} is set, but {missing} is not: {launcher} sets both; set both, or neither for a process on its own")]
    HalfSet {
        /// Whose group of variables it is.
        launcher: LauncherKind,
        /// A variable that is set.
        set: String,
        /// The variable that is missing (or several, of which one would do).
        missing: String,
    },
    /// A rank is not below the number of ranks, or a host holds more ranks than the job.
    #[error(
        "{rank_variable}={rank} does not fit {size_variable}={size}: ranks count from 0 to one less than their number, \
         and a host holds no more of them than the job"
    )]
    OutOfRange {
        /// The variable that holds the smaller number by right.
        rank_variable: String,
        /// What it holds.
        rank: usize,
        /// The variable that bounds it.
        size_variable: String,
        /// What that holds.
        size: usize,
    },
    /// Two variables that must be equal are not.
    #[error(
        "{first}={first_value} contradicts {second}={second_value}: one of them was left over from another job; unset it"
    )]
    Contradiction {
        /// The variable that was taken.
        first: String,
        /// What it holds.
        first_value: usize,
        /// The variable that disagrees.
        second: String,
        /// What that holds.
        second_value: usize,
    },
    /// This process has a rank, but nothing says how many there are on this host.
    #[error(
        "{set} is set, but nothing says which of the ranks run on this host: \
         set RECTIFY_RANK, RECTIFY_WORLD_SIZE, RECTIFY_LOCAL_RANK and RECTIFY_LOCAL_SIZE"
    )]
    NoLocalRank {
        /// The variable that gave the rank.
        set: String,
    },
}

impl World {
    /// Reads the environment of this process and the name of its host.
    pub fn from_env() -> Result<World, WorldError> {
        // A host name that is not UTF-8, or none at all, is no reason not to train: the name is only shown.
        let host = nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |n| n.to_string_lossy().into_owned());
        World::from_vars(|variable| std::env::var(variable).ok(), host)
    }

    /// The same from any source of variables. An empty variable counts as unset.
    ///
    /// The first group that names a rank wins: Rectify's own variables, Open MPI, PMIx, PMI, Slurm; else this process is
    /// alone. Open MPI inside a Slurm allocation sets its own variables on top of Slurm's, which then describe the daemons,
    /// so a later group is compared with the one taken only where both must speak of the same ranks.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>, host: String) -> Result<World, WorldError> {
        let found = launchers::identify(&|variable: &str| lookup(variable).filter(|value| !value.is_empty()))?;
        Ok(World {
            rank: found.rank,
            size: found.size,
            local_rank: found.local_rank,
            local_size: found.local_size,
            host,
            launcher: found.launcher,
        })
    }

    /// A world of one rank.
    pub fn alone(host: String) -> World {
        World { rank: 0, size: 1, local_rank: 0, local_size: 1, host, launcher: LauncherKind::Alone }
    }

    /// Whether this is the rank that speaks for all: rank 0.
    pub fn is_main(&self) -> bool {
        self.rank == 0
    }
}

/// Cores that this process may use: its affinity mask and its control group's quota, not the machine's cores. At least 1.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
