//! How long a step takes on one GPU: given on the command line, or read from what a run has recorded.

use std::path::{Path, PathBuf};

use metrics::{MetricsError, Phase, Record, StepRecord, Summary};
use plan::Plan;
use serde::Serialize;

use super::error::SimulateError;

/// The backward pass of a network costs twice its forward pass: two matrix products for each one.
pub const BACKWARD_SHARE: f64 = 2.0 / 3.0;
/// Logged steps, the first left out, that a run must have.
const FEWEST_RECORDS: usize = 3;

/// Where the time of a step goes on one GPU, communication left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepTime {
    /// Images of a step on this GPU.
    pub images: f64,
    /// Waiting for the loader.
    pub waiting_s: f64,
    /// Forward passes.
    pub forward_s: f64,
    /// Backward passes, over all micro-batches.
    pub backward_s: f64,
    /// The update of the parameters.
    pub optimizer_s: f64,
}

impl StepTime {
    /// A step of `seconds`, of which `backward_share` is the backward pass; the rest counts as forward pass.
    pub fn split(images: f64, seconds: f64, backward_share: f64) -> StepTime {
        let backward_s = seconds * backward_share;
        StepTime { images, forward_s: seconds - backward_s, backward_s, ..StepTime::default() }
    }

    /// The whole step.
    pub fn total_s(&self) -> f64 {
        self.waiting_s + self.forward_s + self.backward_s + self.optimizer_s
    }

    /// The step with another number of images: all of it grows with them but the update.
    pub fn with_images(&self, images: f64) -> StepTime {
        let factor = images / self.images;
        StepTime {
            images,
            waiting_s: self.waiting_s * factor,
            forward_s: self.forward_s * factor,
            backward_s: self.backward_s * factor,
            optimizer_s: self.optimizer_s,
        }
    }
}

/// What a run has recorded.
pub struct Measured {
    /// The time of its steps on one rank.
    pub step: StepTime,
    /// Ranks of the run.
    pub ranks: usize,
    /// How many logged steps it is the median of.
    pub records: usize,
    /// The time that the run itself waited for gradients; 0 on one rank.
    pub all_reduce_s: f64,
    /// Images a second over all its ranks, the median.
    pub images_per_second: f64,
}

/// Reads the run in `folder`, which must have trained the model of `plan`.
pub fn from_run(folder: &Path, plan: &Plan) -> Result<Measured, SimulateError> {
    let missing = |reason: String| SimulateError::NoRun { path: folder.to_owned(), reason };
    if !folder.is_dir() {
        return Err(missing("there is no such folder".to_owned()));
    }
    let read = |name: &str, error: MetricsError| match error {
        MetricsError::File { source, .. } => missing(format!("cannot read its {name}: {source}")),
        other => missing(other.to_string()),
    };
    let summary = Summary::read(&folder.join("summary.json")).map_err(|error| read("summary.json", error))?;
    let records = metrics::read_records(&folder.join("metrics.jsonl")).map_err(|error| read("metrics.jsonl", error))?;
    check_model(folder, plan, &summary)?;
    let ranks = summary.world_size.max(1);
    measure(&records, ranks).map_err(|steps| SimulateError::TooFewSteps { path: folder.to_owned(), steps })
}

fn check_model(folder: &Path, plan: &Plan, summary: &Summary) -> Result<(), SimulateError> {
    let (ours, our_model) = (plan.model.parameters(), &plan.config.model.name);
    if summary.parameters == ours && summary.model == *our_model {
        return Ok(());
    }
    Err(SimulateError::OtherModel {
        path: PathBuf::from(folder),
        their_model: summary.model.clone(),
        theirs: summary.parameters,
        our_model: our_model.clone(),
        ours,
    })
}

/// Medians over the logged steps but the first, which warms up; `Err` with their number where there are too few.
fn measure(records: &[Record], ranks: usize) -> Result<Measured, usize> {
    let steps: Vec<&StepRecord> = records
        .iter()
        .filter_map(|record| match record {
            Record::Step(step) if step.step_seconds > 0.0 && step.images_per_second > 0.0 => Some(step),
            _ => None,
        })
        .skip(1)
        .collect();
    if steps.len() < FEWEST_RECORDS {
        return Err(steps.len());
    }
    let median = |value: &dyn Fn(&StepRecord) -> f64| median(steps.iter().map(|step| value(step)).collect());
    let phase = |phase: Phase| median(&|step| phase_seconds(step, phase));
    let images = median(&|step| step.images_per_second * step.step_seconds) / ranks as f64;
    let step = StepTime {
        images: images.round(),
        waiting_s: phase(Phase::DataWait),
        forward_s: phase(Phase::Forward),
        backward_s: phase(Phase::Backward),
        optimizer_s: phase(Phase::Optimizer),
    };
    if step.images < 1.0 || step.backward_s <= 0.0 {
        return Err(0);
    }
    Ok(Measured {
        step,
        ranks,
        records: steps.len(),
        all_reduce_s: phase(Phase::AllReduce),
        images_per_second: median(&|step| step.images_per_second),
    })
}

fn phase_seconds(step: &StepRecord, phase: Phase) -> f64 {
    let found = step.step_phase_seconds.iter().find(|(name, _)| name == phase.label());
    found.map_or(0.0, |(_, seconds)| *seconds).max(0.0)
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(forward_s: f64) -> Record {
        let phases = [("data_wait", 0.01), ("forward", forward_s), ("backward", 0.2), ("all_reduce", 0.05)];
        let seconds = forward_s + 0.26;
        Record::Step(StepRecord {
            images_per_second: 64.0 / seconds,
            step_seconds: seconds,
            step_phase_seconds: phases.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect(),
            ..StepRecord::default()
        })
    }

    #[test]
    fn a_run_is_the_median_of_its_steps_without_the_first() {
        let records = [record(9.0), record(0.1), record(0.3), record(0.2)];
        let run = measure(&records, 2).unwrap();
        let expected = StepTime { images: 32.0, waiting_s: 0.01, forward_s: 0.2, backward_s: 0.2, optimizer_s: 0.0 };
        assert_eq!((run.step, run.records, run.ranks, run.all_reduce_s), (expected, 3, 2, 0.05));
        assert!((run.images_per_second - 64.0 / 0.46).abs() < 1e-9);
        assert_eq!(measure(&records[..3], 2).err(), Some(2));
        assert_eq!(measure(&[], 1).err(), Some(0));
    }

    #[test]
    fn more_images_take_longer_but_for_the_update() {
        let step = StepTime { images: 10.0, waiting_s: 1.0, forward_s: 2.0, backward_s: 4.0, optimizer_s: 0.5 };
        let twice = step.with_images(20.0);
        assert_eq!((step.total_s(), twice.total_s()), (7.5, 14.5));
        let split = StepTime::split(8.0, 0.3, BACKWARD_SHARE);
        assert!((split.backward_s - 0.2).abs() < 1e-12 && (split.total_s() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }
}
