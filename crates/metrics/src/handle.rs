//! The handle through which a process sets its metrics: typed, cheap to clone, free of allocation inside a step.

use std::{
    collections::HashMap,
    sync::{Arc, Once},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::{
    EvalRecord, LoaderReport, Phase, StepRecord, StepTimes,
    catalogue::{self, BUCKETS_SECONDS, Metric},
};

/// Who exports: the labels that every metric carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the run.
    pub run: String,
    /// Rank among all processes of the run.
    pub rank: usize,
    /// Name of the machine.
    pub host: String,
}

/// All metrics of one process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

impl Metrics {
    /// Declares the whole catalogue under this identity. Counters and histograms start at 0; a gauge appears when it is
    /// first set.
    pub fn new(identity: &Identity) -> Metrics {
        Metrics { inner: Arc::new(Inner::new(identity)) }
    }

    /// Who exports.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Says what runs: the version of Rectify and of libtorch, and the git commit (empty where unknown).
    pub fn set_build(&self, version: &str, libtorch: &str, commit: &str) {
        self.inner.build_info.with_label_values(&[version, libtorch, commit]).set(1.0);
    }

    /// Says how large the run is: ranks, and the step after which it ends.
    pub fn set_plan(&self, world_size: usize, steps_planned: u64) {
        self.inner.world_size.set(world_size as f64);
        self.inner.steps_planned.set(steps_planned as f64);
    }

    /// Counts one finished step over `images` images of this rank. Allocates nothing.
    pub fn observe_step(&self, times: &StepTimes, images: u64) {
        self.inner.images.inc_by(images);
        self.inner.step_seconds.observe(times.total().as_secs_f64());
        for phase in Phase::ALL {
            if let Some(spent) = times.phase(phase) {
                self.inner.phases[phase as usize].observe(spent.as_secs_f64());
            }
        }
    }

    /// Sets what a logged step says.
    pub fn set_step(&self, record: &StepRecord) {
        let inner = &self.inner;
        inner.step.set(record.step as f64);
        inner.epoch.set(record.epoch);
        inner.loss.set(record.loss);
        inner.learning_rate.set(record.learning_rate);
        inner.images_per_second.set(record.images_per_second);
        if let Some(norm) = record.gradient_norm {
            inner.gradient_norm.set(norm);
        }
        if let Some(scale) = record.loss_scale {
            inner.loss_scale.set(scale);
        }
        for (layer, value) in &record.epsilon {
            inner.epsilon.with_label_values(&[layer]).set(*value);
        }
    }

    /// Sets what an evaluation says.
    pub fn set_eval(&self, record: &EvalRecord) {
        self.inner.evaluation_loss.set(record.evaluation_loss);
        self.inner.evaluation_seconds.set(record.evaluation_seconds);
        self.inner.top1.set(record.top1_percent);
        self.inner.top5.set(record.top5_percent);
        self.inner.best_top1.set(record.best_top1_percent);
        for (gauge, number) in [
            (&self.inner.ema_evaluation_loss, record.ema_evaluation_loss),
            (&self.inner.ema_top1, record.ema_top1_percent),
            (&self.inner.ema_top5, record.ema_top5_percent),
        ] {
            number.into_iter().for_each(|number| gauge.set(number));
        }
        for (gauges, by_layer) in [
            (&self.inner.preactivation_entropy, &record.preactivation_entropy),
            (&self.inner.output_entropy, &record.output_entropy),
        ] {
            by_layer.iter().for_each(|(layer, entropy)| gauges.with_label_values(&[layer]).set(*entropy));
        }
    }

    /// Sets what the loader says of itself. Call it at the start too, with every reason at 0.
    pub fn set_loader(&self, report: &LoaderReport) {
        self.inner.loader_queue_depth.set(report.queue_depth as f64);
        raise(&self.inner.loader_read_bytes, report.read_bytes);
        for (reason, total) in &report.bad_images {
            raise(&self.inner.bad_images.with_label_values(&[reason]), *total);
        }
    }

    /// Counts a checkpoint that was complete on disk at `when`.
    pub fn checkpoint_saved(&self, when: SystemTime) {
        self.inner.checkpoints_saved.inc();
        self.inner.checkpoint_timestamp.set(unix_seconds(when));
    }

    /// Says when the checkpoint that this run goes on from was made.
    pub fn checkpoint_restored(&self, made: SystemTime) {
        self.inner.checkpoint_timestamp.set(unix_seconds(made));
    }

    /// Counts a checkpoint that could not be written.
    pub fn checkpoint_failed(&self) {
        self.inner.checkpoints_failed.inc();
    }

    /// Every metric in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.inner.registry.gather(), &mut text)
            .expect("families gathered from a registry are well formed, and a String takes all that is written");
        text
    }
}

