//! Whether a run that ended starts again: a pure decision.

use world::Exit;

/// What is known when all ranks are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code that stands for the run.
    pub code: i32,
    /// Whether a person or the batch system asked for the end.
    pub asked_to_stop: bool,
    /// Restarts made so far.
    pub restarts: u32,
    /// Restarts allowed by `--restarts`.
    pub allowed: u32,
}

/// What to do, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start again from the newest good checkpoint.
    Restart(String),
    /// End with the run's exit code.
    Stop(String),
}

/// Decides. Only exit 75 is worth another try: a wrong config, wrong data and a diverged loss come back every time, and so does a
/// bug of ours.
pub fn decide(ended: Ended) -> Decision {
    let Ended { code, asked_to_stop, restarts, allowed } = ended;
    if code == Exit::Done.code() {
        return Decision::Stop("the run is done".into());
    }
    if asked_to_stop {
        return Decision::Stop("the run was asked to stop".into());
    }
    if code != Exit::Retry.code() {
        let meaning = Exit::from_code(code).map_or("not one of ours: a bug", Exit::meaning);
        return Decision::Stop(format!("exit {code} is never retried ({meaning})"));
    }
    if restarts >= allowed {
        return Decision::Stop(format!("all {allowed} restarts are used up"));
    }
    Decision::Restart(format!("restart {} of {allowed}, from the newest good checkpoint", restarts + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts(code: i32, asked_to_stop: bool, restarts: u32, allowed: u32) -> bool {
        matches!(decide(Ended { code, asked_to_stop, restarts, allowed }), Decision::Restart(_))
    }

    #[test]
    fn only_75_restarts_and_only_as_often_as_allowed() {
        assert!(restarts(75, false, 0, 1));
        assert!(!restarts(75, false, 1, 1));
        assert!(!restarts(75, false, 0, 0));
        assert!(restarts(75, false, 4, 5));
    }

    #[test]
    fn what_would_come_back_is_never_retried() {
        for code in [0, 1, 2, 3, 4, 101] {
            assert!(!restarts(code, false, 0, 9), "{code}");
        }
    }

    #[test]
    fn a_run_that_was_asked_to_stop_stays_stopped() {
        assert!(!restarts(75, true, 0, 9));
    }
}
