//! Hands what the loop measures to the metrics' sinks.

use std::time::{Instant, SystemTime};

use dataloader::{LoaderStats, Reason};
use metrics::{
    AverageReport, EvalReport, Event, LayerEntropies, LoaderReport, MetricsError, Recorder, StepClock, StepReport,
};
use models::Parameters;
use plan::Plan;
use tracing::warn;

use crate::checkpoint::CheckpointEvent;
use crate::evaluation::Evaluated;
use crate::state::TrainState;

/// The measurements of one rank.
pub struct Telemetry<'a> {
    /// Times the phases of a step.
    pub clock: StepClock,
    recorder: Recorder,
    loader: &'a LoaderStats,
    begun: Instant,
    last_loss: Option<f64>,
}

impl<'a> Telemetry<'a> {
    /// Measurements that go to `recorder`; `loader` is read at logged steps, and `clock` times the steps.
    pub fn new(recorder: Recorder, loader: &'a LoaderStats, clock: StepClock) -> Telemetry<'a> {
        recorder.metrics().set_loader(&loader_report(loader));
        Telemetry { clock, recorder, loader, begun: Instant::now(), last_loss: None }
    }

    /// The sinks.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Training loss of the last logged step.
    pub fn last_loss(&self) -> Option<f64> {
        self.last_loss
    }

    /// Seconds since training began in this process.
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Ends a step over `images` images of this rank.
    pub fn finish_step(&mut self, images: usize) {
        let times = self.clock.finish_step();
        self.recorder.step(&times, images as u64);
    }

    /// Records the step that just ended. A sink that fails costs a warning, not the run.
    pub fn record(&mut self, state: &TrainState, plan: &Plan, gradient_norm: Option<f64>) {
        let report = StepReport {
            step: state.step,
            epoch: plan.epoch_of(state.step),
            loss: state.mean_loss(),
            learning_rate: plan.learning_rate(state.step - 1),
            gradient_norm,
            loss_scale: state.loss_scale.map(|scale| scale.factor()),
            epsilon: epsilons(state.model.parameters()),
            loader: loader_report(self.loader),
        };
        self.last_loss = Some(report.loss);
        warn_about(self.recorder.record(report));
    }

    /// Records an evaluation of `state`.
    pub fn record_evaluation(&mut self, state: &TrainState, plan: &Plan, scores: &Evaluated) {
        let Evaluated { weights, ema, took } = scores;
        let report = EvalReport {
            step: state.step,
            epoch: plan.epoch_of(state.step),
            loss: weights.loss(),
            top1_percent: weights.top1(),
            top5_percent: weights.top5(),
            ema: ema.map(|ema| AverageReport { loss: ema.loss(), top1_percent: ema.top1(), top5_percent: ema.top5() }),
            samples: weights.images(),
            seconds: took.as_secs_f64(),
            entropies: if self.recorder.is_main() { entropies(state) } else { Vec::new() },
        };
        warn_about(self.recorder.record_eval(report));
    }

    /// Tells what became of a checkpoint.
    pub fn record_checkpoint(&self, event: &CheckpointEvent) {
        match event {
            CheckpointEvent::Saved { step, path, took } => {
                tracing::info!(step, path = %path.display(), seconds = took.as_secs_f64(), "checkpoint saved");
                self.recorder.metrics().checkpoint_saved(SystemTime::now());
                let path = path.display().to_string();
                self.recorder.progress().show(&Event::Checkpoint { step: *step, path });
            }
            CheckpointEvent::Failed { step, why } => {
                self.recorder.metrics().checkpoint_failed();
                self.notice(&format!(
                    "the checkpoint of step {step} could not be written: {why}; older checkpoints are as they were; \
                     free space on that disk"
                ));
            }
        }
    }

    /// Tells a person something that needs attention.
    pub fn notice(&self, text: &str) {
        warn!("{text}");
        self.recorder.progress().show(&Event::Notice { text: text.to_owned() });
    }
}

fn warn_about(outcome: Result<(), MetricsError>) {
    if let Err(error) = outcome {
        warn!("{error}");
    }
}

/// The learned ε of every CRReLU, by the name of its module.
fn epsilons(parameters: &Parameters) -> Vec<(String, f64)> {
    let learned = parameters.iter().filter_map(|parameter| {
        let layer = parameter.name.strip_suffix(".epsilon")?;
        Some((layer.to_owned(), parameter.tensor.double_value(&[0])))
    });
    learned.collect()
}

/// Entropies around the activations that are followed; a second's work for a large model.
fn entropies(state: &TrainState) -> Vec<LayerEntropies> {
    let found = state.sketches.iter().flat_map(|sketches| sketches.entropies(state.model.parameters()));
    found.map(|(layer, found)| LayerEntropies { layer, before: found.before, after: found.after }).collect()
}

fn loader_report(stats: &LoaderStats) -> LoaderReport {
    LoaderReport {
        queue_depth: stats.queue_depth(),
        read_bytes: stats.bytes(),
        bad_images: Reason::ALL.iter().map(|&reason| (reason.name().to_owned(), stats.bad(reason))).collect(),
    }
}
