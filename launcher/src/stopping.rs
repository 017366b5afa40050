//! How a run is asked to stop and what happens when it does not: a pure state machine of signals and time.

use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;

use crate::guard;

/// How long the keeper and `mpirun` get to end the ranks, after which the keeper kills what is left; here only in case it cannot.
const KILL_AFTER: Duration = guard::KILL_AFTER.saturating_add(Duration::from_secs(3));

/// What the supervisor has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on watching.
    Wait,
    /// Ask the ranks for a checkpoint (SIGUSR1).
    Ask,
    /// End the ranks without waiting for their checkpoint (SIGTERM).
    End,
    /// Kill whatever is left.
    Kill,
}

/// Where a run stands between running and gone.
#[derive(Debug)]
pub struct Stopping {
    grace: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    Asked(Instant),
    Ending(Instant),
    Killed,
}

impl Stopping {
    /// A run that nobody has asked to stop, and which gets `grace` for its checkpoint when somebody does.
    pub fn new(grace: Duration) -> Stopping {
        Stopping { grace, state: State::Running }
    }

    /// Whether somebody has asked.
    pub fn asked(&self) -> bool {
        !matches!(self.state, State::Running)
    }

    /// Whether the ranks did not end by themselves.
    pub fn enforced(&self) -> bool {
        matches!(self.state, State::Ending(_) | State::Killed)
    }

    /// A signal came. The first one asks; Ctrl-C after that ends at once. Batch systems send several different signals in a row,
    /// which must not cut the checkpoint short, so later ones other than Ctrl-C change nothing.
    pub fn on_signal(&mut self, signal: i32, now: Instant) -> Action {
        match self.state {
            State::Running => {
                self.state = State::Asked(now);
                Action::Ask
            }
            State::Asked(_) if signal == SIGINT => self.end(now),
            State::Ending(_) if signal == SIGINT => self.kill(),
            _ => Action::Wait,
        }
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Instant) -> Action {
        match self.state {
            State::Asked(since) if now.duration_since(since) >= self.grace => self.end(now),
            State::Ending(since) if now.duration_since(since) >= KILL_AFTER => self.kill(),
            _ => Action::Wait,
        }
    }

    fn end(&mut self, now: Instant) -> Action {
        self.state = State::Ending(now);
        Action::End
    }

    fn kill(&mut self) -> Action {
        self.state = State::Killed;
        Action::Kill
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGTERM, SIGUSR1};

    use super::*;

    #[test]
    fn first_ctrl_c_asks_second_ends_third_kills() {
        let (mut stopping, now) = (Stopping::new(Duration::from_secs(120)), Instant::now());
        assert!(!stopping.asked());
        let actions = [(); 4].map(|()| stopping.on_signal(SIGINT, now));
        assert_eq!(actions, [Action::Ask, Action::End, Action::Kill, Action::Wait]);
        assert!(stopping.asked() && stopping.enforced());
    }

    #[test]
    fn a_batch_system_may_send_several_signals() {
        let (mut stopping, now) = (Stopping::new(Duration::from_secs(120)), Instant::now());
        assert_eq!(stopping.on_signal(SIGUSR1, now), Action::Ask);
        assert_eq!(stopping.on_signal(SIGTERM, now), Action::Wait);
        assert_eq!(stopping.on_signal(SIGTERM, now), Action::Wait);
        assert!(!stopping.enforced());
        assert_eq!(stopping.on_signal(SIGINT, now), Action::End);
    }

    #[test]
    fn patience_ends() {
        let (mut stopping, begin) = (Stopping::new(Duration::from_secs(10)), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(stopping.on_tick(at(1000)), Action::Wait, "nobody asked");
        assert_eq!(stopping.on_signal(SIGTERM, at(1000)), Action::Ask);
        assert_eq!(stopping.on_tick(at(1009)), Action::Wait);
        assert_eq!(stopping.on_tick(at(1010)), Action::End);
        assert_eq!(stopping.on_tick(at(1017)), Action::Wait);
        assert_eq!(stopping.on_tick(at(1018)), Action::Kill);
        assert_eq!(stopping.on_tick(at(1020)), Action::Wait);
    }
}
