//! How each launcher tells a process its rank: one function for each group of environment variables.

use std::fmt;

use crate::{WorldError, variables};

/// Whose variables told this process its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LauncherKind {
    /// Nobody: a process on its own.
    Alone,
    /// Rectify's own variables.
    Rectify,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// A PMIx server, such as Slurm's `srun --mpi=pmix`.
    Pmix,
    /// A PMI-1 or PMI-2 server, such as MPICH's `mpiexec`.
    Pmi,
    /// Slurm's `srun`.
    Slurm,
}

impl fmt::Display for LauncherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LauncherKind::Alone => "no launcher",
            LauncherKind::Rectify => "Rectify",
            LauncherKind::OpenMpi => "Open MPI",
            LauncherKind::Pmix => "PMIx",
            LauncherKind::Pmi => "PMI",
            LauncherKind::Slurm => "Slurm",
        })
    }
}

/// What a group of variables said.
pub(crate) struct Found {
    pub rank: usize,
    pub size: usize,
    pub local_rank: usize,
    pub local_size: usize,
    pub launcher: LauncherKind,
}

/// A number and the variable that held it.
struct Told {
    variable: String,
    value: usize,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The first group that names a rank, checked.
pub(crate) fn identify(lookup: Lookup) -> Result<Found, WorldError> {
    for group in [rectify, open_mpi, pmix, pmi, slurm] {
        if let Some(found) = group(lookup)? {
            return Ok(found);
        }
    }
    Ok(Found { rank: 0, size: 1, local_rank: 0, local_size: 1, launcher: LauncherKind::Alone })
}

fn rectify(lookup: Lookup) -> Result<Option<Found>, WorldError> {
    let launcher = LauncherKind::Rectify;
    let names = [variables::RANK, variables::WORLD_SIZE];
    let local_names = [variables::LOCAL_RANK, variables::LOCAL_SIZE];
    let local = pair(lookup, launcher, local_names)?;
    let Some((rank, size)) = pair(lookup, launcher, names)? else {
        return match local {
            Some((local_rank, _)) => Err(half_set(launcher, &local_rank.variable, variables::RANK)),
            None => Ok(None),
        };
    };
    if let Some((theirs, their_size)) = pair(lookup, LauncherKind::OpenMpi, OPEN_MPI)? {
        agree(&rank, &theirs)?;
        agree(&size, &their_size)?;
    }
    let local = local.unwrap_or_else(|| (rank.again(), size.again()));
    found(launcher, rank, size, local).map(Some)
}

const OPEN_MPI: [&str; 2] = ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"];
const OPEN_MPI_LOCAL: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"];

fn open_mpi(lookup: Lookup) -> Result<Option<Found>, WorldError> {
    let launcher = LauncherKind::OpenMpi;
    let Some((rank, size)) = pair(lookup, launcher, OPEN_MPI)? else { return Ok(None) };
    // Open MPI's own servers set both to the same; a difference is left over from an outer job.
    if let Some(theirs) = number(lookup, "PMIX_RANK")? {
        agree(&rank, &theirs)?;
    }
    let local = pair(lookup, launcher, OPEN_MPI_LOCAL)?
        .ok_or_else(|| half_set(launcher, OPEN_MPI[0], &OPEN_MPI_LOCAL.join(" and ")))?;
    found(launcher, rank, size, local).map(Some)
}

/// PMIx puts the rank into the environment but neither size nor local rank, so these come from the launcher around it.
fn pmix(lookup: Lookup) -> Result<Option<Found>, WorldError> {
    let launcher = LauncherKind::Pmix;
    let Some(rank) = number(lookup, "PMIX_RANK")? else { return Ok(None) };
    let outer = match slurm(lookup)? {
        Some(found) => Some((found, "SLURM_PROCID")),
        None => pmi(lookup)?.map(|found| (found, "PMI_RANK")),
    };
    let Some((outer, variable)) = outer else {
        let missing = "a number of ranks (SLURM_STEP_NUM_TASKS with SLURM_STEP_ID, or PMI_SIZE, or RECTIFY_WORLD_SIZE)";
        return Err(half_set(launcher, &rank.variable, missing));
    };
    agree(&rank, &Told { variable: variable.into(), value: outer.rank })?;
    Ok(Some(Found { launcher, ..outer }))
}

fn pmi(lookup: Lookup) -> Result<Option<Found>, WorldError> {
    let launcher = LauncherKind::Pmi;
    let Some((rank, size)) = pair(lookup, launcher, ["PMI_RANK", "PMI_SIZE"])? else { return Ok(None) };
    let local = match pair(lookup, launcher, ["MPI_LOCALRANKID", "MPI_LOCALNRANKS"])? {
        Some(local) => local, // MPICH's process manager
        None => match slurm(lookup)? {
            Some(slurm) if (slurm.rank, slurm.size) == (rank.value, size.value) => (
                Told { variable: "SLURM_LOCALID".into(), value: slurm.local_rank },
                Told { variable: "SLURM_STEP_TASKS_PER_NODE".into(), value: slurm.local_size },
            ),
            _ if size.value == 1 => (rank.again(), size.again()),
            _ => return Err(WorldError::NoLocalRank { set: rank.variable }),
        },
    };
    found(launcher, rank, size, local).map(Some)
}

/// Slurm numbers the steps of a job from 0, but gives the batch script and an interactive shell, neither of which `srun`
/// started as one of N tasks, a number from this one up (`SLURM_INTERACTIVE_STEP`, `SLURM_BATCH_SCRIPT` … in `slurm.h`).
const FIRST_SPECIAL_STEP: u64 = 0xffff_fff0;

/// A batch script holds `SLURM_NTASKS=N` and `SLURM_PROCID=0` too, and is still one process: only a step of `srun` counts.
fn slurm(lookup: Lookup) -> Result<Option<Found>, WorldError> {
    let launcher = LauncherKind::Slurm;
    const STEP: &str = "SLURM_STEP_ID";
    const SIZES: [&str; 2] = ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"];
    let Some(step) = number(lookup, STEP)? else { return Ok(None) };
    if step.value as u64 >= FIRST_SPECIAL_STEP {
        return Ok(None);
    }
    let needed = |variable: &str| number(lookup, variable)?.ok_or_else(|| half_set(launcher, STEP, variable));
    let rank = needed("SLURM_PROCID")?;
    let local_rank = needed("SLURM_LOCALID")?;
    let size = match number(lookup, SIZES[0])? {
        Some(size) => size,
        None => number(lookup, SIZES[1])?.ok_or_else(|| half_set(launcher, STEP, &SIZES.join(" or ")))?,
    };
    let local_size = slurm_local_size(lookup, &size)?;
    found(launcher, rank, size, (local_rank, local_size)).map(Some)
}

/// Tasks on this node, from a list such as `4(x2),3` (two nodes of four tasks, one of three) and this node's place in it.
fn slurm_local_size(lookup: Lookup, size: &Told) -> Result<Told, WorldError> {
    let names = ["SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"];
    let Some((variable, list)) = names.iter().find_map(|name| Some((name.to_string(), lookup(name)?))) else {
        return match size.value {
            1 => Ok(size.again()),
            _ => Err(half_set(LauncherKind::Slurm, &size.variable, &names.join(" or "))),
        };
    };
    let node = number(lookup, "SLURM_NODEID")?.map_or(0, |node| node.value);
    let tasks =
        tasks_of_node(&list, node).ok_or_else(|| WorldError::NotANumber { variable: variable.clone(), value: list })?;
    Ok(Told { variable, value: tasks })
}

fn tasks_of_node(list: &str, node: usize) -> Option<usize> {
    let mut first = 0;
    for part in list.split(',') {
        let (tasks, repeats) = match part.split_once("(x") {
            Some((tasks, repeats)) => (tasks, repeats.strip_suffix(')')?.parse().ok()?),
            None => (part, 1usize),
        };
        first += repeats;
        if node < first {
            return tasks.parse().ok();
        }
    }
    None
}

/// Both variables, or neither.
fn pair(lookup: Lookup, launcher: LauncherKind, names: [&str; 2]) -> Result<Option<(Told, Told)>, WorldError> {
    match (number(lookup, names[0])?, number(lookup, names[1])?) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half_set(launcher, names[0], names[1])),
        (None, Some(_)) => Err(half_set(launcher, names[1], names[0])),
    }
}

