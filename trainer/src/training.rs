//! The training loop.

use collectives::{Communicator, Pending, Phase, Reduction};
use metrics::Phase as Time;
use plan::Plan;

use crate::checkpoint::RunState;
use crate::classification::Classification;
use crate::data_parallel::average_buffers;
use crate::evaluation::{Evaluated, Evaluation};
use crate::failure::Failure;
use crate::saving::Saving;
use crate::state::TrainState;
use crate::step::{MicroBatches, Step};
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
    pub fn run(&mut self, state: &mut TrainState, batches: &mut impl MicroBatches) -> Result<Ending, Failure> {
        for step in state.step..self.plan.total_steps {
            let vote = self.vote_to_stop(step);
            self.step.take(state, batches, self.plan.learning_rate(step), &mut self.telemetry.clock)?;
            let stop = self.count_votes(vote)?;
            // What follows waits for the device anyway. Here the wait counts towards the step's last phase.
            if stop || self.is_due(state.step) {
                self.telemetry.clock.settle();
            }
            self.telemetry.finish_step(self.plan.rank_batch);

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

    /// Whether a log line, an evaluation or a checkpoint follows the step that just ended.
    fn is_due(&self, step: u64) -> bool {
        let Plan { log, eval, checkpoint, .. } = self.plan;
        [log, eval, checkpoint].into_iter().any(|every| every.due(step))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use collectives::local_ranks;
    use dataloader::{DatasetSpec, LoaderSpec, LoaderStats, SampleKey};
    use metrics::{Identity, Metrics, Progress, ProgressMode, Recorder, RunShape, StepClock};
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::classification::ImageBatch;
    use crate::loss::Loss;
    use crate::run::initial_state;
    use crate::small;

    /// The same noise in every step; asks for a stop while a step is at work.
    struct Noise<'a> {
        step: Arc<AtomicU64>,
        stop: &'a StopFlag,
        stop_in: Option<u64>,
    }

    impl MicroBatches for Noise<'_> {
        fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure> {
            let step = 1 + self.step.fetch_add(1, Ordering::Relaxed);
            if self.stop_in == Some(step) {
                self.stop.request();
            }
            let images = Tensor::arange(16 * 3 * 16 * 16, (Kind::Float, Device::Cpu)) * 0.37;
            let images = images.sin().view([16, 3, 16, 16]);
            let labels: Vec<i64> = (0..16).map(|image| image % 10).collect();
            let samples: Vec<SampleKey> =
                (0..16).map(|position| SampleKey { epoch: 0, position, sample: position }).collect();
            Ok(work(&ImageBatch { images: images.into(), labels: &labels, samples: &samples }))
        }
    }

    /// At the end of which steps a training waits for its device, and in which phases.
    fn waited_for(sets: &[&str], stop_in: Option<u64>) -> (Vec<(u64, Time)>, Ending) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
        let data = format!("data.path={}", folder.path().join("digits").display());
        let plan = small::plan_with(&[&[data.as_str()], sets].concat());
        let digits = dataloader::open(&DatasetSpec::configured(&plan.config)).expect("the digits").validation;
        let ranks = local_ranks(1, Duration::from_secs(60)).remove(0);
        let mut state = initial_state(&plan, &ranks, Device::Cpu).expect("a small model");
        let task = Classification { seed: 1, loss: Loss::CrossEntropy { smoothing: 0.0 }, mixing: None, teacher: None };

        let (step, waits) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (current, noted) = (Arc::clone(&step), Arc::clone(&waits));
        let clock = StepClock::settling_on_request(move |phase| {
            noted.lock().expect("one thread").push((current.load(Ordering::Relaxed), phase));
        });
        let identity = Identity { run: "test".to_owned(), rank: 0, host: "here".to_owned() };
        let shape = RunShape {
            total_steps: plan.total_steps,
            start_step: 0,
            epochs: plan.config.schedule.epochs,
            global_batch: 16,
            world_size: 1,
        };
        let recorder = Recorder::new(Metrics::new(&identity), None, Progress::new(ProgressMode::Off), shape);
        let (stats, validation_stats, stop) = (LoaderStats::new(), LoaderStats::new(), StopFlag::default());
        let mut training = Training {
            plan: &plan,
            communicator: &*ranks,
            task: &task,
            evaluation: Evaluation::new(&*digits, LoaderSpec::evaluation(&plan.config, 16, 64), 16, &validation_stats),
            saving: Saving::new(0, &folder.path().join("checkpoints"), &plan),
            telemetry: Telemetry::new(recorder, &stats, clock),
            step: Step::new(&plan, &ranks, &task, state.model.parameters()).expect("hooks"),
            stop: &stop,
        };
        let mut noise = Noise { step, stop: &stop, stop_in };
        let ending = training.run(&mut state, &mut noise).expect("a run");
        let Training { saving, telemetry, .. } = training;
        saving.finish(&telemetry).expect("checkpoints");
        (std::mem::take(&mut *waits.lock().expect("one thread")), ending)
    }

    /// Log lines, evaluations and checkpoints each have steps of their own here; ten steps are an epoch.
    #[test]
    fn the_device_is_waited_for_in_the_last_phase_of_the_steps_that_are_due() {
        let sets = ["schedule.max_steps=13", "log.every_steps=4", "eval.every_epochs=0.5", "checkpoint.every_steps=6"];
        let (waits, ending) = waited_for(&sets, None);
        assert_eq!(waits, [4, 5, 6, 8, 10, 12, 13].map(|step| (step, Time::Optimizer)));
        assert_eq!(ending, Ending::Finished);
    }

    #[test]
    fn the_device_is_waited_for_before_a_stop() {
        let sets = ["schedule.max_steps=13", "log.every_steps=100", "eval.every_epochs=0", "checkpoint.every_epochs=0"];
        // The vote of step 3 was cast before the request.
        let (waits, ending) = waited_for(&sets, Some(3));
        assert_eq!((waits, ending), (vec![(4, Time::Optimizer)], Ending::Stopped));
    }
}
