//! Requests that end: each has a time-out, is tried again a bounded number of times, and is given up when its loader ends.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded, select};
use random::Key;
use tokio::runtime::{Builder, Runtime};

use crate::source::patience;
use crate::source::storage::StorageOptions;

/// The longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const THREADS: usize = 2;

/// Runs requests on threads of its own, which start with the first request.
pub(crate) struct Requests {
    /// How long one try may take.
    pub(crate) timeout: Duration,
    retries: usize,
    backoff: Duration,
    runtime: OnceLock<Option<Runtime>>,
}

/// Why one try failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    kind: io::ErrorKind,
    problem: String,
    advice: Advice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    TryAgain,
    GiveUp,
}

impl Requests {
    /// No thread is started yet.
    pub(crate) fn new(options: &StorageOptions) -> Requests {
        let StorageOptions { timeout, retries, backoff, .. } = *options;
        Requests { timeout, retries, backoff, runtime: OnceLock::new() }
    }

    /// Tries `request`, `limit` long each time, until it succeeds, cannot succeed, or was tried often enough.
    ///
    /// # Errors
    /// Says what was tried (`what`), what was wrong, and how often it was tried; `TimedOut` where the last try was too slow.
    pub(crate) fn attempt<T, F>(&self, what: &str, limit: Duration, mut request: impl FnMut() -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let stop = patience::of_this_thread();
        let mut tries = 0;
        loop {
            tries += 1;
            let refusal = match self.once(limit, &stop, request()) {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            if refusal.advice == Advice::GiveUp || tries > self.retries {
                let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
                let problem = format!("cannot {what}: {}; tried {times}", refusal.problem);
                return Err(io::Error::new(refusal.kind, problem));
            }
            tracing::debug!("{what}: {}; trying again", refusal.problem);
            select! {
                recv(stop) -> _ => return Err(Refusal::stopped().into_error(what)),
                default(pause(what, tries, self.backoff)) => {}
            }
        }
    }

    fn once<T, F>(&self, limit: Duration, stop: &Receiver<()>, request: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let runtime = self.runtime.get_or_init(start).as_ref().ok_or_else(Refusal::no_thread)?;
        let (answer_in, answer) = bounded(1);
        let task = runtime.spawn(async move {
            let outcome = tokio::time::timeout(limit, request).await;
            // Where the receiver is gone, nobody waits any more.
            let _ = answer_in.send(outcome.unwrap_or_else(|_| Err(Refusal::timed_out(limit))));
        });
        select! {
            recv(answer) -> answer => answer.unwrap_or_else(|_| Err(Refusal::panicked())),
            recv(stop) -> _ => {
                task.abort();
                Err(Refusal::stopped())
            }
        }
    }
}

fn start() -> Option<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("remote-storage").enable_all().build().ok()
}

/// The pause after the try that is `tries`-th: it doubles with each, and is spread over a factor of three so that threads
/// and ranks that failed together do not come back together.
fn pause(what: &str, tries: usize, backoff: Duration) -> Duration {
    let key = what.bytes().fold(Key::root(u64::from(std::process::id())), |key, byte| key.child(u64::from(byte)));
    let doubled = backoff.saturating_mul(1 << (tries - 1).min(16));
    doubled.mul_f64(0.5 + key.child(tries as u64).uniform()).min(LONGEST_PAUSE)
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.runtime.take() {
            // Waits for nothing: what still runs is cut off.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

impl Refusal {
    /// The object is not the one that was listed or opened.
    pub(crate) fn replaced() -> Refusal {
        let problem = "it was replaced by another since it was listed".to_owned();
        Refusal { kind: io::ErrorKind::InvalidData, problem, advice: Advice::GiveUp }
    }

    /// The body has another length than was asked for.
    pub(crate) fn wrong_length(got: u64, wanted: u64) -> Refusal {
        let problem = format!("{got} bytes came where {wanted} were asked for");
        Refusal { kind: io::ErrorKind::InvalidData, problem, advice: Advice::TryAgain }
    }

    fn timed_out(limit: Duration) -> Refusal {
        let problem = format!("no answer within {} s", limit.as_secs_f64());
        Refusal { kind: io::ErrorKind::TimedOut, problem, advice: Advice::TryAgain }
    }

    fn stopped() -> Refusal {
        let problem = "the loader has ended".to_owned();
        Refusal { kind: io::ErrorKind::ConnectionAborted, problem, advice: Advice::GiveUp }
    }

    fn panicked() -> Refusal {
        let problem = "the request panicked; this is a bug, please report it".to_owned();
        Refusal { kind: io::ErrorKind::Other, problem, advice: Advice::GiveUp }
    }

    fn no_thread() -> Refusal {
        let problem = "the threads for requests cannot be started".to_owned();
        Refusal { kind: io::ErrorKind::Other, problem, advice: Advice::GiveUp }
    }

    fn into_error(self, what: &str) -> io::Error {
        io::Error::new(self.kind, format!("cannot {what}: {}", self.problem))
    }
}

impl From<object_store::Error> for Refusal {
    fn from(error: object_store::Error) -> Refusal {
        use object_store::Error as E;
        let (kind, advice) = match &error {
            E::NotFound { .. } => (io::ErrorKind::NotFound, Advice::GiveUp),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => (io::ErrorKind::PermissionDenied, Advice::GiveUp),
            E::Precondition { .. } => return Refusal::replaced(),
            E::Generic { .. } => (io::ErrorKind::Other, Advice::TryAgain),
            _ => (io::ErrorKind::Other, Advice::GiveUp),
        };
        Refusal { kind, problem: chain(&error), advice }
    }
}

/// An error and its causes on one line, each said once.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ_from_request_to_request() {
        let backoff = Duration::from_millis(100);
        for tries in 1..6 {
            let base = backoff * (1 << (tries - 1));
            let pause = pause("fetch a", tries, backoff);
            assert!(base / 2 <= pause && pause <= base * 3 / 2, "try {tries}: {pause:?}");
        }
        assert_ne!(pause("fetch a", 1, backoff), pause("fetch b", 1, backoff));
        assert_eq!(pause("fetch a", 60, backoff), LONGEST_PAUSE);
    }
}
