//! The training loop and its step.

use collectives::{Communicator, Pending, Phase, Reduction};
use dataloader::{Batches, DataError};
use metrics::Phase as Time;
use plan::Plan;
use plan::config::Bad;

use crate::checkpoint::RunState;
use crate::classification::{Classification, ImageBatch};
use crate::data_parallel::{average_buffers, average_gradients};
use crate::divergence::Divergence;
use crate::evaluation::{Evaluated, Evaluation};
use crate::failure::Failure;
use crate::gradients::Clip;
use crate::memory::ImageMemory;
use crate::saving::Saving;
use crate::skipped::{correction, counted, scale_gradients};
use crate::state::TrainState;
use crate::stop::StopFlag;
use crate::task::Task;
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
    /// How gradients are clipped.
    pub clip: Clip,
    /// Watches for gradients that are not finite.
    pub divergence: Divergence,
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
    pub fn run(&mut self, state: &mut TrainState, batches: &mut Batches<'_, ImageMemory>) -> Result<Ending, Failure> {
        for step in state.step..self.plan.total_steps {
            let vote = self.vote_to_stop(step);
            self.train_step(state, batches, self.plan.learning_rate(step))?;
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
        Ok(Ending::Finished)
    }

    /// One optimiser step: micro-batches forward and backward, gradients averaged over the ranks and clipped, update.
    fn train_step(
        &mut self,
        state: &mut TrainState,
        batches: &mut Batches<'_, ImageMemory>,
        learning_rate: f64,
    ) -> Result<(), Failure> {
        let clock = &mut self.telemetry.clock;
        let parameters = state.model.parameters();
        parameters.zero_grads();
        let (mut loss_of_step, mut images_counted) = (state.loss_sum.zeros_like(), 0);
        for _ in 0..self.plan.accumulation {
            clock.enter(Time::DataWait);
            let lease = batches.next()?.ok_or(DataError::Stopped)?;
            let images = lease.images(lease.len(), lease.size());
            let batch = ImageBatch { images, labels: lease.labels(), samples: lease.samples() };

            clock.enter(Time::Forward);
            let loss = self.task.loss(&state.model, &batch) / self.plan.accumulation as f64;
            clock.enter(Time::Backward);
            loss.backward();
            loss_of_step += loss.detach();
            images_counted += counted(lease.labels());
        }
        clock.enter(Time::AllReduce);
        average_gradients(self.communicator, parameters, self.plan.config.parallel.bucket_mib, state.step)?;
        if self.plan.config.data.bad == Bad::Skip {
            let factor = correction(self.communicator, images_counted, self.plan.global_batch, state.step)?;
            scale_gradients(parameters, factor);
            loss_of_step *= factor;
        }
        state.loss_sum += loss_of_step;

        clock.enter(Time::Optimizer);
        let norm = self.clip.apply(parameters);
        self.divergence.watch(norm, state.step);
        state.optimizer.step(parameters, learning_rate, state.step);
        state.step += 1;
        state.loss_steps += 1;
        if let Some(ema) = &mut state.ema {
            ema.update(parameters, state.step);
        }
        self.telemetry.finish_step(self.plan.rank_batch);
        Ok(())
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
        self.divergence.check(self.plan)?;
        state.share_loss(self.communicator)?;
        self.telemetry.record(state, self.plan, self.divergence.norm());
        state.forget_loss();
        self.saving.report(&self.telemetry);
        Ok(())
    }

    fn evaluate(&mut self, state: &TrainState) -> Result<Evaluated, Failure> {
        self.divergence.check(self.plan)?;
        average_buffers(self.communicator, state.model.parameters(), state.step)?;
        let scores = self.evaluation.run(state, self.task, self.communicator)?;
        self.telemetry.record_evaluation(state.step, self.plan, &scores);
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
        self.divergence.check(self.plan)?;
        state.share_loss(self.communicator)?;
        average_buffers(self.communicator, state.model.parameters(), state.step)?;
        self.telemetry.clock.enter(Time::Checkpoint);
        let run = RunState::of(state, self.plan, self.evaluation.classes(), scores, self.telemetry.seconds());
        self.saving.save(state, run);
        self.telemetry.clock.leave();
        Ok(())
    }
}
