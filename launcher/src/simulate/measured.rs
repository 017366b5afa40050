//! The step of one GPU as it was measured: read from what a run has recorded, or from the result of a benchmark.

use std::fs;
use std::path::Path;

use metrics::{MetricsError, Phase, Record, StepRecord, Summary};
use plan::Plan;
use serde::Deserialize;

use super::basis::{Basis, Origin, phases};
use super::error::SimulateError;
use super::step::StepTime;

/// Logged steps, the first left out, that a run must have.
const FEWEST_RECORDS: usize = 3;

/// A step that was measured.
pub struct Measured {
    /// The step on one GPU.
    pub step: StepTime,
    /// Where it comes from, in words.
    words: String,
    /// What summing gradients took where it was measured on several ranks.
    pub exchange: Option<MeasuredExchange>,
}

/// What summing gradients took in a run.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredExchange {
    /// Ranks of the run.
    pub ranks: usize,
    /// Seconds of a step.
    pub waited_s: f64,
}

impl Measured {
    /// What the step rests on.
    pub fn basis(&self) -> Basis {
        Basis::new(Origin::Measured, "step", format!("{}; {}", phases(&self.step), self.words))
    }
}

/// Reads what `path` has of the model of `plan`: the folder of a run, or the JSON file of `rectify-trainer bench`.
pub fn read(path: &Path, plan: &Plan) -> Result<Measured, SimulateError> {
    if path.is_dir() { from_run(path, plan) } else { from_bench(path, plan) }
}

fn from_run(folder: &Path, plan: &Plan) -> Result<Measured, SimulateError> {
    let no_run = |reason: String| SimulateError::NoRun { path: folder.to_owned(), reason };
    let read = |name: &str, error: MetricsError| match error {
        MetricsError::File { source, .. } => no_run(format!("cannot read its {name}: {source}")),
        other => no_run(other.to_string()),
    };
    let summary = Summary::read(&folder.join("summary.json")).map_err(|error| read("summary.json", error))?;
    let records = metrics::read_records(&folder.join("metrics.jsonl")).map_err(|error| read("metrics.jsonl", error))?;
    check_model(folder, plan, Some(&summary.model), summary.parameters)?;
    let ranks = summary.world_size.max(1);
    let run = medians(&records, ranks)
        .map_err(|steps| SimulateError::TooFewSteps { path: folder.to_owned(), records: steps })?;
    let on = if ranks == 1 { "1 rank".to_owned() } else { format!("each of {ranks} ranks at once") };
    let words = format!(
        "{}: {} images on {on} ({}), medians of {} records ({:.1} images/s over all)",
        folder.display(),
        run.step.images,
        summary.device,
        run.records,
        run.images_per_second,
    );
    let exchange = (ranks > 1).then_some(MeasuredExchange { ranks, waited_s: run.all_reduce_s });
    Ok(Measured { step: run.step, words, exchange })
}

fn check_model(path: &Path, plan: &Plan, name: Option<&str>, parameters: u64) -> Result<(), SimulateError> {
    let (ours, our_model) = (plan.model.parameters(), &plan.config.model.name);
    if parameters == ours && name.is_none_or(|name| name == our_model) {
        return Ok(());
    }
    Err(SimulateError::OtherModel {
        path: path.to_owned(),
        their_model: name.unwrap_or("a model").to_owned(),
        theirs: parameters,
        our_model: our_model.clone(),
        ours,
    })
}

/// What a run has recorded.
struct Medians {
    /// The time of its steps on one rank.
    step: StepTime,
    /// How many records it is the median of.
    records: usize,
    /// The time that the run itself waited for gradients; 0 on one rank.
    all_reduce_s: f64,
    /// Images a second over all its ranks.
    images_per_second: f64,
}

