//! Where ranks go: a pure decision from what was asked for and what the machines offer.

use crate::hosts::Host;

/// What decides the placement.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Ranks asked for on the command line.
    pub nproc: Option<usize>,
    /// Machines of the hostfile; empty without one.
    pub hosts: Vec<Host>,
    /// Cores that this machine lets us use (affinity, control group).
    pub cores: usize,
    /// Physical cores among them: Open MPI counts these, not hardware threads, as the slots of a machine without hostfile.
    pub physical_cores: usize,
    /// Tasks of the Slurm allocation that we are in, if any (0: Slurm did not say).
    pub slurm_tasks: Option<usize>,
}

/// Who starts the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// One process on this machine, without MPI.
    Alone,
    /// `mpirun`, on this machine or on those of a hostfile.
    Mpirun,
    /// `mpirun`, which asks Slurm for the machines of the allocation.
    MpirunInSlurm,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Who starts the ranks.
    pub start: Start,
    /// Number of ranks, at least 1.
    pub nproc: usize,
    /// Machines and their ranks, in rank order; empty inside Slurm, which decides.
    pub ranks_per_host: Vec<(String, usize)>,
    /// Whether some machine gets more ranks than slots or cores, which Open MPI must be told to allow.
    pub oversubscribe: bool,
    /// Compute threads for each rank, where all ranks share this machine's cores.
    pub threads_per_rank: Option<usize>,
    /// The decision in words, for the person who waits.
    pub reason: String,
}

/// Why no placement fits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// No ranks at all.
    #[error("--nproc 0 starts nothing: ask for at least 1 rank")]
    NoRanks,
    /// Slurm does not say how many ranks the allocation is for.
    #[error("inside a Slurm allocation without SLURM_NTASKS: say how many ranks to start with --nproc N")]
    UnknownAllocation,
}

/// Decides where the ranks go. Machines of a hostfile are filled in order, slot by slot; ranks beyond the last slot are spread
/// evenly over all of them (`mpirun --map-by slot` does the same).
pub fn place(wish: &Wish) -> Result<Placement, PlacementError> {
    if wish.nproc == Some(0) {
        return Err(PlacementError::NoRanks);
    }
    if !wish.hosts.is_empty() {
        return Ok(on_hosts(wish));
    }
    match (wish.slurm_tasks, wish.nproc) {
        (Some(0), None) => Err(PlacementError::UnknownAllocation),
        (Some(tasks), nproc) if nproc.unwrap_or(tasks) > 1 => Ok(in_slurm(nproc.unwrap_or(tasks))),
        _ => Ok(on_this_machine(wish, wish.nproc.unwrap_or(1))),
    }
}

fn on_this_machine(wish: &Wish, nproc: usize) -> Placement {
    let slots = wish.cores.min(wish.physical_cores).max(1);
    let threads = (wish.cores / nproc).max(1);
    let oversubscribe = nproc > slots;
    let start = if nproc == 1 { Start::Alone } else { Start::Mpirun };
    let crowded = match nproc > wish.cores {
        true => ", more ranks than cores: they take turns, so expect no speed-up",
        false => "",
    };
    Placement {
        start,
        nproc,
        ranks_per_host: vec![("localhost".into(), nproc)],
        oversubscribe,
        threads_per_rank: Some(threads),
        reason: format!(
            "{} on this machine, {} each of {}{crowded}",
            count(nproc, "rank"),
            count(threads, "compute thread"),
            count(wish.cores, "core"),
        ),
    }
}

fn on_hosts(wish: &Wish) -> Placement {
    let slots: usize = wish.hosts.iter().map(|host| host.slots).sum();
    let nproc = wish.nproc.unwrap_or(slots);
    let mut left = nproc;
    let mut ranks: Vec<usize> = Vec::with_capacity(wish.hosts.len());
    for host in &wish.hosts {
        ranks.push(host.slots.min(left));
        left -= host.slots.min(left);
    }
    let (share, remainder) = (left / ranks.len(), left % ranks.len());
    for (index, ranks) in ranks.iter_mut().enumerate() {
        *ranks += share + usize::from(index < remainder);
    }
    let ranks_per_host: Vec<(String, usize)> =
        wish.hosts.iter().zip(ranks).map(|(host, ranks)| (host.name.clone(), ranks)).filter(|(_, n)| *n > 0).collect();
    let listed: Vec<String> = ranks_per_host.iter().map(|(name, ranks)| format!("{name}: {ranks}")).collect();
    let full = if nproc > slots { format!(", more than the {slots} slots of the hostfile") } else { String::new() };
    Placement {
        start: Start::Mpirun,
        nproc,
        reason: format!("{} ({}){full}", count(nproc, "rank"), listed.join(", ")),
        ranks_per_host,
        oversubscribe: nproc > slots,
        threads_per_rank: None,
    }
}

