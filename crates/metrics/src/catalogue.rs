//! Every metric that Rectify exports: name, kind, scope, labels, help; declared here and nowhere else.
//!
//! Names follow Prometheus' conventions: prefix `rectify_`, base units (seconds, bytes) as suffix, `_total` for
//! counters. Accuracies are in percent, the field's unit, and say so. Each metric also carries the constant labels
//! [`CONSTANT_LABELS`]. The dashboard in `deploy/grafana/` draws these names; a test holds the two together.

/// How a metric's value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows within one process; starts from 0 again after a restart.
    Counter,
    /// A number that goes up and down. A gauge is absent until it is first set.
    Gauge,
    /// Counts of observations below each bound of [`BUCKETS_SECONDS`], their sum and number.
    Histogram,
}

/// Whose number it is: decides how to combine the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each rank's own; sum or average over ranks.
    Rank,
    /// The whole run's, the same on every rank that exports it; take the maximum.
    Run,
}

/// One declared metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// How its value moves.
    pub kind: Kind,
    /// Whose number it is.
    pub scope: Scope,
    /// Labels beside the constant ones.
    pub labels: &'static [&'static str],
    /// One sentence for the reader of the text format.
    pub help: &'static str,
}

/// The labels that every metric carries: run name, global rank, host name.
pub const CONSTANT_LABELS: [&str; 3] = ["run", "rank", "host"];

/// Upper bounds of the histograms of step times, in seconds: from one small step on a GPU to a large one on a core, five
/// to a decade, so that a quantile is known to about a quarter of itself.
pub const BUCKETS_SECONDS: [f64; 26] = [
    0.001, 0.0016, 0.0025, 0.004, 0.0063, 0.01, 0.016, 0.025, 0.04, 0.063, 0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5,
    4.0, 6.3, 10.0, 16.0, 25.0, 40.0, 63.0, 100.0,
];

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $scope:ident $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name, kind: Kind::$kind, scope: Scope::$scope, labels: &$labels, help: $help,
            };
        )*
        /// Every metric, in the order of declaration.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

catalogue! {
    BUILD_INFO = Gauge Rank "rectify_build_info" ["version", "libtorch", "commit"]
        "Always 1; the labels say what runs: version of Rectify, version of libtorch, git commit.";
    WORLD_SIZE = Gauge Run "rectify_world_size" []
        "Ranks of this run.";

    STEP = Gauge Run "rectify_step" []
        "Finished optimizer steps since the beginning of training, restarts included.";
    STEPS_PLANNED = Gauge Run "rectify_steps_planned" []
        "Optimizer steps after which training ends.";
    EPOCH = Gauge Run "rectify_epoch" []
        "Passes over the training set so far, as a fraction.";
    IMAGES = Counter Rank "rectify_images_total" []
        "Training images that this rank has put through a step.";
    IMAGES_PER_SECOND = Gauge Run "rectify_images_per_second" []
        "Training images per second of step time over all ranks, since the previous logged step.";

    STEP_SECONDS = Histogram Rank "rectify_step_seconds" []
        "Time of one optimizer step; evaluation is not part of a step.";
    STEP_PHASE_SECONDS = Histogram Rank "rectify_step_phase_seconds" ["phase"]
        "Time that one optimizer step spent in a phase: data_wait, forward, backward, all_reduce, optimizer, checkpoint.";

    LOSS = Gauge Run "rectify_loss" []
        "Training loss of the last logged step.";
    LEARNING_RATE = Gauge Run "rectify_learning_rate" []
        "Learning rate of the last logged step.";
    GRADIENT_NORM = Gauge Run "rectify_gradient_norm" []
        "Euclidean norm of all gradients at the last logged step, before clipping.";
    LOSS_SCALE = Gauge Run "rectify_loss_scale" []
        "What the loss is multiplied by at the last logged step, of runs in f16.";
    EPSILON = Gauge Run "rectify_epsilon" ["layer"]
        "Learned epsilon of a layer's activation, of those that have one.";

    EVALUATION_LOSS = Gauge Run "rectify_evaluation_loss" []
        "Mean loss over the validation set at the last evaluation.";
    EVALUATION_SECONDS = Gauge Run "rectify_evaluation_seconds" []
        "Time that the last evaluation took.";
    TOP1 = Gauge Run "rectify_top1_percent" []
        "Validation images whose class was ranked first, at the last evaluation.";
    TOP5 = Gauge Run "rectify_top5_percent" []
        "Validation images whose class was ranked among the first five, at the last evaluation.";
    BEST_TOP1 = Gauge Run "rectify_best_top1_percent" []
        "Best top-1 of any evaluation so far, of the weights or of their moving average.";
    EMA_EVALUATION_LOSS = Gauge Run "rectify_ema_evaluation_loss" []
        "Mean loss over the validation set at the last evaluation, of the moving average of the weights.";
    EMA_TOP1 = Gauge Run "rectify_ema_top1_percent" []
        "Validation images whose class the moving average of the weights ranked first, at the last evaluation.";
    EMA_TOP5 = Gauge Run "rectify_ema_top5_percent" []
        "Validation images whose class the moving average of the weights ranked among the first five, at the last evaluation.";
    PREACTIVATION_ENTROPY = Gauge Run "rectify_preactivation_entropy_nats" ["layer"]
        "Entropy of what a layer's activation is applied to in training, at the last evaluation; only where it is followed.";
    OUTPUT_ENTROPY = Gauge Run "rectify_output_entropy_nats" ["layer"]
        "Entropy of what comes out of a layer's activation, at the last evaluation; only where it is followed.";

    LOADER_QUEUE_DEPTH = Gauge Rank "rectify_loader_queue_depth" []
        "Batches that are ready and wait for the step; 0 means that the step waits for the loader.";
    LOADER_READ_BYTES = Counter Rank "rectify_loader_read_bytes_total" []
        "Bytes of image files that this rank's loader has read.";
    BAD_IMAGES = Counter Rank "rectify_bad_images_total" ["reason"]
        "Images that could not be decoded and were replaced, by reason.";

    CHECKPOINTS = Counter Rank "rectify_checkpoints_total" ["outcome"]
        "Checkpoints that this rank has written (saved) or could not write (failed).";
    CHECKPOINT_TIMESTAMP = Gauge Run "rectify_checkpoint_timestamp_seconds" []
        "When the last checkpoint was complete on disk, in seconds since 1970 UTC.";
}

/// The metric with this Prometheus name. The suffixes that a histogram's series carry are understood.
pub fn find(name: &str) -> Option<&'static Metric> {
    let series = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    ALL.iter().find(|metric| metric.name == name || (metric.kind == Kind::Histogram && series == Some(metric.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_conventions() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("rectify_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(metric.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(metric.labels.iter().all(|label| !CONSTANT_LABELS.contains(label)), "{name}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn series_of_histograms_are_found_and_nothing_else() {
        assert_eq!(find("rectify_loss"), Some(&LOSS));
        assert_eq!(find("rectify_step_seconds_bucket"), Some(&STEP_SECONDS));
        assert_eq!(find("rectify_step_phase_seconds_sum"), Some(&STEP_PHASE_SECONDS));
        assert_eq!(find("rectify_loss_sum"), None);
        assert_eq!(find("rectify_los"), None);
    }
}
