//! The processes below this one: who they are, and that none outlives it.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// From now on, processes below us whose parent dies become our children, so that they can be found and ended.
pub fn adopt_orphans() {
    // Kernels before 3.4 cannot; ranks then fall to init when mpirun is killed, as without us.
    let _ = prctl::set_child_subreaper(true);
}

/// Kills every process below this one and waits until all are gone. Call it when nothing below us should be left.
pub fn end_all() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        kill_all();
        reap();
        if descendants(Pid::this()).is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills every process below this one. Their ends are left for others to wait for.
pub fn kill_all() {
    for pid in descendants(Pid::this()) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// The living processes below `root`, parents before children.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = vec![root.as_raw()];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.remove(&found[next]).unwrap_or_default());
        next += 1;
    }
    found.into_iter().skip(1).map(Pid::from_raw).collect()
}

/// Every process that is not dead, with its parent.
fn processes() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, living_parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// The parent in a line of `/proc/PID/stat`, unless the process is a zombie. The name before it may hold blanks and brackets.
fn living_parent(stat: &str) -> Option<i32> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        assert_eq!(living_parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(living_parent("12 (sleep) Z 7 12 12 0"), None);
        assert_eq!(living_parent("nonsense"), None);
    }

    #[test]
    fn children_and_their_children_are_found() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 30 & wait"]).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let deadline = Instant::now() + Duration::from_secs(5);
        while descendants(pid).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let grandchildren = descendants(pid);
        assert_eq!(grandchildren.len(), 1);
        assert!(descendants(Pid::this()).contains(&grandchildren[0]));
        kill(grandchildren[0], Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
}
