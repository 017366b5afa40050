//! Composes everything: loop, task, optimiser, state, checkpoints.
//!
//! [`run::train`] takes a config to its summary. The loop itself is [`training::Training::run`].

pub mod applied;
pub mod beginning;
pub mod bench;
pub mod checkpoint;
pub mod classification;
pub mod data_parallel;
pub mod device;
pub mod divergence;
pub mod ema;
pub mod evaluation;
pub mod failure;
pub mod feed;
mod footprint;
pub mod gradients;
pub mod inference;
mod loading;
pub mod logging;
pub mod loss;
pub mod loss_scale;
pub mod masks;
pub mod memory;
pub mod mixing;
pub mod normalisation;
pub mod numbers;
pub mod optimizer;
pub mod replay;
pub mod resume;
pub mod run;
mod run_ahead;
pub mod run_folder;
pub mod saving;
pub mod sketches;
pub mod skipped;
#[cfg(test)]
mod small;
pub mod state;
pub mod step;
pub mod stop;
mod summary;
pub mod tally;
pub mod task;
pub mod teacher;
pub mod telemetry;
pub mod training;

/// Version of Rectify.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Version of the libtorch that this was built for.
pub const LIBTORCH_VERSION: &str = env!("RECTIFY_LIBTORCH_VERSION");
/// Commit of the sources; `None` where they were not in a git checkout.
pub const GIT_COMMIT: Option<&str> = option_env!("RECTIFY_GIT_COMMIT");
