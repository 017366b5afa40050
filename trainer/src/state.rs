//! The state of a run: one value that holds all that training needs to go on.

use collectives::{CommError, Communicator, Phase};
use models::Model;
use tch::{Kind, Tensor};

use crate::data_parallel::Sharding;
use crate::ema::Ema;
use crate::loss_scale::LossScale;
use crate::optimizer::Optimizer;
use crate::sketches::Sketches;

/// A moment of an optimiser: the prefix of its names in a checkpoint, and one buffer a parameter group.
pub type Moment = (&'static str, Vec<Tensor>);

/// Everything that changes while a run trains. A checkpoint is this value on disk, and nothing else is.
///
/// Random choices need no state: they follow from the seed and the position in the stream, and that from `step`.
pub struct TrainState {
    /// Finished optimiser steps.
    pub step: u64,
    /// The network and its parameters.
    pub model: Model,
    /// The update rule and what it remembers.
    pub optimizer: Box<dyn Optimizer>,
    /// How the optimiser's work is spread over the ranks, where it is.
    pub sharding: Option<Sharding>,
    /// The moving average of the parameters, where there is one.
    pub ema: Option<Ema>,
    /// The densities of pre-activations, where they are followed.
    pub sketches: Option<Sketches>,
    /// What the loss is multiplied by before backward, where products are in f16.
    pub loss_scale: Option<LossScale>,
    /// Sum of the losses since the last logged step, a scalar f64 on the model's device.
    pub loss_sum: Tensor,
    /// How many steps `loss_sum` covers.
    pub loss_steps: u64,
    /// Best top-1 accuracy so far, in percent.
    pub best_top1: Option<f64>,
    /// Seconds of training before this process began.
    pub earlier_seconds: f64,
}

impl TrainState {
    /// The state before the first step.
    pub fn new(
        model: Model,
        optimizer: Box<dyn Optimizer>,
        sharding: Option<Sharding>,
        ema: Option<Ema>,
        sketches: Option<Sketches>,
        loss_scale: Option<LossScale>,
    ) -> TrainState {
        let device = model.parameters().groups()[0].values.device();
        let loss_sum = Tensor::zeros([], (Kind::Double, device));
        TrainState {
            step: 0,
            model,
            optimizer,
            sharding,
            ema,
            sketches,
            loss_scale,
            loss_sum,
            loss_steps: 0,
            best_top1: None,
            earlier_seconds: 0.0,
        }
    }

    /// Gives all ranks what each has updated, where the optimiser's work is spread over them.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn share_updates(&self) -> Result<(), CommError> {
        let Some(sharding) = &self.sharding else { return Ok(()) };
        let values: Vec<Tensor> =
            self.model.parameters().groups().iter().map(|group| group.values.shallow_clone()).collect();
        sharding.share(&values, Phase::of_step("updates", self.step))
    }

    /// What the optimiser remembers, whole: by prefix one buffer a parameter group. Every rank must call it.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn moments(&self) -> Result<Vec<Moment>, CommError> {
        let Some(sharding) = &self.sharding else { return Ok(self.optimizer.buffers()) };
        let gather = |(prefix, own): (&'static str, Vec<Tensor>)| {
            let whole: Vec<Tensor> =
                self.model.parameters().groups().iter().map(|one| one.values.zeros_like()).collect();
            for (slice, own) in self.optimizer.slices().iter().zip(&own) {
                slice.of(&whole[slice.group]).copy_(own);
            }
            sharding.share(&whole, Phase::of_step("optimiser's memory", self.step))?;
            Ok((prefix, whole))
        };
        self.optimizer.buffers().into_iter().map(gather).collect()
    }

    /// Makes the optimiser remember what is given for every moment by the names of the parameters, whole.
    ///
    /// # Errors
    /// The first moment that is missing or does not fit, in words.
    pub fn restore_moments(&mut self, named: &[(String, Tensor)]) -> Result<(), String> {
        let parameters = self.model.parameters();
        for (prefix, own) in self.optimizer.buffers() {
            let of_moment = |(name, tensor): &(String, Tensor)| {
                Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()))
            };
            let named: Vec<(String, Tensor)> = named.iter().filter_map(of_moment).collect();
            let whole: Vec<Tensor> = parameters.groups().iter().map(|one| one.values.zeros_like()).collect();
            parameters.restore_into(&whole, &named).map_err(|error| format!("{prefix}: {error}"))?;
            for (slice, mut own) in self.optimizer.slices().iter().zip(own) {
                own.copy_(&slice.of(&whole[slice.group]));
            }
        }
        Ok(())
    }

    /// Makes `loss_sum` the mean over the ranks, the same on each; waits for the device.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn share_loss(&mut self, communicator: &dyn Communicator) -> Result<(), CommError> {
        let mut sum = [self.loss_sum.double_value(&[])];
        communicator.all_reduce_sum_f64(Phase::of_step("loss", self.step), &mut sum)?;
        let _ = self.loss_sum.fill_(sum[0] / communicator.size() as f64);
        Ok(())
    }

    /// Adds up what the ranks have seen of pre-activations, where these are followed.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn share_sketches(&mut self, communicator: &dyn Communicator) -> Result<(), CommError> {
        self.sketches.as_mut().map_or(Ok(()), |sketches| sketches.share(communicator, self.step))
    }

    /// The mean loss of the steps since the last logged one; NaN before the first step.
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum.double_value(&[]) / self.loss_steps as f64
    }

    /// Begins a new stretch of steps between logs.
    pub fn forget_loss(&mut self) {
        let _ = self.loss_sum.zero_();
        self.loss_steps = 0;
    }
}