fn in_slurm(nproc: usize) -> Placement {
    Placement {
        start: Start::MpirunInSlurm,
        nproc,
        ranks_per_host: Vec::new(),
        oversubscribe: false,
        threads_per_rank: None,
        reason: format!(
            "{} on the machines of the Slurm allocation, which mpirun reads by itself",
            count(nproc, "rank")
        ),
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(nproc: impl Into<Option<usize>>, cores: usize) -> Wish {
        Wish { nproc: nproc.into(), hosts: Vec::new(), cores, physical_cores: cores, slurm_tasks: None }
    }

    fn hosts(slots: &[usize]) -> Vec<Host> {
        slots.iter().enumerate().map(|(i, &slots)| Host { name: format!("h{i}"), slots }).collect()
    }

    fn ranks(placement: &Placement) -> Vec<usize> {
        placement.ranks_per_host.iter().map(|(_, ranks)| *ranks).collect()
    }

    #[test]
    fn one_rank_needs_no_mpi() {
        let placement = place(&wish(None, 8)).unwrap();
        assert_eq!((placement.start, placement.nproc, placement.threads_per_rank), (Start::Alone, 1, Some(8)));
        assert!(!placement.oversubscribe);
        assert_eq!(place(&wish(0, 8)), Err(PlacementError::NoRanks));
    }

    #[test]
    fn ranks_share_the_cores_of_this_machine() {
        for (nproc, cores, threads, oversubscribe) in
            [(2, 2, 1, false), (2, 16, 8, false), (3, 16, 5, false), (3, 2, 1, true), (64, 2, 1, true)]
        {
            let placement = place(&wish(nproc, cores)).unwrap();
            assert_eq!(placement.start, Start::Mpirun);
            assert_eq!(ranks(&placement), [nproc]);
            assert_eq!((placement.threads_per_rank, placement.oversubscribe), (Some(threads), oversubscribe));
        }
    }

    #[test]
    fn hardware_threads_are_no_slots_for_open_mpi() {
        let placement = place(&Wish { physical_cores: 2, ..wish(4, 4) }).unwrap();
        assert!(placement.oversubscribe, "mpirun would refuse 4 ranks on 2 physical cores");
        assert_eq!(placement.threads_per_rank, Some(1));
        assert!(!placement.reason.contains("take turns"), "{}", placement.reason);
    }

    #[test]
    fn machines_are_filled_in_order_and_the_rest_is_spread() {
        for (nproc, slots, expected, oversubscribe) in [
            (None, vec![4, 2], vec![4, 2], false),
            (Some(3), vec![4, 2], vec![3], false),
            (Some(5), vec![4, 2], vec![4, 1], false),
            (Some(9), vec![4, 2], vec![6, 3], true),
            (Some(1), vec![4], vec![1], false),
        ] {
            let placement = place(&Wish { nproc, hosts: hosts(&slots), ..wish(None, 2) }).unwrap();
            assert_eq!(ranks(&placement), expected, "{nproc:?} on {slots:?}");
            assert_eq!(placement.nproc, expected.iter().sum::<usize>());
            assert_eq!((placement.oversubscribe, placement.start), (oversubscribe, Start::Mpirun));
            assert_eq!(placement.threads_per_rank, None, "each machine has cores of its own");
        }
    }

    #[test]
    fn slurm_places_its_own_ranks() {
        let allocation = |nproc, tasks| place(&Wish { slurm_tasks: Some(tasks), ..wish(nproc, 2) });
        let placement = allocation(None, 16).unwrap();
        assert_eq!((placement.start, placement.nproc), (Start::MpirunInSlurm, 16));
        assert!(placement.ranks_per_host.is_empty() && !placement.oversubscribe);
        assert_eq!(allocation(Some(4), 16).unwrap().nproc, 4);
        assert_eq!(allocation(Some(1), 16).unwrap().start, Start::Alone);
        assert_eq!(allocation(None, 0), Err(PlacementError::UnknownAllocation));
        let with_hosts = place(&Wish { slurm_tasks: Some(16), hosts: hosts(&[2]), ..wish(None, 2) }).unwrap();
        assert_eq!(with_hosts.start, Start::Mpirun, "a hostfile is the more explicit wish");
    }
}
