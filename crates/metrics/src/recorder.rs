//! Passes what was measured to every sink: Prometheus' metrics, `metrics.jsonl`, the console.

use std::time::SystemTime;

use crate::{
    EvalRecord, EvalReport, Event, JsonLines, LayerEntropies, Metrics, MetricsError, Phase, Progress, Record, RunShape,
    StepRecord, StepReport, StepTimes, Window, handle::unix_seconds, recent::RecentSteps,
};

/// The sinks of one rank. Rank 0 has the file and the console; the others only their metrics.
pub struct Recorder {
    metrics: Metrics,
    lines: Option<JsonLines>,
    progress: Progress,
    shape: RunShape,
    since_record: Window,
    since_start: Window,
    recent: RecentSteps,
    best_top1: Option<f64>,
}

impl Recorder {
    /// A recorder for a run of this shape; announces the run on the console.
    pub fn new(metrics: Metrics, lines: Option<JsonLines>, progress: Progress, shape: RunShape) -> Recorder {
        metrics.set_plan(shape.world_size, shape.total_steps);
        progress.show(&Event::Begin { run: metrics.identity().run.clone(), shape });
        let (since_record, since_start) = (Window::default(), Window::default());
        let recent = RecentSteps::new();
        Recorder { metrics, lines, progress, shape, since_record, since_start, recent, best_top1: None }
    }

    /// The metrics, for what has no record: loader, checkpoints.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether this is rank 0, which speaks for all.
    pub fn is_main(&self) -> bool {
        self.metrics.identity().rank == 0
    }

    /// The console.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Says what the best top-1 was before this process began, from the checkpoint.
    pub fn restore_best_top1(&mut self, percent: Option<f64>) {
        self.best_top1 = percent;
    }

    /// Best top-1 so far in percent; `None` before the first evaluation.
    pub fn best_top1(&self) -> Option<f64> {
        self.best_top1
    }

    /// Counts one finished step over `images` images of this rank. To be called every step; allocates nothing.
    pub fn step(&mut self, times: &StepTimes, images: u64) {
        self.metrics.observe_step(times, images);
        self.since_record.add(times, images);
        self.since_start.add(times, images);
        self.recent.add(times.total());
    }

    /// Records a logged step in every sink.
    ///
    /// # Errors
    /// [`MetricsError::File`] if `metrics.jsonl` did not take it; the other sinks have it all the same, and the next
    /// record may be tried.
    pub fn record(&mut self, report: StepReport) -> Result<(), MetricsError> {
        let window = std::mem::take(&mut self.since_record);
        self.metrics.set_loader(&report.loader);
        let record = StepRecord {
            step: report.step,
            epoch: report.epoch,
            timestamp_seconds: unix_seconds(SystemTime::now()),
            loss: report.loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            loss_scale: report.loss_scale,
            images: report.step * self.shape.global_batch,
            images_per_second: window.images_per_second() * self.shape.world_size as f64,
            step_seconds: window.step_seconds(),
            step_phase_seconds: Phase::ALL
                .iter()
                .map(|&phase| (phase.label().to_owned(), window.mean_phase_seconds(phase)))
                .collect(),
            loader_queue_depth: report.loader.queue_depth,
            loader_read_bytes: report.loader.read_bytes,
            bad_images: report.loader.bad_images,
            epsilon: report.epsilon,
        };
        self.metrics.set_step(&record);
        self.progress.show(&Event::Step {
            step: record.step,
            epoch: record.epoch,
            loss: record.loss,
            learning_rate: record.learning_rate,
            images_per_second: record.images_per_second,
        });
        self.write(&Record::Step(record))
    }

    /// Records an evaluation in every sink.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn record_eval(&mut self, report: EvalReport) -> Result<(), MetricsError> {
        let now = report.ema.map_or(0.0, |ema| ema.top1_percent).max(report.top1_percent);
        let best = self.best_top1.map_or(now, |best| best.max(now));
        self.best_top1 = Some(best);
        let by_layer = |entropy: fn(&LayerEntropies) -> f64| {
            report.entropies.iter().map(|one| (one.layer.clone(), entropy(one))).collect()
        };
        let record = EvalRecord {
            step: report.step,
            epoch: report.epoch,
            timestamp_seconds: unix_seconds(SystemTime::now()),
            evaluation_loss: report.loss,
            top1_percent: report.top1_percent,
            top5_percent: report.top5_percent,
            best_top1_percent: best,
            ema_evaluation_loss: report.ema.map(|ema| ema.loss),
            ema_top1_percent: report.ema.map(|ema| ema.top1_percent),
            ema_top5_percent: report.ema.map(|ema| ema.top5_percent),
            evaluation_samples: report.samples,
            evaluation_seconds: report.seconds,
            preactivation_entropy: by_layer(|one| one.before),
            output_entropy: by_layer(|one| one.after),
        };
        self.metrics.set_eval(&record);
        self.progress.show(&Event::Eval {
            step: record.step,
            epoch: record.epoch,
            top1_percent: record.top1_percent,
            top5_percent: record.top5_percent,
            ema_top1_percent: record.ema_top1_percent,
        });
        self.write(&Record::Eval(record))
    }

    /// Images per second of step time over all ranks, since this process began.
    pub fn images_per_second(&self) -> f64 {
        self.since_start.images_per_second() * self.shape.world_size as f64
    }

    /// Median seconds of this rank's recent steps, the first of the process left out; `None` before there are any.
    pub fn median_step_seconds(&self) -> Option<f64> {
        self.recent.median_seconds()
    }

    /// This rank's sums since this process began.
    pub fn totals(&self) -> &Window {
        &self.since_start
    }

    /// Says on the console that training ended after `step`.
    pub fn finish(&self, step: u64) {
        self.progress.show(&Event::End { step });
    }

    fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        self.lines.as_mut().map_or(Ok(()), |lines| lines.write(record))
    }
}
