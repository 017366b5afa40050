//! How a run fails: an error, the exit code it stands for, and the report it leaves in the run's folder.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use collectives::{Communicator, Phase};
use serde::Serialize;
use world::Exit;

/// An error together with the exit code that a launcher acts on.
#[derive(Debug)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// What went wrong, with its context.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into() }
    }

    /// A failure told by a sentence.
    pub fn because(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, error: anyhow::Error::msg(message.into()) }
    }
}

/// What rank 0 came to, on all ranks: where it failed, all learn its reason, so that whichever is heard first tells it. The others
/// hand in something that stands for its result.
///
/// # Errors
/// `exit` with rank 0's reason, or a rank is lost.
pub fn agreed<T>(
    of_rank_0: Result<T, String>,
    exit: Exit,
    communicator: &dyn Communicator,
    phase: Phase,
) -> Result<T, Failure> {
    let mut reason = of_rank_0.as_ref().err().cloned().unwrap_or_default().into_bytes();
    communicator.broadcast(phase, &mut reason, 0)?;
    match of_rank_0 {
        Ok(found) if reason.is_empty() => Ok(found),
        Ok(_) => Err(Failure::because(exit, String::from_utf8_lossy(&reason))),
        Err(why) => Err(Failure::because(exit, why)),
    }
}

impl From<plan::ConfigError> for Failure {
    fn from(error: plan::ConfigError) -> Failure {
        Failure::new(Exit::Config, error)
    }
}

impl From<dataloader::DataError> for Failure {
    fn from(error: dataloader::DataError) -> Failure {
        Failure::new(Exit::Data, error)
    }
}

impl From<kernels::KernelError> for Failure {
    fn from(error: kernels::KernelError) -> Failure {
        Failure::new(Exit::Config, error)
    }
}

impl From<models::ModelError> for Failure {
    fn from(error: models::ModelError) -> Failure {
        Failure::new(Exit::Config, error)
    }
}

/// Ranks that lose one another may find themselves again at the next try; ranks that disagree will not.
impl From<collectives::CommError> for Failure {
    fn from(error: collectives::CommError) -> Failure {
        Failure::new(error.exit().unwrap_or(Exit::Config), error)
    }
}

/// What a failed rank leaves in `logs/rank-0007.error.json`: the launcher shows the earliest of them on top.
#[derive(Serialize)]
struct Report<'a> {
    rank: usize,
    host: &'a str,
    unix_time: f64,
    exit_code: i32,
    message: String,
}

/// Writes the failure's report to `logs`; best effort, since the failure itself matters more.
pub fn leave_report(logs: &Path, world: &world::World, failure: &Failure) {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64());
    let report = Report {
        rank: world.rank,
        host: &world.host,
        unix_time,
        exit_code: failure.exit.code(),
        message: format!("{:#}", failure.error),
    };
    if let Ok(text) = serde_json::to_string(&report) {
        let _ = std::fs::create_dir_all(logs);
        let _ = std::fs::write(logs.join(format!("rank-{:04}.error.json", world.rank)), text);
    }
}
