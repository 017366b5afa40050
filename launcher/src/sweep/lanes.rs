//! Which cores the jobs that run at the same time get: equal shares of those that this process may use.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Lanes for jobs, each with its cores.
#[derive(Clone, Debug)]
pub struct Lanes {
    all: Vec<usize>,
    shares: Vec<Vec<usize>>,
}

impl Lanes {
    /// This many lanes.
    pub fn new(lanes: usize) -> Lanes {
        let all = own_cores();
        Lanes { shares: shares(&all, lanes.max(1)), all }
    }

    /// The first lane that is not taken.
    pub fn free(&self, taken: impl Iterator<Item = usize>) -> Option<usize> {
        let taken: Vec<usize> = taken.collect();
        (0..self.shares.len()).find(|lane| !taken.contains(lane))
    }

    /// Does `start` with the cores of a lane; what it starts keeps them.
    pub fn within<T>(&self, lane: usize, start: impl FnOnce() -> T) -> T {
        let share = &self.shares[lane];
        if share.len() == self.all.len() {
            return start();
        }
        // Where the system refuses, jobs share all cores: slower, not wrong.
        let _ = take(share);
        let started = start();
        let _ = take(&self.all);
        started
    }
}

/// Contiguous shares that differ by one core at most; all cores for everybody where there are fewer than lanes.
fn shares(cores: &[usize], lanes: usize) -> Vec<Vec<usize>> {
    if cores.len() < lanes {
        return vec![cores.to_vec(); lanes];
    }
    let begin = |lane: usize| lane * cores.len() / lanes;
    (0..lanes).map(|lane| cores[begin(lane)..begin(lane + 1)].to_vec()).collect()
}

fn own_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

/// Keeps the calling thread, and what it starts from now on, to these cores.
fn take(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_evenly() {
        assert_eq!(shares(&[0, 1, 2, 3, 8], 2), [vec![0, 1], vec![2, 3, 8]]);
        assert_eq!(shares(&[4, 5], 1), [vec![4, 5]]);
        assert_eq!(shares(&[4, 5], 3), [vec![4, 5], vec![4, 5], vec![4, 5]]);
    }

    #[test]
    fn what_is_started_in_a_lane_has_its_cores_and_ours_come_back() {
        let lanes = Lanes::new(own_cores().len());
        let before = own_cores();
        for lane in 0..before.len() {
            assert_eq!(lanes.within(lane, own_cores), [before[lane]]);
            assert_eq!(own_cores(), before);
        }
        assert_eq!(lanes.free([0].into_iter()), (before.len() > 1).then_some(1));
    }
}
