//! The line format in which rank 0 tells the launcher how training goes, through `mpirun`'s pipes.
//!
//! A trainer under the launcher has no terminal: its standard output is a pipe of `mpirun`. So it prints events, one JSON
//! object a line after [`PREFIX`], and the launcher, which has the terminal, draws them. All other lines are plain text.

use serde::{Deserialize, Serialize};

use crate::{Target, record::null_is_nan};

/// What a line starts with when it is an event and not text for people.
pub const PREFIX: &str = "@rectify ";

/// The extent of a run, as the progress bar needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunShape {
    /// Step after which training ends.
    pub total_steps: u64,
    /// Steps that were finished before this process began: 0, or those of the checkpoint.
    pub start_step: u64,
    /// Epochs of the plan.
    pub epochs: f64,
    /// Images of one step over all ranks.
    pub global_batch: u64,
    /// Ranks.
    pub world_size: usize,
}

/// What happened in rank 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Training begins.
    Begin {
        /// Name of the run.
        run: String,
        /// Its extent.
        shape: RunShape,
    },
    /// Where the ranks' metrics are; the launcher writes them into the file for Prometheus.
    Endpoints {
        /// One target a rank.
        targets: Vec<Target>,
    },
    /// A logged step.
    Step {
        /// Finished steps.
        step: u64,
        /// Passes over the training set.
        epoch: f64,
        /// Training loss.
        #[serde(deserialize_with = "null_is_nan")]
        loss: f64,
        /// Learning rate.
        learning_rate: f64,
        /// Images per second over all ranks.
        images_per_second: f64,
    },
    /// An evaluation.
    Eval {
        /// Finished steps.
        step: u64,
        /// Passes over the training set.
        epoch: f64,
        /// Top-1 in percent.
        top1_percent: f64,
        /// Top-5 in percent.
        top5_percent: f64,
        /// Top-1 of the moving average of the weights in percent, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ema_top1_percent: Option<f64>,
    },
    /// A checkpoint is complete on disk.
    Checkpoint {
        /// Its step.
        step: u64,
        /// Its folder.
        path: String,
    },
    /// A sentence for people, to be shown above the bar.
    Notice {
        /// The sentence.
        text: String,
    },
    /// Training ended, at its planned end or before.
    End {
        /// Finished steps.
        step: u64,
    },
}

impl Event {
    /// The event as one line, without a line break at its end.
    pub fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("an event has string keys only");
        format!("{PREFIX}{json}")
    }
}

/// The event that a line carries. `None` for text, and for an event that this version does not know: show it as it is.
pub fn parse(line: &str) -> Option<Event> {
    serde_json::from_str(line.trim_end().strip_prefix(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_event() -> Vec<Event> {
        let target = Target { address: "127.0.0.1:9400".into(), run: "demo".into(), rank: 0, host: "node1".into() };
        let shape = RunShape { total_steps: 450, start_step: 90, epochs: 10.0, global_batch: 32, world_size: 2 };
        vec![
            Event::Begin { run: "a \"b\"\n".into(), shape },
            Event::Endpoints { targets: vec![target] },
            Event::Step { step: 100, epoch: 2.2, loss: 0.1 + 0.2, learning_rate: 1e-3, images_per_second: 512.5 },
            Event::Eval {
                step: 100,
                epoch: 2.2,
                top1_percent: 97.1,
                top5_percent: 100.0,
                ema_top1_percent: Some(98.0),
            },
            Event::Checkpoint { step: 100, path: "runs/demo/checkpoints/step-00000100".into() },
            Event::Notice { text: "µ: two\nlines".into() },
            Event::End { step: 450 },
        ]
    }

    #[test]
    fn every_event_survives_the_pipe() {
        for event in every_event() {
            let line = event.to_line();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(parse(&line), Some(event.clone()));
            assert_eq!(parse(&format!("{line}\r\n")), Some(event));
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_arrives_as_nan() {
        let event =
            Event::Step { step: 1, epoch: 0.0, loss: f64::INFINITY, learning_rate: 0.1, images_per_second: 1.0 };
        let Some(Event::Step { loss, .. }) = parse(&event.to_line()) else { panic!("{}", event.to_line()) };
        assert!(loss.is_nan());
    }

    #[test]
    fn text_is_not_an_event() {
        let text = [
            "",
            "epoch 3",
            "@rectify",
            "@rectify {",
            r#"@rectify {"event":"dance"}"#,
            r#" @rectify {"event":"end","step":1}"#,
        ];
        for line in text {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
