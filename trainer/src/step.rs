//! One optimiser step: what the loop does once for every global batch.

use std::sync::Arc;

use collectives::Communicator;
use kernels::cuda::Event;
use metrics::{Phase as Time, StepClock};
use models::Parameters;
use plan::Plan;
use plan::config::Bad;
use tch::Tensor;

use crate::classification::{Classification, ImageBatch};
use crate::data_parallel::{Averaging, Exchanges};
use crate::divergence::Divergence;
use crate::failure::Failure;
use crate::gradients::{Clip, norm};
use crate::loss_scale::{Verdict, scaled};
use crate::numbers::Numbers;
use crate::replay::Replays;
use crate::run_ahead::{self, RunAhead};
use crate::skipped::{correction, counted, scale_gradients};
use crate::state::TrainState;
use crate::task::Task;

/// Where micro-batches come from.
pub trait MicroBatches {
    /// Waits for the next micro-batch of this rank and does `work` with it.
    ///
    /// # Errors
    /// When there is none.
    fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure>;

    /// Begins to bring the one after, while the device works; where there is nothing to begin, does nothing.
    ///
    /// # Errors
    /// When there is none.
    fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What a step works with, besides the state that it changes.
pub struct Step<'a> {
    plan: &'a Plan,
    communicator: &'a dyn Communicator,
    /// Batch → loss.
    task: &'a Classification,
    /// How its parts are done.
    pub replays: Replays,
    averaging: Averaging,
    clip: Clip,
    run_ahead: Option<RunAhead<Event>>,
    /// Watches for gradients that are not finite.
    pub divergence: Divergence,
}

impl<'a> Step<'a> {
    /// Steps of `plan` over the ranks of `communicator`, for a model with these parameters.
    ///
    /// # Errors
    /// When libtorch refuses what a gradient that becomes whole should call, or the device gives no events.
    pub fn new(
        plan: &'a Plan,
        communicator: &'a Arc<dyn Communicator>,
        task: &'a Classification,
        parameters: &Parameters,
    ) -> Result<Step<'a>, Failure> {
        let exchanges = Exchanges::configured(&plan.config.parallel);
        Ok(Step {
            plan,
            communicator: &**communicator,
            task,
            replays: Replays::configured(plan, communicator.size(), parameters.device()),
            averaging: Averaging::new(communicator, parameters, exchanges)?,
            clip: Clip::configured(&plan.config.optimizer),
            run_ahead: run_ahead::on(parameters.device())?,
            divergence: Divergence::new(parameters.device()),
        })
    }

    /// Micro-batches forward and backward, gradients averaged over the ranks and clipped, update.
    ///
    /// # Errors
    /// When the loader gives up or a rank is lost.
    pub fn take(
        &mut self,
        state: &mut TrainState,
        batches: &mut impl MicroBatches,
        learning_rate: f64,
        clock: &mut StepClock,
    ) -> Result<(), Failure> {
        let model = &state.model;
        model.parameters().zero_grads();
        let (mut loss_of_step, mut images_counted) = (state.loss_sum.zeros_like(), 0);
        for micro_batch in 1..=self.plan.accumulation {
            clock.enter(Time::DataWait);
            let (loss, images) = batches.next(|batch| {
                clock.enter(Time::Forward);
                let inputs = self.task.inputs(model, batch);
                let loss = self.replays.passes.run(inputs, |inputs| {
                    state.sketches.iter().for_each(|sketches| sketches.look(model.parameters(), state.step));
                    let loss = self.task.loss(model, inputs) / self.plan.accumulation as f64;
                    state.sketches.iter_mut().for_each(|sketches| sketches.take_in(model.parameters()));
                    clock.enter(Time::Backward);
                    if micro_batch == self.plan.accumulation {
                        self.averaging.begin(state.step);
                    }
                    scaled(&loss, state.loss_scale).backward();
                    loss.detach()
                });
                loss.map(|loss| (loss, counted(batch.labels)))
            })??;
            loss_of_step += loss;
            images_counted += images;
            clock.enter(Time::DataWait);
            batches.prepare()?;
        }
        clock.enter(Time::AllReduce);
        self.averaging.finish()?;
        if self.plan.config.data.bad == Bad::Skip {
            let factor = correction(self.communicator, images_counted, self.plan.global_batch, state.step)?;
            scale_gradients(model.parameters(), factor);
            loss_of_step *= factor;
        }
        state.loss_sum += loss_of_step;

        clock.enter(Time::Optimizer);
        self.update(state, learning_rate)?;
        let parameters = state.model.parameters();
        state.step += 1;
        state.loss_steps += 1;
        if let Some(ema) = &mut state.ema {
            ema.update(parameters, state.step);
        }
        if let Some(sketches) = &mut state.sketches {
            sketches.refresh(parameters, self.communicator, state.step)?;
        }
        if let Some(run_ahead) = &mut self.run_ahead {
            run_ahead.end_step()?;
        }
        Ok(())
    }

    /// Moves the parameters by their gradients.
    fn update(&mut self, state: &mut TrainState, learning_rate: f64) -> Result<(), Failure> {
        if let Some(scale) = &state.loss_scale {
            scale_gradients(state.model.parameters(), 1.0 / scale.factor());
        }
        let known_norm = known_norm(state)?;
        if let (Some(scale), Some(norm)) = (&mut state.loss_scale, &known_norm)
            && scale.judge(norm.double_value(&[])) == Verdict::LeaveOut
        {
            tracing::info!(
                step = state.step,
                scale = scale.factor(),
                "gradients overflowed in f16: this step is left out"
            );
            self.divergence.pass_over();
            return Ok(());
        }
        let (parameters, optimizer) = (state.model.parameters(), &mut state.optimizer);
        let numbers = Numbers::new(learning_rate, state.step, parameters.device());
        let norm = self.replays.update.run(numbers, |numbers| {
            let norm = known_norm.as_ref().map_or_else(|| norm(parameters), Tensor::shallow_clone);
            self.clip.apply(parameters, optimizer.slices(), &norm);
            self.divergence.watch(&norm, numbers);
            optimizer.step(parameters, numbers);
            norm
        })?;
        self.divergence.note(norm);
        Ok(state.share_updates()?)
    }
}

/// The common L2 norm of the gradients, where the host has a part in it: of gradients spread over the ranks, and in f16, where it decides
/// what becomes of the step. Elsewhere it is part of the update.
fn known_norm(state: &TrainState) -> Result<Option<Tensor>, Failure> {
    let parameters = state.model.parameters();
    if let Some(sharding) = &state.sharding {
        let own = state.optimizer.slices().iter().map(|slice| slice.of(&parameters.groups()[slice.group].grads));
        return Ok(Some(sharding.norm(&own.collect::<Vec<_>>(), state.step)?));
    }
    Ok(state.loss_scale.is_some().then(|| norm(parameters)))
}
