//! What the loop does about checkpoints: rank 0 copies the state and hands it to the writer.

use std::path::Path;

use collectives::CommError;
use plan::Plan;

use crate::checkpoint::{Checkpoints, RunState, Snapshot};
use crate::state::TrainState;
use crate::telemetry::Telemetry;

/// The checkpoints of a run; on ranks other than 0 nothing is saved.
pub struct Saving(Option<Checkpoints>);

impl Saving {
    /// Saves into `folder`, as the plan says, if this is rank 0.
    pub fn new(rank: usize, folder: &Path, plan: &Plan) -> Saving {
        let config = &plan.config.checkpoint;
        Saving((rank == 0).then(|| Checkpoints::new(folder, config.keep, config.best)))
    }

    /// Copies the state; the writing happens behind the training. Every rank must call it.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn save(&self, state: &TrainState, run: RunState) -> Result<(), CommError> {
        let moments = state.moments()?;
        if let Some(checkpoints) = &self.0 {
            checkpoints.save(Snapshot::take(run, state, moments));
        }
        Ok(())
    }

    /// Tells what became of checkpoints since the last call.
    pub fn report(&self, telemetry: &Telemetry<'_>) {
        for event in self.0.iter().flat_map(Checkpoints::events) {
            telemetry.record_checkpoint(&event);
        }
    }

    /// Waits until everything is written and tells what became of it.
    pub fn finish(self, telemetry: &Telemetry<'_>) {
        for event in self.0.into_iter().flat_map(Checkpoints::finish) {
            telemetry.record_checkpoint(&event);
        }
    }
}
