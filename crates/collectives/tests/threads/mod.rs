//! Threads that play ranks.

use std::sync::Arc;
use std::time::Duration;

use collectives::{Communicator, local_ranks};

/// Longer than any test takes.
pub const PATIENT: Duration = Duration::from_secs(60);

/// What every rank's `play` returned, by rank.
pub fn on_ranks<R: Send>(size: usize, timeout: Duration, play: impl Fn(Arc<dyn Communicator>) -> R + Sync) -> Vec<R> {
    let play = &play;
    std::thread::scope(|scope| {
        let ranks = local_ranks(size, timeout);
        let threads: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(move || play(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