fn number(lookup: Lookup, variable: &str) -> Result<Option<Told>, WorldError> {
    let Some(text) = lookup(variable) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) => Ok(Some(Told { variable: variable.into(), value })),
        Err(_) => Err(WorldError::NotANumber { variable: variable.into(), value: text }),
    }
}

fn half_set(launcher: LauncherKind, set: &str, missing: &str) -> WorldError {
    WorldError::HalfSet { launcher, set: set.into(), missing: missing.into() }
}

fn agree(ours: &Told, theirs: &Told) -> Result<(), WorldError> {
    if ours.value == theirs.value {
        return Ok(());
    }
    Err(WorldError::Contradiction {
        first: ours.variable.clone(),
        first_value: ours.value,
        second: theirs.variable.clone(),
        second_value: theirs.value,
    })
}

fn found(launcher: LauncherKind, rank: Told, size: Told, local: (Told, Told)) -> Result<Found, WorldError> {
    let (local_rank, local_size) = local;
    below(&rank, &size, size.value)?;
    below(&local_rank, &local_size, local_size.value)?;
    below(&local_size, &size, size.value + 1)?;
    Ok(Found {
        rank: rank.value,
        size: size.value,
        local_rank: local_rank.value,
        local_size: local_size.value,
        launcher,
    })
}

fn below(small: &Told, large: &Told, limit: usize) -> Result<(), WorldError> {
    if small.value < limit {
        return Ok(());
    }
    Err(WorldError::OutOfRange {
        rank_variable: small.variable.clone(),
        rank: small.value,
        size_variable: large.variable.clone(),
        size: large.value,
    })
}

impl Told {
    fn again(&self) -> Told {
        Told { variable: self.variable.clone(), value: self.value }
    }
}