/// Medians over the records but the first, which warms up; `Err` with their number where there are too few.
fn medians(records: &[Record], ranks: usize) -> Result<Medians, usize> {
    let usable = |step: &&StepRecord| {
        step.step_seconds > 0.0 && step.images_per_second > 0.0 && phase_seconds(step, Phase::Backward) > 0.0
    };
    let steps: Vec<&StepRecord> = records
        .iter()
        .filter_map(|record| if let Record::Step(step) = record { Some(step) } else { None })
        .filter(usable)
        .skip(1)
        .collect();
    if steps.len() < FEWEST_RECORDS {
        return Err(steps.len());
    }
    let median = |value: &dyn Fn(&StepRecord) -> f64| median(steps.iter().map(|step| value(step)).collect());
    let phase = |phase: Phase| median(&|step| phase_seconds(step, phase));
    let step = StepTime {
        images: (median(&|step| step.images_per_second * step.step_seconds) / ranks as f64).round().max(1.0),
        waiting_s: phase(Phase::DataWait),
        forward_s: phase(Phase::Forward),
        backward_s: phase(Phase::Backward),
        optimizer_s: phase(Phase::Optimizer),
    };
    Ok(Medians {
        step,
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

/// What `rectify-trainer bench` says of one GPU; other keys are passed over.
#[derive(Deserialize)]
struct Bench {
    /// The model's name, where it is told.
    model: Option<String>,
    /// Images a second of one GPU.
    images_per_second: f64,
    /// Bytes of the trainable parameters in fp32.
    parameters_bytes: u64,
    /// Images of a step on one GPU, where they are told.
    rank_batch: Option<f64>,
    /// Whether steps replayed a CUDA graph, where one was asked for.
    cuda_graph: Option<serde_json::Value>,
    phases: BenchPhases,
}

/// Seconds of a step.
#[derive(Deserialize)]
struct BenchPhases {
    /// Waiting for the loader.
    #[serde(default)]
    loader: f64,
    forward: f64,
    backward: f64,
    /// Waiting for gradients of other ranks.
    #[serde(default)]
    all_reduce: f64,
    #[serde(default)]
    optimizer: f64,
}

fn from_bench(path: &Path, plan: &Plan) -> Result<Measured, SimulateError> {
    let no_bench = |reason: String| SimulateError::NoBench { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| no_bench(error.to_string()))?;
    let bench: Bench = serde_json::from_str(&text).map_err(|error| no_bench(error.to_string()))?;
    check_model(path, plan, bench.model.as_deref(), bench.parameters_bytes / size_of::<f32>() as u64)?;
    let BenchPhases { loader, forward, backward, all_reduce, optimizer } = bench.phases;
    for (name, value, least) in [
        ("images_per_second", bench.images_per_second, f64::MIN_POSITIVE),
        ("phases.loader", loader, 0.0),
        ("phases.forward", forward, 0.0),
        ("phases.backward", backward, f64::MIN_POSITIVE),
        ("phases.all_reduce", all_reduce, 0.0),
        ("phases.optimizer", optimizer, 0.0),
    ] {
        if !(least..=1e12).contains(&value) {
            return Err(no_bench(format!("its {name} is {value}")));
        }
    }
    if bench.cuda_graph.is_some_and(|replayed| replayed.get("no").is_none()) {
        let remedy =
            "its steps replayed a CUDA graph, which those of several ranks do not: measure it without train.cuda_graph";
        return Err(no_bench(remedy.to_owned()));
    }
    let seconds = loader + forward + backward + all_reduce + optimizer;
    let images = bench.rank_batch.unwrap_or(bench.images_per_second * seconds).round().max(1.0);
    // Phases on a GPU are of steps that were waited for, and take longer in all: they are shares of a step.
    let share = images / bench.images_per_second / seconds;
    let step = StepTime {
        images,
        waiting_s: loader * share,
        forward_s: forward * share,
        backward_s: backward * share,
        optimizer_s: optimizer * share,
    };
    let words = format!("{}: {} images, {:.1} images/s", path.display(), step.images, bench.images_per_second);
    Ok(Measured { step, words, exchange: None })
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
    fn a_run_is_the_median_of_its_records_without_the_first() {
        let records = [record(9.0), record(0.1), record(0.3), record(0.2)];
        let run = medians(&records, 2).ok().unwrap();
        let expected = StepTime { images: 32.0, waiting_s: 0.01, forward_s: 0.2, backward_s: 0.2, optimizer_s: 0.0 };
        assert_eq!((run.step, run.records, run.all_reduce_s), (expected, 3, 0.05));
        assert!((run.images_per_second - 64.0 / 0.46).abs() < 1e-9);
        assert_eq!(medians(&records[..3], 2).err(), Some(2));
        assert_eq!(medians(&[], 1).err(), Some(0));
    }

    /// Phases on a GPU add up to more than a step, since each is waited for: they are its shares. What a graph does is for one rank.
    #[test]
    fn phases_of_a_bench_are_shares_of_its_steps() {
        let text = "data.path = 'x'\n[model]\nname = 'vit_tiny_patch16_224'\n[train]\nbatch_size = 64\n";
        let config = plan::parse(text, "a.toml".as_ref(), &[]).expect("a good config");
        let facts = plan::DataFacts { train_samples: 6400, val_samples: 10, num_classes: 10 };
        let plan = Plan::resolve(config, facts, 1).expect("a plan");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("step.json");
        let bench = |graph: &str| {
            let bytes = 4 * plan.model.parameters();
            let text = format!(
                "{{\"images_per_second\": 320, \"rank_batch\": 64, \"parameters_bytes\": {bytes}, {graph} \
                 \"phases\": {{\"forward\": 0.1, \"backward\": 0.2, \"all_reduce\": 0.05, \"optimizer\": 0.05}}}}"
            );
            fs::write(&file, text).expect("a file");
            from_bench(&file, &plan)
        };
        let step = bench("").expect("a bench").step;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
        close(step.images, 64.0);
        close(step.forward_s, 0.05);
        close(step.backward_s, 0.1);
        close(step.optimizer_s, 0.025);
        assert!(bench("\"cuda_graph\": {\"no\": \"why\"},").is_ok());
        assert!(bench("\"cuda_graph\": {\"part\": \"why\"},").is_err());
        let error = bench("\"cuda_graph\": \"yes\",").err().expect("a graph is refused");
        assert!(error.to_string().contains("train.cuda_graph"), "{error}");
    }

    #[test]
    fn records_without_phases_do_not_count() {
        let bare = Record::Step(StepRecord { images_per_second: 9.0, step_seconds: 1.0, ..StepRecord::default() });
        assert_eq!(medians(&vec![bare; 9], 1).err(), Some(0));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }
}
