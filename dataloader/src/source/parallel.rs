//! Look-ups that do not depend on each other, side by side: storage answers slowly, and answers several at once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::DataError;

/// They wait for storage, not for a core.
const THREADS: usize = 16;

/// The answers of jobs `0..count`, in order.
///
/// # Errors
/// The error of the first job that was found to fail; the jobs after it are not begun.
pub(crate) fn look_up<T: Send>(
    count: usize,
    job: impl Fn(usize) -> Result<T, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answers: Vec<Mutex<Option<Result<T, DataError>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(answer) = answers.get(index) else { return };
            let found = job(index);
            failed.fetch_or(found.is_err(), Ordering::Relaxed);
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one does all the work.
        for _ in 1..THREADS.min(count) {
            let _ = thread::Builder::new().name("look-up".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    // Jobs are begun in order, so those without an answer come after one that failed.
    answers.into_iter().map_while(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_the_first_failure_wins() {
        let double = |index: usize| Ok(2 * index);
        assert_eq!(look_up(100, double).expect("no job fails"), (0..200).step_by(2).collect::<Vec<_>>());
        assert!(look_up(0, double).expect("no job fails").is_empty());
        let stop = |index: usize| if index < 40 { Ok(index) } else { Err(DataError::Stopped) };
        assert!(matches!(look_up(100, stop), Err(DataError::Stopped)));
    }
}
