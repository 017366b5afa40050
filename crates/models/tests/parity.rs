//! Every model of the table computes what timm computes, with its own activation and with others.
//!
//! `bench/peers/parity.py` wrote the figures in `fixtures/parity/`, in f64; here the same is computed in f32, and in f64
//! as well where gradients do not agree: of millions of inputs of an activation with a kink, such as ReLU or CRReLU,
//! rounding to f32 carries a few over it, where the slope is another one, in PyTorch as here. Models beyond [`LARGE`] are compared only where `RECTIFY_ALL_TESTS=1` is set (`make test-all`). `-- --nocapture` prints every error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use activations::Activation;
use models::{Masks, Mode, Model};
use plan::config::DecayRule;
use plan::models::{Activations, ModelSpec};
use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};

mod formula;

use formula::{IMAGES, LOGITS, fill};

/// Floating-point operations of one forward pass of one image.
const LARGE: u64 = 20_000_000_000;
const BATCH: i64 = 2;
const MASKS: u64 = 4000;
const BUFFERS: u64 = 5000;
const FORWARD_ERROR: f64 = 1e-5;
const GRADIENT_ERROR: f64 = 1e-4;
/// In f64, and then in f32, of activations with a kink.
const KINKED_ERRORS: [f64; 2] = [1e-9, 2e-2];
const KINKED: [Activation; 3] = [Activation::Relu, Activation::CrRelu, Activation::PRelu];

/// What the script wrote about one model.
#[derive(Deserialize)]
struct Fixture {
    model: String,
    settings: Vec<String>,
    classes: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    activation: String,
    evaluated: Kept,
    trained: Vec<Kept>,
    gradients: HashMap<String, Kept>,
    /// Of all that the activations learn, one after the other.
    activation_gradients: Option<Kept>,
    running_means: HashMap<String, Kept>,
}

/// The first values of a tensor, and the norm of all.
#[derive(Deserialize)]
struct Kept {
    norm: f64,
    first: Vec<f64>,
}

impl Kept {
    /// The relative error of what was found: of the norm, or of the first values in the norm of those, whichever is larger.
    fn error(&self, found: &Tensor) -> f64 {
        let found = found.detach().to_kind(Kind::Double).flatten(0, -1);
        let expected = Tensor::from_slice(&self.first);
        let of_first = (found.narrow(0, 0, expected.size()[0]) - &expected).norm() / expected.norm();
        let of_norm = (found.norm() - self.norm).abs() / self.norm;
        of_first.maximum(&of_norm).double_value(&[])
    }
}

/// The largest errors of a case.
struct Errors {
    forward: f64,
    gradients: f64,
    /// Where that of the gradients is.
    worst: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity")
}

