//! What the loop does about checkpoints: rank 0 copies the state and hands it to the writer.

use std::path::Path;

use collectives::CommError;
use plan::Plan;

use crate::checkpoint::{CheckpointEvent, Checkpoints, RunState, Snapshot};
use crate::state::TrainState;
use crate::telemetry::Telemetry;

/// The checkpoints of a run; on ranks other than 0 nothing is saved.
pub struct Saving {
    checkpoints: Option<Checkpoints>,
    /// Why the newest checkpoint is not on disk, where it could not be written.
    lost: Option<String>,
}

impl Saving {
    /// Saves into `folder`, as the plan says, if this is rank 0.
    pub fn new(rank: usize, folder: &Path, plan: &Plan) -> Saving {
        let config = &plan.config.checkpoint;
        let checkpoints = (rank == 0).then(|| Checkpoints::new(folder, config.keep, config.best));
        Saving { checkpoints, lost: None }
    }

    /// Copies the state; the writing happens behind the training. Every rank must call it.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn save(&self, state: &TrainState, run: RunState) -> Result<(), CommError> {
        let moments = state.moments()?;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.save(Snapshot::take(run, state, moments));
        }
        Ok(())
    }

    /// Tells what became of checkpoints since the last call.
    pub fn report(&mut self, telemetry: &Telemetry<'_>) {
        let events: Vec<CheckpointEvent> = self.checkpoints.iter().flat_map(Checkpoints::events).collect();
        self.note(events, telemetry);
    }

    /// Waits until everything is written and tells what became of it.
    ///
    /// # Errors
    /// When the newest checkpoint could not be written: a sentence with the reason, and what to do.
    pub fn finish(mut self, telemetry: &Telemetry<'_>) -> Result<(), String> {
        let events = self.checkpoints.take().map(Checkpoints::finish).unwrap_or_default();
        self.note(events, telemetry);
        self.lost.map_or(Ok(()), Err)
    }

    fn note(&mut self, events: Vec<CheckpointEvent>, telemetry: &Telemetry<'_>) {
        for event in events {
            telemetry.record_checkpoint(&event);
            self.lost = match event {
                CheckpointEvent::Saved { .. } => None,
                CheckpointEvent::Failed { step, why } => Some(format!(
                    "the last checkpoint, of step {step}, could not be written: {why}; the steps since the checkpoint before it are \
                     lost; free space on that disk, and go on with --resume auto"
                )),
            };
        }
    }
}
