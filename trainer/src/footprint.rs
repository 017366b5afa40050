//! How much memory the ranks of a run ever held, and how often the system gave them some.

use collectives::{Communicator, Phase};
use tch::Device;

use crate::failure::Failure;

/// The highest peak of memory among all ranks, in MiB, on every rank: of tensors where `device` is a GPU, else of all that was
/// resident; `None` where no kernel tells.
///
/// # Errors
/// When a rank is lost.
pub fn highest_peak_mib(communicator: &dyn Communicator, device: Device) -> Result<Option<f64>, Failure> {
    let mine = match device {
        Device::Cuda(index) => kernels::cuda::peak_memory(index) >> 10,
        _ => peak_kib(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()).unwrap_or(0),
    };
    let all = communicator.all_gather(Phase::new("peak memory"), &mine.to_le_bytes())?;
    let peaks = all.iter().filter_map(|bytes| Some(u64::from_le_bytes(bytes.as_slice().try_into().ok()?)));
    Ok(peaks.max().filter(|&peak| peak > 0).map(|kib| kib as f64 / 1024.0))
}

/// `VmHWM` of `/proc/self/status`.
fn peak_kib(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Pages that the system has given to this process so far; 0 where no kernel tells.
pub fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    minor_faults(&stat).unwrap_or(0)
}

/// `minflt` of `/proc/self/stat`: the eighth word after the name, which stands in brackets.
fn minor_faults(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_found_in_the_kernel_s_words() {
        assert_eq!(peak_kib("VmPeak:\t  900 kB\nVmHWM:\t  123456 kB\nVmRSS:\t 1 kB\n"), Some(123_456));
        assert_eq!(peak_kib(""), None);
        assert_eq!(minor_faults("7 (a) b) S 1 2 3 4 5 6 4711 0 9"), Some(4711));
        assert!(page_faults() > 10);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(peak_kib(&status).is_some_and(|kib| kib > 100));
    }
}
