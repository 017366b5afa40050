//! A copy of the training state in host memory, which can be written while training goes on.

use std::collections::BTreeMap;

use eafo::sketch::Sketch;
use models::{ModelError, to_safetensors};
use plan::Plan;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::evaluation::Evaluated;
use crate::loss_scale::LossScale;
use crate::sketches::Sketches;
use crate::state::{Moment, TrainState};

/// Everything of a run's state that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Finished optimiser steps; the loader's cursor and every random choice follow from it.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// The resolved config of the run, as TOML.
    pub config: String,
    /// Top-1 accuracy in percent, where an evaluation was done at this very step.
    pub top1: Option<f64>,
    /// The same of the moving average, where there is one.
    #[serde(default)]
    pub ema_top1: Option<f64>,
    /// Best top-1 accuracy so far, of the weights or of their average, in percent.
    pub best_top1: Option<f64>,
    /// Sum of the losses since the last logged step, of this global batch and those before.
    pub loss_sum: f64,
    /// How many steps `loss_sum` covers.
    pub loss_steps: u64,
    /// The scale of the loss, where products are in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Seconds of training so far, over all the processes that worked on the run.
    pub wall_seconds: f64,
    /// The names of the classes, in the order of the outputs; empty in checkpoints of earlier versions.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The densities of pre-activations that are followed, by module.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sketches: BTreeMap<String, Sketch>,
}

impl RunState {
    /// What `state` is at this moment, after `seconds` of training in this process on images of these classes.
    pub fn of(
        state: &TrainState,
        plan: &Plan,
        classes: &[String],
        scores: Option<Evaluated>,
        seconds: f64,
    ) -> RunState {
        RunState {
            step: state.step,
            seed: plan.config.seed,
            config: plan.config.to_toml(),
            top1: scores.map(|scores| scores.weights.top1()),
            ema_top1: scores.and_then(|scores| Some(scores.ema?.top1())),
            best_top1: state.best_top1,
            loss_sum: state.loss_sum.double_value(&[]),
            loss_steps: state.loss_steps,
            loss_scale: state.loss_scale,
            wall_seconds: state.earlier_seconds + seconds,
            classes: classes.to_vec(),
            sketches: state.sketches.as_ref().map(Sketches::shared).unwrap_or_default(),
        }
    }
}

/// A copy of the state at one step.
pub struct Snapshot {
    /// Everything that is not a tensor.
    pub state: RunState,
    parameters: Vec<(String, Tensor)>,
    optimizer: Vec<(String, Tensor)>,
    ema: Option<Vec<(String, Tensor)>>,
}

impl Snapshot {
    /// Copies the state, with the optimiser's `moments` whole, to the host; the only part of saving that a step waits for.
    pub fn take(run: RunState, state: &TrainState, moments: Vec<Moment>) -> Snapshot {
        let parameters = state.model.parameters();
        let values: Vec<Tensor> = parameters.groups().iter().map(|group| group.values.shallow_clone()).collect();
        let optimizer = moments.into_iter().flat_map(|(prefix, buffers)| {
            let views = parameters.views(&on_host(&buffers));
            views.into_iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
        });
        let optimizer = optimizer.collect();
        let named = |values: &[Tensor]| {
            let buffers = parameters.buffers().iter().map(|(name, tensor)| (name.clone(), host_copy(tensor)));
            parameters.views(&on_host(values)).into_iter().chain(buffers).collect()
        };
        let ema = state.ema.as_ref().map(|ema| named(ema.averages()));
        Snapshot { state: run, parameters: named(&values), optimizer, ema }
    }

    /// A snapshot of tensors that nobody else changes.
    #[cfg(test)]
    pub(super) fn of(state: RunState, parameters: Vec<(String, Tensor)>, optimizer: Vec<(String, Tensor)>) -> Snapshot {
        Snapshot { state, parameters, optimizer, ema: None }
    }

    /// The parameters in safetensors' format.
    pub(super) fn parameters_file(&self) -> Result<Vec<u8>, ModelError> {
        to_safetensors(&self.parameters)
    }

    /// The optimiser's memory in safetensors' format.
    pub(super) fn optimizer_file(&self) -> Result<Vec<u8>, ModelError> {
        to_safetensors(&self.optimizer)
    }

    /// The moving average of the parameters in safetensors' format, where there is one.
    pub(super) fn ema_file(&self) -> Option<Result<Vec<u8>, ModelError>> {
        self.ema.as_ref().map(|ema| to_safetensors(ema))
    }
}

/// Copies that later steps do not change.
fn on_host(buffers: &[Tensor]) -> Vec<Tensor> {
    buffers.iter().map(host_copy).collect()
}

fn host_copy(buffer: &Tensor) -> Tensor {
    buffer.detach().to_device(Device::Cpu).copy()
}
