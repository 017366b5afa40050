//! How long a sweep will take: pure estimates from the work that is left and the pace of finished cells.

use std::time::Duration;

/// Floating-point operations that a core does in a second, where no cell has shown its pace yet; models of a few hundred
/// channels in fp32 on AVX2 reach this order of magnitude.
const GUESSED_FLOPS_A_CORE: f64 = 50e9;

/// The work of one cell, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// Floating-point operations.
    pub flops: f64,
    /// Seconds, from its start to its end.
    pub seconds: f64,
}

/// Operations a second of one cell, as the finished ones show it.
pub fn pace(done: &[Done]) -> Option<f64> {
    let (flops, seconds) = done.iter().fold((0.0, 0.0), |(f, s), cell| (f + cell.flops, s + cell.seconds));
    (seconds > 0.0 && flops > 0.0).then(|| flops / seconds)
}

/// A guess at the operations a second of one cell, where `lanes` cells share `cores`.
pub fn guessed_pace(cores: usize, lanes: usize) -> f64 {
    GUESSED_FLOPS_A_CORE * cores as f64 / lanes.max(1) as f64
}

/// The time for `flops` more, in `cells` cells of which `lanes` run at a time.
pub fn time_for(flops: f64, pace: f64, cells: usize, lanes: usize) -> Duration {
    let at_once = cells.min(lanes).max(1);
    Duration::try_from_secs_f64(flops / pace / at_once as f64).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_cells_show_the_pace_of_those_to_come() {
        let done = [Done { flops: 100.0, seconds: 10.0 }, Done { flops: 300.0, seconds: 30.0 }];
        assert_eq!(pace(&done), Some(10.0));
        assert_eq!(time_for(400.0, 10.0, 4, 1), Duration::from_secs(40));
        assert_eq!(time_for(400.0, 10.0, 4, 2), Duration::from_secs(20));
        assert_eq!(time_for(400.0, 10.0, 1, 2), Duration::from_secs(40), "one cell has one lane");
        assert_eq!((pace(&[]), pace(&[Done { flops: 1.0, seconds: 0.0 }])), (None, None));
    }

    #[test]
    fn a_guess_is_shared_by_the_lanes() {
        assert_eq!(guessed_pace(4, 2), 100e9);
        assert_eq!(time_for(1e300, 1e-300, 1, 1), Duration::MAX);
    }
}
