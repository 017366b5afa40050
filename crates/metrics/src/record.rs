//! What is recorded at a logged step and after an evaluation: one type each, the same for every sink.

use serde::{Deserialize, Deserializer, Serialize};

/// What the trainer knows at a logged step; the recorder adds times and throughput.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Finished optimizer steps, restarts included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// Training loss, mean over all ranks and the steps since the previous record.
    pub loss: f64,
    /// Learning rate that this step used.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping, if it was computed.
    pub gradient_norm: Option<f64>,
    /// What the loss is multiplied by, of runs in f16.
    pub loss_scale: Option<f64>,
    /// Learnable activation parameter by layer, in the order of the network.
    pub epsilon: Vec<(String, f64)>,
    /// What the loader says of itself.
    pub loader: LoaderReport,
}

/// State of this rank's loader: totals since the process began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoaderReport {
    /// Batches that are ready.
    pub queue_depth: u64,
    /// Bytes read from image files.
    pub read_bytes: u64,
    /// Bad images by reason; name every reason, also those at 0, so that a rate sees the first one.
    pub bad_images: Vec<(String, u64)>,
}

/// What the trainer knows after an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalReport {
    /// Finished optimizer steps, restarts included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// Mean loss over the validation set.
    pub loss: f64,
    /// Share of images whose class was ranked first, in percent.
    pub top1_percent: f64,
    /// Share of images whose class was ranked among the first five, in percent.
    pub top5_percent: f64,
    /// The same of the moving average of the weights, where there is one.
    pub ema: Option<AverageReport>,
    /// Images evaluated, over all ranks.
    pub samples: u64,
    /// Time that the evaluation took.
    pub seconds: f64,
    /// Entropies of the layers whose pre-activations are followed, in the order of the network.
    pub entropies: Vec<LayerEntropies>,
}

/// Entropies around one activation, in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerEntropies {
    /// The activation's module.
    pub layer: String,
    /// Of what it is applied to.
    pub before: f64,
    /// Of what comes out.
    pub after: f64,
}

/// What an evaluation says of the moving average of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AverageReport {
    /// Mean loss over the validation set.
    pub loss: f64,
    /// Share of images whose class was ranked first, in percent.
    pub top1_percent: f64,
    /// Share of images whose class was ranked among the first five, in percent.
    pub top5_percent: f64,
}

/// One line of `metrics.jsonl`: keys are the catalogue's names without `rectify_`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A logged training step.
    Step(StepRecord),
    /// An evaluation.
    Eval(EvalRecord),
}

impl Record {
    /// The step that the record belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Record::Step(record) => record.step,
            Record::Eval(record) => record.step,
        }
    }
}

/// A logged training step. Means are over the steps since the previous record. Rank 0 writes the file: the loader's
/// numbers and the phases are that rank's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepRecord {
    /// Finished optimizer steps, restarts included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// When the record was made, in seconds since 1970 UTC.
    pub timestamp_seconds: f64,
    /// Training loss; `null` if it is not finite.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping; `null` if it was not computed or is not finite.
    pub gradient_norm: Option<f64>,
    /// What the loss is multiplied by, of runs in f16; absent in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Images seen by all ranks since the beginning of training, restarts included.
    pub images: u64,
    /// Images per second of step time over all ranks.
    pub images_per_second: f64,
    /// Mean time of a step.
    pub step_seconds: f64,
    /// Mean time of a step by phase, in the order of a step.
    #[serde(with = "as_map")]
    pub step_phase_seconds: Vec<(String, f64)>,
    /// Batches that are ready.
    pub loader_queue_depth: u64,
    /// Bytes read from image files since the process began.
    pub loader_read_bytes: u64,
    /// Bad images by reason since the process began.
    #[serde(with = "as_map")]
    pub bad_images: Vec<(String, u64)>,
    /// Learnable activation parameter by layer, in the order of the network.
    #[serde(with = "as_map")]
    pub epsilon: Vec<(String, f64)>,
}

/// An evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvalRecord {
    /// Finished optimizer steps, restarts included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// When the record was made, in seconds since 1970 UTC.
    pub timestamp_seconds: f64,
    /// Mean loss over the validation set; `null` if it is not finite.
    #[serde(deserialize_with = "null_is_nan")]
    pub evaluation_loss: f64,
    /// Share of images whose class was ranked first, in percent.
    pub top1_percent: f64,
    /// Share of images whose class was ranked among the first five, in percent.
    pub top5_percent: f64,
    /// Best top-1 so far, of the weights or of their moving average, this evaluation included, in percent.
    pub best_top1_percent: f64,
    /// Mean loss over the validation set of the moving average of the weights; absent where there is no average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_evaluation_loss: Option<f64>,
    /// Share of images whose class that average ranked first, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_top1_percent: Option<f64>,
    /// Share of images whose class it ranked among the first five, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_top5_percent: Option<f64>,
    /// Images evaluated, over all ranks.
    pub evaluation_samples: u64,
    /// Time that the evaluation took.
    pub evaluation_seconds: f64,
    /// Entropy in nats of what activations are applied to in training, by layer; absent where none is followed.
    #[serde(with = "as_map", skip_serializing_if = "Vec::is_empty")]
    pub preactivation_entropy: Vec<(String, f64)>,
    /// Entropy in nats of what comes out of them, by layer.
    #[serde(with = "as_map", skip_serializing_if = "Vec::is_empty")]
    pub output_entropy: Vec<(String, f64)>,
}

/// JSON has no NaN and no infinity: they are written as `null`, and read as NaN.
pub(crate) fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Pairs as a JSON object that keeps their order (a map would put block 10 before block 2).
mod as_map {
    use std::{fmt, marker::PhantomData};

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{MapAccess, Visitor},
    };

    pub fn serialize<S: Serializer, T: Serialize>(pairs: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }

    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Number,
    {
        deserializer.deserialize_map(Pairs(PhantomData))
    }

    /// A value that may have been written as `null`.
    pub trait Number {
        fn missing() -> Self;
    }
    impl Number for f64 {
        fn missing() -> f64 {
            f64::NAN
        }
    }
    impl Number for u64 {
        fn missing() -> u64 {
            0
        }
    }

    struct Pairs<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Number> Visitor<'de> for Pairs<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("an object of names and numbers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, Option<T>>()? {
                pairs.push((name, value.unwrap_or_else(T::missing)));
            }
            Ok(pairs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_survives_the_way_to_json_and_back() {
        let record = Record::Step(StepRecord {
            step: 120,
            epoch: 0.1 + 0.2,
            loss: 1.0 / 3.0,
            gradient_norm: Some(0.7),
            loss_scale: Some(65536.0),
            step_phase_seconds: vec![("forward".into(), 0.25), ("backward".into(), 0.5)],
            bad_images: vec![("truncated".into(), 3)],
            epsilon: vec![("blocks.2.mlp.act".into(), -0.01), ("blocks.10.mlp.act".into(), 0.02)],
            ..StepRecord::default()
        });
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.starts_with(r#"{"kind":"step","step":120,"#), "{text}");
        assert!(text.find("blocks.2.").unwrap() < text.find("blocks.10.").unwrap(), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let record = StepRecord { loss: f64::INFINITY, epsilon: vec![("a".into(), f64::NAN)], ..StepRecord::default() };
        let text = serde_json::to_string(&Record::Step(record)).unwrap();
        assert!(text.contains(r#""loss":null"#) && text.contains(r#""a":null"#), "{text}");
        let Record::Step(read) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert!(read.loss.is_nan() && read.epsilon[0].1.is_nan());
    }
}
