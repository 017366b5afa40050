//! What this machine is: its name, cores, memory and the traits that decide how ranks on it talk to each other.

use std::collections::BTreeSet;
use std::fs;
use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, geteuid};

/// The name of this machine.
pub fn hostname() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "localhost".into())
}

/// Whether we are root, as in most containers: Open MPI then wants to be told that this is meant.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Cores that the kernel has running, whoever may use them.
pub fn online_cores() -> Option<usize> {
    Some(count_cores(&read("/sys/devices/system/cpu/online")?))
}

/// The cores of this process's affinity mask, as the kernel lists them (`0-3,8`).
pub fn affinity() -> Option<String> {
    status_field("Cpus_allowed_list:")
}

/// Cores' worth of time that the control group allows, if it sets a limit (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`).
pub fn quota() -> Option<f64> {
    let ratio = |quota: &str, period: &str| Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?);
    if let Some(max) = read("/sys/fs/cgroup/cpu.max") {
        let (quota, period) = max.split_once(' ')?;
        return ratio(quota, period);
    }
    let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").filter(|quota| !quota.starts_with('-'))?;
    ratio(&quota, &read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?)
}

/// Physical cores among those of the affinity mask; hardware threads of one core count once. Falls back to `world::cores()`
/// where the kernel does not tell.
pub fn physical_cores() -> usize {
    let allowed = affinity().map(|list| cores(&list)).unwrap_or_default();
    let siblings = |core: &usize| read(&format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"));
    let distinct: BTreeSet<String> = allowed.iter().filter_map(siblings).collect();
    if distinct.is_empty() { world::cores() } else { distinct.len() }
}

/// Total and available memory in bytes.
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// Size of `/dev/shm` in bytes, through which ranks on one machine exchange data.
pub fn shared_memory() -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs("/dev/shm").ok()?;
    Some(stat.blocks() * stat.fragment_size())
}

/// Whether one process may read another one's memory, as Open MPI's single-copy transport (CMA) tries to. Containers often forbid
/// it, and Open MPI then complains on every message.
pub fn allows_single_copy() -> bool {
    let strict = read("/proc/sys/kernel/yama/ptrace_scope").is_some_and(|scope| scope != "0");
    !strict && reads_own_memory()
}

/// A system call filter that forbids the call forbids it for our own memory as well.
fn reads_own_memory() -> bool {
    let source = [7u8; 8];
    let mut target = [0u8; 8];
    let remote = [RemoteIoVec { base: source.as_ptr() as usize, len: source.len() }];
    let read = process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut target)], &remote);
    read == Ok(source.len())
}

/// Whether SIGHUP was ignored when we started, as `nohup` arranges; it must stay so.
pub fn ignores_hangup() -> bool {
    let mask = status_field("SigIgn:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0) // bit 0 is signal 1
}

fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_string())
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

/// How many cores a kernel list such as `0-3,8` names.
pub fn count_cores(list: &str) -> usize {
    cores(list).len()
}

fn cores(list: &str) -> Vec<usize> {
    let part = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(part).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(count_cores("5"), 1);
        assert_eq!(count_cores(""), 0);
    }

    #[test]
    fn this_machine_can_be_described() {
        assert!(!hostname().is_empty());
        let online = online_cores().unwrap();
        assert!((1..=online).contains(&physical_cores()));
        assert!((1..=online).contains(&count_cores(&affinity().unwrap())));
        let (total, available) = memory().unwrap();
        assert!(available <= total && total > 1 << 20);
    }
}
