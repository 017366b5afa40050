//! Requests to stop: signals become a flag that the loop reads between steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

/// Set once somebody asks this process to checkpoint and end.
#[derive(Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that SIGINT, SIGTERM and SIGUSR1 set from now on.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn on_signals() -> std::io::Result<StopFlag> {
        let flag = StopFlag::default();
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            signal_hook::flag::register(signal, Arc::clone(&flag.0))?;
        }
        // A file that grows over a limit becomes an error of that write, as on a full disk, and not the end of the process.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        Ok(flag)
    }

    /// Asks for a stop, as a signal would.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
