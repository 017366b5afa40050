//! The times of a run's recent steps, in memory that is taken once, and their median.

use std::time::Duration;

/// Steps at the start of a process that are left out: caches, threads and queues are filling.
const WARM_UP: usize = 5;

/// Steps that are remembered; a longer run forgets its oldest.
const REMEMBERED: usize = 4096;

/// Times of recent steps.
#[derive(Clone, Debug)]
pub(crate) struct RecentSteps {
    seen: usize,
    seconds: Vec<f32>,
}

impl RecentSteps {
    /// No steps yet.
    pub(crate) fn new() -> RecentSteps {
        RecentSteps { seen: 0, seconds: Vec::with_capacity(REMEMBERED) }
    }

    /// One step took `time`. Allocates nothing.
    pub(crate) fn add(&mut self, time: Duration) {
        self.seen += 1;
        let Some(index) = self.seen.checked_sub(WARM_UP + 1) else { return };
        match self.seconds.get_mut(index % REMEMBERED) {
            Some(oldest) => *oldest = time.as_secs_f32(),
            None => self.seconds.push(time.as_secs_f32()),
        }
    }

    /// The median, which a step that was held up by others does not move; `None` before the warm-up is over.
    pub(crate) fn median_seconds(&self) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // The two in the middle, which are one where their number is odd.
        Some((f64::from(sorted[last / 2]) + f64::from(sorted[last.div_ceil(2)])) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(milliseconds: impl IntoIterator<Item = u64>) -> Option<f64> {
        let mut steps = RecentSteps::new();
        milliseconds.into_iter().for_each(|time| steps.add(Duration::from_millis(time)));
        steps.median_seconds().map(|seconds| (seconds * 1e6).round() / 1e6)
    }

    #[test]
    fn the_first_steps_do_not_count_and_one_slow_step_changes_little() {
        assert_eq!(after([900; 5]), None);
        assert_eq!(after([900, 900, 900, 900, 900, 10]), Some(0.01));
        assert_eq!(after([900, 900, 900, 900, 900, 10, 5000, 12, 11, 9]), Some(0.011));
        assert_eq!(after([900, 900, 900, 900, 900, 10, 20]), Some(0.015));
    }

    #[test]
    fn a_long_run_forgets_its_oldest_steps() {
        let many = (0..WARM_UP).map(|_| 900).chain((0..REMEMBERED).map(|_| 50)).chain((0..REMEMBERED).map(|_| 10));
        assert_eq!(after(many), Some(0.01));
    }
}
