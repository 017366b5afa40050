//! `summary.json`: what came of a run, for people and for sweeps.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{MetricsError, atomic};

/// What came of a run. Percentages are 0 to 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the run.
    pub name: String,
    /// Name of the model.
    pub model: String,
    /// Top-1 of the last evaluation, in percent; `null` if there was none.
    pub top1: Option<f64>,
    /// Top-5 of the last evaluation, in percent.
    pub top5: Option<f64>,
    /// Top-1 of the last evaluation of the moving average of the weights, in percent; `null` where there is none.
    pub ema_top1: Option<f64>,
    /// Its top-5, in percent.
    pub ema_top5: Option<f64>,
    /// Best top-1 of any evaluation, of the weights or of their average, in percent.
    pub best_top1: Option<f64>,
    /// Training loss of the last logged step.
    pub loss: Option<f64>,
    /// Training images per second of step time over all ranks, in the process that finished.
    pub images_per_second: f64,
    /// Median time of a step of rank 0 in the process that finished, its first steps left out; `null` after too few steps.
    #[serde(default)]
    pub step_seconds: Option<f64>,
    /// The most memory that a rank ever held resident, in MiB, in the process that finished; `null` where it is not known.
    #[serde(default)]
    pub peak_memory_mib: Option<f64>,
    /// Seconds from the start of the process that finished to its end, evaluation and checkpoints included.
    pub wall_seconds: f64,
    /// Finished steps, restarts included.
    pub steps: u64,
    /// Steps of the plan.
    pub steps_planned: u64,
    /// Passes over the training set.
    pub epochs: f64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Ranks.
    pub world_size: usize,
    /// libtorch threads of each rank.
    pub threads_per_rank: usize,
    /// The seed.
    pub seed: u64,
    /// The step of the checkpoint that the run went on from; `null` if it began anew.
    pub resumed_from: Option<u64>,
    /// What computed the steps of rank 0: "cpu", or the name of its GPU, such as "NVIDIA H200".
    pub device: String,
    /// Commit of the sources; `null` where they are not in a git checkout.
    pub git_commit: Option<String>,
    /// What it ran on.
    pub versions: Versions,
}

/// Versions of what a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Rectify.
    pub rectify: String,
    /// libtorch.
    pub libtorch: String,
    /// The MPI library; `null` if the run used none.
    pub mpi: Option<String>,
}

impl Summary {
    /// Writes the summary whole.
    ///
    /// # Errors
    /// [`MetricsError::File`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), MetricsError> {
        let text = serde_json::to_string_pretty(self).expect("a summary has string keys only") + "\n";
        atomic::replace(path, text.as_bytes())
    }

    /// Reads a summary.
    ///
    /// # Errors
    /// [`MetricsError::File`] if it cannot be read, [`MetricsError::Format`] if it is not a summary.
    pub fn read(path: &Path) -> Result<Summary, MetricsError> {
        let text = fs::read_to_string(path).map_err(|source| MetricsError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_str(&text)
            .map_err(|error| MetricsError::Format { path: path.to_owned(), reason: error.to_string() })
    }
}
