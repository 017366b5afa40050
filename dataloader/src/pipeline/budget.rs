//! How many encoded bytes may wait to be decoded: what keeps many readers from filling the memory.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting reader looks whether the loader has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A number of bytes that readers fill and workers empty.
pub(crate) struct Budget {
    limit: usize,
    held: Mutex<usize>,
    freed: Condvar,
}

impl Budget {
    /// A budget of `limit` bytes, none of them held.
    pub(crate) fn new(limit: usize) -> Budget {
        Budget { limit, held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` fit under the limit, or nothing else is held, or `ended` says that nobody will give back.
    pub(crate) fn take(&self, bytes: usize, ended: impl Fn() -> bool) {
        let mut held = self.lock();
        while *held > 0 && *held + bytes > self.limit && !ended() {
            held = self.freed.wait_timeout(held, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *held += bytes;
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        *self.lock() -= bytes;
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_reader_waits_until_there_is_room() {
        let budget = Budget::new(100);
        let first_is_back = AtomicBool::new(false);
        budget.take(80, || false);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                budget.take(50, || false);
                first_is_back.load(Ordering::SeqCst)
            });
            std::thread::sleep(Duration::from_millis(5));
            first_is_back.store(true, Ordering::SeqCst);
            budget.give_back(80);
            assert!(second.join().expect("no panic"), "it went on before there was room");
        });
        assert_eq!(*budget.lock(), 50);
    }

    /// One file larger than the limit passes alone, and an ended loader holds nobody.
    #[test]
    fn nobody_waits_for_ever() {
        let budget = Budget::new(100);
        budget.take(500, || false);
        budget.take(1, || true);
        budget.give_back(501);
        assert_eq!(*budget.lock(), 0);
    }
}
