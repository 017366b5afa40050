//! How many threads a loader has, and which cores they stay on.

use std::thread::available_parallelism;

/// How many cores this process may use: its affinity mask, and the cgroup's quota of processor time rounded down
/// (version 1 or 2; the standard library reads both); at least 1.
pub(crate) fn usable_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The core for one of this rank's workers. Ranks that share a mask get cores one behind the other.
fn core_of(worker: usize, workers: usize, rank: usize, allowed: &[usize]) -> Option<usize> {
    (!allowed.is_empty()).then(|| allowed[(rank * workers + worker) % allowed.len()])
}

/// Keeps the calling thread, worker `worker` of `workers`, on one of the cores that it may use.
///
/// Where the system refuses, it stays free, with a warning.
pub(crate) fn pin(worker: usize, workers: usize, rank: usize) {
    let pinned = allowed_cores().and_then(|allowed| match core_of(worker, workers, rank, &allowed) {
        Some(core) => pin_to(core),
        None => Ok(()),
    });
    if let Err(problem) = pinned {
        tracing::warn!("cannot pin decode worker {worker} to a core: {problem}");
    }
}

#[cfg(target_os = "linux")]
fn allowed_cores() -> Result<Vec<usize>, String> {
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;
    let mask = sched_getaffinity(Pid::from_raw(0)).map_err(|error| error.to_string())?;
    Ok((0..CpuSet::count()).filter(|&core| mask.is_set(core).unwrap_or(false)).collect())
}

#[cfg(target_os = "linux")]
fn pin_to(core: usize) -> Result<(), String> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;
    let mut mask = CpuSet::new();
    mask.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &mask))
        .map_err(|error| format!("core {core}: {error}"))
}

#[cfg(not(target_os = "linux"))]
fn allowed_cores() -> Result<Vec<usize>, String> {
    Err("this system has no affinity masks".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn pin_to(_: usize) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_share_cores_spread_over_them() {
        let allowed = [4, 5, 6, 7];
        let cores = |rank| [0, 1].map(|worker| core_of(worker, 2, rank, &allowed));
        assert_eq!(cores(0), [Some(4), Some(5)]);
        assert_eq!(cores(1), [Some(6), Some(7)]);
        assert_eq!(cores(2), cores(0));
        assert_eq!(core_of(0, 1, 0, &[]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pinned_thread_has_one_core_and_the_others_keep_theirs() {
        let before = allowed_cores().expect("a mask");
        let pinned = std::thread::spawn(|| {
            pin(1, 2, 0);
            allowed_cores().expect("a mask")
        });
        assert_eq!(pinned.join().expect("no panic"), [core_of(1, 2, 0, &before).expect("a core")]);
        assert_eq!(allowed_cores(), Ok(before));
    }
}
