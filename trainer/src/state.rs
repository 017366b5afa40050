//! The state of a run: one value that holds all that training needs to go on.

use collectives::{CommError, Communicator, Phase};
use models::Model;
use tch::{Kind, Tensor};

use crate::ema::Ema;
use crate::optimizer::Optimizer;

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
    /// The moving average of the parameters, where there is one.
    pub ema: Option<Ema>,
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
    pub fn new(model: Model, optimizer: Box<dyn Optimizer>, ema: Option<Ema>) -> TrainState {
        let device = model.parameters().groups()[0].values.device();
        let loss_sum = Tensor::zeros([], (Kind::Double, device));
        TrainState { step: 0, model, optimizer, ema, loss_sum, loss_steps: 0, best_top1: None, earlier_seconds: 0.0 }
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
