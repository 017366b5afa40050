//! Names, counts, initial values, logits and gradients against figures that timm computed (`fixtures/timm_reference.py`).

use std::collections::HashMap;

use activations::Activation;
use models::{Masks, Mode, Model, Parameter};
use plan::config::DecayRule;
use plan::models::{Activations, Architecture, ModelSpec, VitSpec};
use random::Key;
use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};

mod formula;

use formula::{IMAGES, LOGITS, fill};

#[derive(Deserialize)]
struct Reference {
    counts: HashMap<String, u64>,
    shapes: HashMap<String, Vec<(String, Vec<i64>)>>,
    initial: Vec<Initial>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Initial {
    name: String,
    mean: f64,
    std: f64,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    distilled: bool,
    activation: String,
    drop_path: f64,
    drop_path_rates: Vec<f64>,
    evaluated: Vec<f64>,
    trained: Vec<Vec<f64>>,
    gradients: HashMap<String, Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    first: Vec<f64>,
}

const MASKS: u64 = 4000;
const BATCH: i64 = 4;

fn reference() -> Reference {
    serde_json::from_str(include_str!("fixtures/timm_reference.json")).expect("the fixture fits its structure")
}

fn fill_parameters(model: &Model) {
    for (seed, parameter) in (1..).zip(model.parameters().iter()) {
        let mut tensor = parameter.tensor.shallow_clone();
        let value = if parameter.name.contains(".act.") {
            parameter.tensor.detach() + 0.001 * seed as f64
        } else {
            let scale = parameter.name.contains("norm") && parameter.name.ends_with("weight");
            fill(&tensor.size(), seed, if scale { 1.0 } else { 0.0 }, 0.3)
        };
        no_grad(|| tensor.copy_(&value));
    }
}

fn build(case: &Case, kind: Kind) -> Model {
    let activation = Activation::find(&case.activation).expect("an activation of the catalogue");
    let spec = ModelSpec {
        image_size: 16,
        num_classes: 7,
        drop_path: case.drop_path,
        drop: 0.0,
        activations: Activations::reference(activation),
        architecture: Architecture::Vit(VitSpec {
            patch_size: 4,
            depth: 3,
            distilled: case.distilled,
            ..VitSpec::new(24, 3)
        }),
    };
    let model = Model::with_kind(&spec, DecayRule::Matrices, Key::root(0), Device::Cpu, kind).expect("a small model");
    fill_parameters(&model);
    model
}

/// The largest difference, relative to the largest reference value.
fn distance(found: &Tensor, expected: &[f64]) -> f64 {
    let found = Vec::<f64>::try_from(found.detach().flatten(0, -1).to_kind(Kind::Double)).expect("numbers");
    assert!(found.len() >= expected.len());
    let largest = expected.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    found.iter().zip(expected).fold(0f64, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

fn compare(case: &Case, kind: Kind, tolerance: f64) {
    let model = build(case, kind);
    let images = fill(&[BATCH, 3, 16, 16], IMAGES, 0.0, 2.0).to_kind(kind);
    let check = |what: &str, found: &Tensor, expected: &[f64]| {
        let distance = distance(found, expected);
        assert!(distance <= tolerance, "{}, {kind:?}, {what}: relative error {distance:e}", case.name);
    };
    let evaluated = model.forward(&images, Mode::Evaluate);
    assert!(evaluated.distilled.is_none() && !evaluated.logits.requires_grad());
    check("evaluated logits", &evaluated.logits, &case.evaluated);

    let drop_path = (case.drop_path > 0.0).then(|| {
        let kept = fill(&[model.num_drops() as i64, BATCH], MASKS, 0.5, 0.5).gt(0.4);
        kept.to_kind(Kind::Float) / 0.6
    });
    let output = model.forward(&images, Mode::Train { masks: &Masks { drop_path, dropout: None } });
    let outputs: Vec<Tensor> = [Some(output.logits), output.distilled].into_iter().flatten().collect();
    assert_eq!(outputs.len(), case.trained.len());
    let mut loss = Tensor::zeros([], (kind, Device::Cpu));
    for ((output, expected), seed) in outputs.iter().zip(&case.trained).zip(LOGITS) {
        check("trained logits", output, expected);
        loss += (output * fill(&output.size(), seed, 0.0, 1.0).to_kind(kind)).sum(kind);
    }
    loss.backward();
    for (name, gradient) in &case.gradients {
        let found = model.parameters().get(name).expect("timm's parameter").tensor.grad();
        check(&format!("norm of the gradient of {name}"), &found.norm(), &[gradient.norm]);
        check(&format!("gradient of {name}"), &found, &gradient.first);
    }
}

#[test]
fn logits_and_gradients_are_timms_in_f64() {
    for case in &reference().cases {
        // Masks are f32: 1 / 0.6 is off by 2e-8 there.
        compare(case, Kind::Double, if case.drop_path > 0.0 { 1e-6 } else { 1e-11 });
    }
}

#[test]
fn logits_and_gradients_are_timms_in_f32() {
    for case in &reference().cases {
        compare(case, Kind::Float, 1e-5);
    }
}

#[test]
fn drop_path_rates_are_timms() {
    let reference = reference();
    let case = reference.cases.iter().find(|case| case.drop_path > 0.0).expect("a case with drop-path");
    let model = build(case, Kind::Float);
    assert_eq!(model.num_drops(), case.drop_path_rates.len());
    for (ours, theirs) in model.drop_path_rates().iter().zip(&case.drop_path_rates) {
        assert!((ours - theirs).abs() < 1e-7, "{ours} instead of {theirs}");
    }
}

fn from_table(name: &str) -> Model {
    let spec = plan::models::find(name).expect("a model of the table");
    Model::new(&spec, DecayRule::Matrices, Key::root(0), Device::Cpu).expect("a model of the table can be built")
}

#[test]
fn names_and_shapes_are_timms_in_timms_order() {
    let Reference { shapes, counts, .. } = reference();
    for (name, expected) in &shapes {
        let model = from_table(name);
        let shape = |parameter: &Parameter| (parameter.name.clone(), parameter.tensor.size());
        let found: Vec<_> = model.parameters().iter().map(shape).collect();
        assert_eq!(&found, expected, "{name}");
        assert_eq!(model.parameters().count(), counts[name], "{name}");
    }
}

#[test]
fn parameter_counts_of_the_table_are_timms() {
    for (name, expected) in reference().counts {
        let spec = plan::models::find(&name).expect("a model of the table");
        assert_eq!(spec.parameters(), expected, "{name}");
    }
}

#[test]
fn initial_values_are_distributed_as_timms() {
    let model = from_table("deit_tiny_distilled_patch16_224");
    for theirs in &reference().initial {
        let tensor =
            model.parameters().get(&theirs.name).expect("timm's parameter").tensor.detach().to_kind(Kind::Double);
        let (mean, std) = (tensor.mean(None).double_value(&[]), tensor.std(false).double_value(&[]));
        // Six standard errors of a mean and of a standard deviation, for ours and theirs together.
        let error = 6.0 * theirs.std * (2.0 / tensor.numel() as f64).sqrt();
        assert!((mean - theirs.mean).abs() <= error, "{}: mean {mean} instead of {}", theirs.name, theirs.mean);
        assert!((std - theirs.std).abs() <= error, "{}: std {std} instead of {}", theirs.name, theirs.std);
    }
}
