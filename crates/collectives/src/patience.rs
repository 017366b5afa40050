//! `Patience`: how a rank waits without taking a core from those it waits for.

use std::time::{Duration, Instant};

/// Polls without giving the core away: a message between two free cores is here within a few microseconds.
const SPINS: u32 = 4;
/// Polls after which the core is offered to others, who may be the ones to send.
const YIELDS: u32 = 4;
const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_micros(100);

/// One wait: spin a little, then yield, then sleep for longer and longer, up to 100 µs.
pub(crate) struct Patience {
    polls: u32,
    nap: Duration,
    since: Instant,
}

impl Patience {
    pub fn new() -> Patience {
        Patience { polls: 0, nap: SHORTEST_NAP, since: Instant::now() }
    }

    /// How long nothing has moved.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Spins or yields, while the wait is young; then says how long to sleep.
    pub fn pause(&mut self) -> Option<Duration> {
        self.polls = self.polls.saturating_add(1);
        if self.polls <= SPINS {
            std::hint::spin_loop();
            return None;
        }
        if self.polls <= SPINS + YIELDS {
            std::thread::yield_now();
            return None;
        }
        let nap = self.nap;
        self.nap = (nap * 5 / 4).min(LONGEST_NAP);
        Some(nap)
    }
}

/// Lets naps of this thread be as short as they say: by default Linux adds up to 50 µs to each.
pub(crate) fn allow_short_naps() {
    // SAFETY: PR_SET_TIMERSLACK takes one number, concerns this thread only and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong) };
}