/// Seconds since 1970 UTC; 0 for a clock before that.
pub(crate) fn unix_seconds(when: SystemTime) -> f64 {
    when.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Brings a counter up to a total that is counted elsewhere. A total that fell back changes nothing.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

struct Inner {
    identity: Identity,
    registry: Registry,
    build_info: GaugeVec,
    world_size: LateGauge,
    step: LateGauge,
    steps_planned: LateGauge,
    epoch: LateGauge,
    images: IntCounter,
    images_per_second: LateGauge,
    step_seconds: Histogram,
    phases: [Histogram; Phase::ALL.len()],
    loss: LateGauge,
    learning_rate: LateGauge,
    gradient_norm: LateGauge,
    loss_scale: LateGauge,
    epsilon: GaugeVec,
    evaluation_loss: LateGauge,
    evaluation_seconds: LateGauge,
    top1: LateGauge,
    top5: LateGauge,
    best_top1: LateGauge,
    ema_evaluation_loss: LateGauge,
    ema_top1: LateGauge,
    ema_top5: LateGauge,
    preactivation_entropy: GaugeVec,
    output_entropy: GaugeVec,
    loader_queue_depth: LateGauge,
    loader_read_bytes: IntCounter,
    bad_images: IntCounterVec,
    checkpoints_saved: IntCounter,
    checkpoints_failed: IntCounter,
    checkpoint_timestamp: LateGauge,
}

impl Inner {
    fn new(identity: &Identity) -> Inner {
        let values = [identity.run.clone(), identity.rank.to_string(), identity.host.clone()];
        let constant = catalogue::CONSTANT_LABELS.iter().map(|name| name.to_string()).zip(values);
        let registry = Registry::new_custom(None, Some(constant.collect::<HashMap<_, _>>())).expect(DISTINCT);
        let declare = Declare { registry: &registry };
        let phases = declare.histograms(&catalogue::STEP_PHASE_SECONDS);
        let checkpoints = declare.counters(&catalogue::CHECKPOINTS);
        Inner {
            identity: identity.clone(),
            build_info: declare.gauges(&catalogue::BUILD_INFO),
            world_size: declare.gauge(&catalogue::WORLD_SIZE),
            step: declare.gauge(&catalogue::STEP),
            steps_planned: declare.gauge(&catalogue::STEPS_PLANNED),
            epoch: declare.gauge(&catalogue::EPOCH),
            images: declare.counter(&catalogue::IMAGES),
            images_per_second: declare.gauge(&catalogue::IMAGES_PER_SECOND),
            step_seconds: declare.histograms(&catalogue::STEP_SECONDS).with_label_values::<&str>(&[]),
            phases: Phase::ALL.map(|phase| phases.with_label_values(&[phase.label()])),
            loss: declare.gauge(&catalogue::LOSS),
            learning_rate: declare.gauge(&catalogue::LEARNING_RATE),
            gradient_norm: declare.gauge(&catalogue::GRADIENT_NORM),
            loss_scale: declare.gauge(&catalogue::LOSS_SCALE),
            epsilon: declare.gauges(&catalogue::EPSILON),
            evaluation_loss: declare.gauge(&catalogue::EVALUATION_LOSS),
            evaluation_seconds: declare.gauge(&catalogue::EVALUATION_SECONDS),
            top1: declare.gauge(&catalogue::TOP1),
            top5: declare.gauge(&catalogue::TOP5),
            best_top1: declare.gauge(&catalogue::BEST_TOP1),
            ema_evaluation_loss: declare.gauge(&catalogue::EMA_EVALUATION_LOSS),
            ema_top1: declare.gauge(&catalogue::EMA_TOP1),
            ema_top5: declare.gauge(&catalogue::EMA_TOP5),
            preactivation_entropy: declare.gauges(&catalogue::PREACTIVATION_ENTROPY),
            output_entropy: declare.gauges(&catalogue::OUTPUT_ENTROPY),
            loader_queue_depth: declare.gauge(&catalogue::LOADER_QUEUE_DEPTH),
            loader_read_bytes: declare.counter(&catalogue::LOADER_READ_BYTES),
            bad_images: declare.counters(&catalogue::BAD_IMAGES),
            checkpoints_saved: checkpoints.with_label_values(&["saved"]),
            checkpoints_failed: checkpoints.with_label_values(&["failed"]),
            checkpoint_timestamp: declare.gauge(&catalogue::CHECKPOINT_TIMESTAMP),
            registry,
        }
    }
}

const DISTINCT: &str = "the catalogue's names and labels are valid and distinct, which its tests hold";

/// Turns declarations of the catalogue into registered metrics.
struct Declare<'a> {
    registry: &'a Registry,
}

impl Declare<'_> {
    fn opts(metric: &Metric) -> Opts {
        Opts::new(metric.name, metric.help)
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry.register(Box::new(collector.clone())).expect(DISTINCT);
        collector
    }

    fn counter(&self, metric: &Metric) -> IntCounter {
        self.register(IntCounter::with_opts(Self::opts(metric)).expect(DISTINCT))
    }

    fn counters(&self, metric: &Metric) -> IntCounterVec {
        self.register(IntCounterVec::new(Self::opts(metric), metric.labels).expect(DISTINCT))
    }

    fn gauge(&self, metric: &Metric) -> LateGauge {
        let gauge = Gauge::with_opts(Self::opts(metric)).expect(DISTINCT);
        LateGauge { gauge, registry: self.registry.clone(), appeared: Once::new() }
    }

    fn gauges(&self, metric: &Metric) -> GaugeVec {
        self.register(GaugeVec::new(Self::opts(metric), metric.labels).expect(DISTINCT))
    }

    fn histograms(&self, metric: &Metric) -> HistogramVec {
        let opts = HistogramOpts::from(Self::opts(metric)).buckets(BUCKETS_SECONDS.to_vec());
        self.register(HistogramVec::new(opts, metric.labels).expect(DISTINCT))
    }
}

/// A gauge that appears when it is first set: a top-1 of 0 % before the first evaluation would be a lie.
struct LateGauge {
    gauge: Gauge,
    registry: Registry,
    appeared: Once,
}

impl LateGauge {
    fn set(&self, value: f64) {
        self.gauge.set(value);
        self.appeared.call_once(|| self.registry.register(Box::new(self.gauge.clone())).expect(DISTINCT));
    }
}
