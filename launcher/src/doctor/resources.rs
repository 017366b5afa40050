//! The doctor's look at cores, memory and shared memory.

use super::findings::Finding;
use crate::machine;

/// Shared memory below which ranks on one machine are likely to run out of it (containers get 64 MiB by default).
const SMALL_SHARED_MEMORY: u64 = 128 << 20;

/// Memory below which even a small model is unlikely to train on two ranks.
const SMALL_MEMORY: u64 = 2 << 30;

/// Looks at cores and memory.
pub fn look() -> Vec<Finding> {
    vec![cores(), memory(), shared_memory(), exchange()]
}

fn cores() -> Finding {
    let mut parts = vec![format!("{} usable", world::cores()), format!("{} physical", machine::physical_cores())];
    parts.extend(machine::online_cores().map(|online| format!("{online} online")));
    parts.extend(machine::affinity().map(|list| format!("affinity {list}")));
    parts.push(machine::quota().map_or("no quota".to_string(), |quota| format!("quota of {quota:.1} cores")));
    let found = parts.join(", ");
    match machine::quota() {
        Some(quota) if quota < 1.0 => {
            Finding::warning("cores", found, "less than one core's time: the control group will slow everything down")
        }
        _ => Finding::ok("cores", found),
    }
}

fn memory() -> Finding {
    let Some((total, available)) = machine::memory() else {
        return Finding::warning("memory", "unknown", "/proc/meminfo cannot be read");
    };
    let found = format!("{} available of {}", size(available), size(total));
    match available {
        ..SMALL_MEMORY => {
            Finding::warning("memory", found, "ranks may be killed; take fewer of them, or smaller batches")
        }
        _ => Finding::ok("memory", found),
    }
}

fn shared_memory() -> Finding {
    match machine::shared_memory() {
        None => {
            Finding::warning("/dev/shm", "not there", "ranks on this machine then talk through files; mount a tmpfs")
        }
        Some(bytes) if bytes < SMALL_SHARED_MEMORY => {
            Finding::warning("/dev/shm", size(bytes), "little for many ranks; containers: --shm-size=1g")
        }
        Some(bytes) => Finding::ok("/dev/shm", size(bytes)),
    }
}

fn exchange() -> Finding {
    match machine::allows_single_copy() {
        true => Finding::ok("rank to rank", "ranks on this machine may read each other's memory (one copy)"),
        false => {
            Finding::absent("rank to rank", "reading another rank's memory is forbidden here: two copies, by /dev/shm")
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}
