//! The training loop.

use collectives::{Communicator, Pending, Phase, Reduction};
use metrics::Phase as Time;
use plan::Plan;

use crate::checkpoint::RunState;
use crate::classification::Classification;
use crate::data_parallel::average_buffers;
use crate::evaluation::{Evaluated, Evaluation};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::saving::Saving;
use crate::state::TrainState;
use crate::step::Step;
use crate::stop::StopFlag;
use crate::telemetry::Telemetry;

/// What the loop works with, besides the state that it changes.
pub struct Training<'a> {
    /// What the run will do.
    pub plan: &'a Plan,
    /// The other ranks.
    pub communicator: &'a dyn Communicator,
    /// Batch → loss → scores.
    pub task: &'a Classification,
    /// The validation set.
    pub evaluation: Evaluation<'a>,
    /// Where checkpoints go.
    pub saving: Saving,
    /// Where measurements go.
    pub telemetry: Telemetry<'a>,
    /// What is done once for every global batch.
    pub step: Step<'a>,
    /// Whether somebody asked this rank to stop.
    pub stop: &'a StopFlag,
}

/// How the loop ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every planned step is done.
    Finished,
    /// Somebody asked for a stop; the state is saved.
    Stopped,
}

impl Training<'_> {
    /// Trains from where `state` stands to the end of the plan, or to a request to stop, on all ranks at the same step.
    ///
    /// # Errors
    /// [`world::Exit::Data`] when the loader gives up, [`world::Exit::Retry`] when a rank is lost,
    /// [`world::Exit::Diverged`] when gradients are not finite.
    pub fn run(&mut self, state: &mut TrainState, batches: &mut Feed<'_, '_>) -> Result<Ending, Failure> {
        for step in state.step..self.plan.total_steps {
            let vote = self.vote_to_stop(step);
            self.step.take(state, batches, self.plan.learning_rate(step), &mut self.telemetry.clock)?;
            self.telemetry.finish_step(self.plan.rank_batch);
            let stop = self.count_votes(vote)?;

            if self.plan.log.due(state.step) || stop {
                self.record(state)?;
            }
            let scores = if self.plan.eval.due(state.step) { Some(self.evaluate(state)?) } else { None };
            let improved = self.improved(state, scores);
            if self.plan.checkpoint.due(state.step) || stop || improved {
                self.save(state, scores)?;
            }
            if stop {
                return Ok(Ending::Stopped);
            }
        }
        // Of a run that was complete when it was resumed: its summary tells scores too.
        if self.evaluation.last().is_none() {
            self.evaluation.run(state, self.task, self.communicator)?;
        }
        Ok(Ending::Finished)
    }

    /// Tells the other ranks whether this one was asked to stop; they answer while the step computes.
    fn vote_to_stop(&self, step: u64) -> Pending {
        let vote = vec![f32::from(u8::from(self.stop.requested()))];
        self.communicator.start_all_reduce(Phase::of_step("stop vote", step), vote.into(), Reduction::Sum)
    }

    fn count_votes(&mut self, vote: Pending) -> Result<bool, Failure> {
        let votes = vote.wait()?.into_f32().expect("the vote was a vector of f32");
        Ok(votes[0] > 0.0)
    }

    fn record(&mut self, state: &mut TrainState) -> Result<(), Failure> {
        self.step.divergence.check(self.plan)?;
        state.share_loss(self.communicator)?;
        self.telemetry.record(state, self.plan, self.step.divergence.norm());
        state.forget_loss();
        self.saving.report(&self.telemetry);
        Ok(())
    }

    fn evaluate(&mut self, state: &mut TrainState) -> Result<Evaluated, Failure> {
        self.step.divergence.check(self.plan)?;
        average_buffers(self.communicator, state.model.parameters(), state.step)?;
        state.share_sketches(self.communicator)?;
        let scores = self.evaluation.run(state, self.task, self.communicator)?;
        self.telemetry.record_evaluation(state, self.plan, &scores);
        Ok(scores)
    }

    /// Whether this evaluation is the best so far, of the weights or of their average, and the best is to be kept.
    fn improved(&self, state: &mut TrainState, scores: Option<Evaluated>) -> bool {
        let Some(top1) = scores.map(|scores| scores.best_top1()) else { return false };
        let better = state.best_top1.is_none_or(|best| top1 > best);
        if better {
            state.best_top1 = Some(top1);
        }
        better && self.plan.config.checkpoint.best
    }

    fn save(&mut self, state: &mut TrainState, scores: Option<Evaluated>) -> Result<(), Failure> {
        self.step.divergence.check(self.plan)?;
        state.share_loss(self.communicator)?;
        state.share_sketches(self.communicator)?;
        average_buffers(self.communicator, state.model.parameters(), state.step)?;
        self.telemetry.clock.enter(Time::Checkpoint);
        let run = RunState::of(state, self.plan, self.evaluation.classes(), scores, self.telemetry.seconds());
        self.saving.save(state, run)?;
        self.telemetry.clock.leave();
        Ok(())
    }
}