fn fixture(path: &Path) -> Fixture {
    let text = fs::read_to_string(path).expect("a fixture can be read");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn spec(fixture: &Fixture) -> ModelSpec {
    let mut sets = vec!["data.path=x".to_owned(), format!("model.name={}", fixture.model)];
    sets.extend(fixture.settings.iter().cloned());
    let plan = plan::parse("", Path::new("parity.toml"), &sets).expect("the settings of a fixture");
    plan::models::configured(&plan.model, fixture.classes).expect("a model that can be built")
}

/// Whether the parameter belongs to one of the modules that are activations.
fn is_of_activation(modules: &[String], parameter: &str) -> bool {
    parameter.rsplit_once('.').is_some_and(|(module, _)| modules.iter().any(|one| one == module))
}

/// As the script's `fill_model`.
fn fill_model(model: &Model, modules: &[String]) {
    for (seed, parameter) in (1..).zip(model.parameters().iter()) {
        let (name, shape) = (&parameter.name, parameter.tensor.size());
        let value = match shape.len() {
            _ if is_of_activation(modules, name) => parameter.tensor.detach() + fill(&shape, seed, 0.0, 0.05),
            1 if name.ends_with("bn3.weight") || name.ends_with("conv3.bn.weight") => fill(&shape, seed, 0.3, 0.06),
            1 if name.ends_with("weight") || name.ends_with("gamma") => fill(&shape, seed, 1.0, 0.2),
            1 => fill(&shape, seed, 0.0, 0.2),
            3 => fill(&shape, seed, 0.0, 0.5),
            _ => fill(&shape, seed, 0.0, (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt()),
        };
        no_grad(|| parameter.tensor.shallow_clone().copy_(&value));
    }
    let statistics = model.parameters().buffers().iter().filter(|(name, _)| name.contains("running_"));
    for (seed, (name, buffer)) in (BUFFERS..).zip(statistics) {
        let middle = if name.ends_with("var") { 1.0 } else { 0.0 };
        no_grad(|| buffer.shallow_clone().copy_(&fill(&buffer.size(), seed, middle, 0.2)));
    }
}

fn compare(spec: &ModelSpec, case: &Case, kind: Kind) -> Errors {
    let mut spec = spec.clone();
    let activation = Activation::find(&case.activation).expect("an activation of the catalogue");
    spec.activations = Activations::reference(activation);
    let model = Model::empty(&spec, DecayRule::Matrices, Device::Cpu, kind).expect("a model that can be built");
    let modules = spec.architecture.family().activations();
    fill_model(&model, &modules);
    let size = spec.image_size as i64;
    let images = fill(&[BATCH, 3, size, size], IMAGES, 0.0, 2.0).to_kind(kind);

    let mut forward = case.evaluated.error(&model.forward(&images, Mode::Evaluate).logits);
    let drop_path = (spec.drop_path > 0.0).then(|| {
        let kept = fill(&[model.num_drops() as i64, BATCH], MASKS, 0.0, 1.0).gt(0.0);
        kept.to_kind(Kind::Float) * 2.0
    });
    let output = model.forward(&images, Mode::Train { masks: &Masks { drop_path, dropout: None } });
    let outputs: Vec<Tensor> = [Some(output.logits), output.distilled].into_iter().flatten().collect();
    assert_eq!(outputs.len(), case.trained.len());
    let mut loss = Tensor::zeros([], (kind, Device::Cpu));
    for ((output, expected), seed) in outputs.iter().zip(&case.trained).zip(LOGITS) {
        forward = forward.max(expected.error(output));
        loss += (output * fill(&output.size(), seed, 0.0, 1.0).to_kind(kind)).sum(kind);
    }
    loss.backward();
    let named: HashMap<String, Tensor> = model.parameters().named().into_iter().collect();
    for (name, expected) in &case.running_means {
        forward = forward.max(expected.error(named.get(name).expect("timm's buffer")));
    }
    let mut gradients = Vec::new();
    for (name, expected) in &case.gradients {
        let found = model.parameters().get(name).expect("timm's parameter").tensor.grad();
        gradients.push((expected.error(&found), name.clone()));
    }
    if let Some(expected) = &case.activation_gradients {
        let learned = model.parameters().iter().filter(|parameter| is_of_activation(&modules, &parameter.name));
        let found: Vec<Tensor> = learned.map(|parameter| parameter.tensor.grad()).collect();
        gradients.push((expected.error(&Tensor::cat(&found, 0)), "what the activations learn".to_owned()));
    }
    let worst = gradients.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("a gradient");
    Errors { forward, gradients: worst.0, worst: worst.1 }
}

/// The lines about the cases of a model, and whether they are within the bounds.
fn compare_all(path: &Path, fixture: &Fixture, spec: &ModelSpec) -> Vec<(String, bool)> {
    let name = path.file_stem().expect("a name").display();
    let line = |case: &Case| {
        let Errors { forward, gradients, worst } = compare(spec, case, Kind::Float);
        let activation = &case.activation;
        let mut text = format!("{name:<42} {activation:<9} forward {forward:.1e}, gradients {gradients:.1e} ({worst})");
        // Whatever is no number is wrong as well.
        let mut right = forward <= FORWARD_ERROR && gradients <= GRADIENT_ERROR;
        let [precise_error, error] = KINKED_ERRORS;
        let kinked = KINKED.iter().any(|one| one.name() == activation);
        if !right && kinked && forward <= FORWARD_ERROR && gradients <= error {
            let precise = compare(spec, case, Kind::Double);
            text += &format!("; in f64 {:.1e}, {:.1e} ({})", precise.forward, precise.gradients, precise.worst);
            right = precise.forward <= precise_error && precise.gradients <= precise_error;
        }
        println!("{text}");
        (text, right)
    };
    fixture.cases.iter().map(line).collect()
}

#[test]
fn logits_and_gradients_are_timms() {
    let all = env::var("RECTIFY_ALL_TESTS").is_ok_and(|value| value == "1");
    let files = fs::read_dir(folder()).expect("the fixtures");
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    // One model a core: threads that share the work of one wait for each other where others use the cores as well.
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                tch::set_num_threads(1);
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fixture = fixture(path);
                    let spec = spec(&fixture);
                    if spec.flops() <= LARGE || all {
                        let beyond = compare_all(path, &fixture, &spec).into_iter().filter(|(_, right)| !right);
                        wrong.lock().expect("no poison").extend(beyond.map(|(text, _)| text));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no poison");
    assert!(wrong.is_empty(), "beyond {FORWARD_ERROR:e} or {GRADIENT_ERROR:e}:\n{}", wrong.join("\n"));
}

#[test]
fn every_model_of_the_table_is_compared() {
    for name in plan::models::names() {
        let fixture = fixture(&folder().join(format!("{name}.json")));
        assert_eq!(fixture.model, name);
        assert!(fixture.settings.is_empty() && fixture.classes == 1000, "{name} is compared as it is");
        let compared: Vec<&str> = fixture.cases.iter().map(|case| case.activation.as_str()).collect();
        let spec = spec(&fixture);
        let own = spec.activations.default.function.name();
        assert!([own, "crrelu"].iter().all(|activation| compared.contains(activation)), "{name}: {compared:?}");
        assert!(fixture.cases.iter().all(|case| case.gradients.len() >= 3), "{name}");
    }
}

#[test]
fn every_activation_is_compared_on_one_model() {
    let fixture = fixture(&folder().join("vit_tiny_patch16_224.json"));
    for activation in Activation::ALL {
        assert!(fixture.cases.iter().any(|case| case.activation == activation.name()), "{activation}");
    }
}
