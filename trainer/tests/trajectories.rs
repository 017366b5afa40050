//! Thirty steps of whole models lose what they lose in PyTorch with timm: same weights, same batches, AdamW, no drop-path.
//!
//! `bench/peers/trajectory.py` wrote the figures. In f64 every loss must agree; in f32, with `RECTIFY_ALL_TESTS=1` and
//! `-- --nocapture`, the distance is printed: both drift from f64 by rounding.

use std::path::Path;

use activations::Activation;
use dataloader::SampleKey;
use models::Model;
use plan::config::DecayRule;
use plan::models::{Activations, ModelSpec};
use serde::Deserialize;
use tch::{Device, Kind, no_grad};
use trainer::classification::{Classification, ImageBatch};
use trainer::data_parallel::Slice;
use trainer::loss::Loss;
use trainer::numbers::Numbers;
use trainer::optimizer;
use trainer::task::Task;

#[path = "../../crates/models/tests/formula/mod.rs"]
#[allow(dead_code, reason = "tests of models use the rest")]
mod formula;

use formula::{IMAGES, fill};

const BATCH: i64 = 2;
const CLASSES: usize = 10;
const RATE: f64 = 1e-3;
const TOLERANCE: f64 = 1e-7;

#[derive(Deserialize)]
struct Figures {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    settings: Vec<String>,
    activation: String,
    f64: Vec<f64>,
    f32: Vec<f64>,
}

impl Case {
    fn spec(&self) -> ModelSpec {
        let mut sets = vec!["data.path=x".to_owned(), format!("model.name={}", self.model)];
        sets.extend(self.settings.iter().cloned());
        let config = plan::parse("", Path::new("trajectory.toml"), &sets).expect("the settings of a fixture");
        let mut spec = plan::models::configured(&config.model, CLASSES).expect("a model that can be built");
        spec.activations = Activations::reference(Activation::find(&self.activation).expect("an activation"));
        spec
    }
}

/// As the script's `fill_model`, for transformers.
fn fill_model(model: &Model) {
    let learned: Vec<&str> = model.activation_parameters().map(|parameter| parameter.name.as_str()).collect();
    for (seed, parameter) in (1..).zip(model.parameters().iter()) {
        let (name, shape) = (parameter.name.as_str(), parameter.tensor.size());
        let value = match shape.len() {
            _ if learned.contains(&name) => parameter.tensor.detach() + fill(&shape, seed, 0.0, 0.05),
            1 => fill(&shape, seed, if name.ends_with("weight") { 1.0 } else { 0.0 }, 0.2),
            3 => fill(&shape, seed, 0.0, 0.5),
            _ => fill(&shape, seed, 0.0, (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt()),
        };
        no_grad(|| parameter.tensor.shallow_clone().copy_(&value));
    }
}

/// The loss of every step.
fn train(case: &Case, kind: Kind) -> Vec<f64> {
    let spec = case.spec();
    let model = Model::empty(&spec, DecayRule::Matrices, Device::Cpu, kind).expect("a model that can be built");
    fill_model(&model);
    let config = plan::config::Optimizer { weight_decay: 0.05, ..Default::default() };
    let mut optimizer = optimizer::new(&config, model.parameters(), Slice::whole_groups(model.parameters()));
    let task = Classification { seed: 0, loss: Loss::CrossEntropy { smoothing: 0.0 }, mixing: None, teacher: None };
    let samples: Vec<SampleKey> =
        (0..BATCH as u64).map(|position| SampleKey { epoch: 0, position, sample: position }).collect();
    let side = spec.image_size as i64;
    let step = |step: usize| {
        let images = fill(&[BATCH, 3, side, side], IMAGES + step as u64, 0.0, 2.0).to_kind(kind);
        let labels: Vec<i64> = (0..BATCH).map(|image| (7 * step as i64 + 3 * image) % CLASSES as i64).collect();
        model.parameters().zero_grads();
        let batch = ImageBatch { images: images.into(), labels: &labels, samples: &samples };
        let loss = task.loss(&model, &task.inputs(&model, &batch));
        loss.backward();
        optimizer.step(model.parameters(), &Numbers::new(RATE, step as u64, Device::Cpu));
        loss.double_value(&[])
    };
    (0..case.f64.len()).map(step).collect()
}

/// The largest relative distance, and the step where it is.
fn distance(found: &[f64], expected: &[f64]) -> (f64, usize) {
    let distances = found.iter().zip(expected).map(|(found, expected)| ((found - expected) / expected).abs());
    distances.zip(0..).max_by(|a, b| a.0.total_cmp(&b.0)).expect("a step")
}

#[test]
fn thirty_steps_lose_what_they_lose_in_timm() {
    let figures: Figures = serde_json::from_str(include_str!("fixtures/trajectories.json")).expect("the fixture");
    let all = std::env::var_os("RECTIFY_ALL_TESTS").is_some_and(|value| value == "1");
    assert!(figures.cases.iter().all(|case| case.f64.len() == 30));
    for case in &figures.cases {
        let title = format!("{} with {}", case.model, case.activation);
        let (apart, step) = distance(&train(case, Kind::Double), &case.f64);
        println!("{title}: {apart:.1e} at step {step} in f64");
        assert!(apart <= TOLERANCE, "{title}: {apart:e} apart at step {step}");
        if all {
            let (ours, theirs) = (train(case, Kind::Float), &case.f32);
            let [ours, theirs] = [distance(&ours, &case.f64), distance(theirs, &case.f64)];
            println!("{title}: in f32 {:.1e} from f64, timm's own {:.1e}", ours.0, theirs.0);
        }
    }
}
