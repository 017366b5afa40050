//! What a model consists of is what timm's does: names, shapes, layers, initial values, costs (`fixtures/timm_families.py`).

use std::env;
use std::path::Path;

use models::{Grouping, Masks, Mode, Model};
use plan::config::DecayRule;
use plan::models::ModelSpec;
use random::Key;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// Parameters of a model whose initial values are drawn only where `RECTIFY_ALL_TESTS=1` is set (`make test-all`).
const LARGE: u64 = 50_000_000;

#[derive(Deserialize)]
struct Reference {
    listed: Vec<Listed>,
    costed: Vec<Costed>,
}

#[derive(Deserialize)]
struct Listed {
    model: String,
    parameters: u64,
    flops: u64,
    /// Name, shape, layer, mean, standard deviation.
    weights: Vec<String>,
    buffers: Vec<String>,
}

#[derive(Deserialize)]
struct Costed {
    model: String,
    settings: Vec<String>,
    parameters: u64,
    flops: u64,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("fixtures/timm_families.json")).expect("the fixture fits its structure")
}

fn build(spec: &ModelSpec) -> Model {
    Model::new(spec, DecayRule::Matrices, Key::root(0), Device::Cpu).expect("a model of the table can be built")
}

/// One whose values are of no account.
fn empty(spec: &ModelSpec, grouping: impl Into<Grouping>) -> Model {
    Model::empty(spec, grouping, Device::Cpu, Kind::Float).expect("a model of the table can be built")
}

fn line(name: &str, tensor: &Tensor) -> String {
    tensor.size().iter().fold(name.to_owned(), |line, side| format!("{line} {side}"))
}

/// The line of a weight, without and with its layer, and its mean and standard deviation.
fn parts(weight: &str) -> (&str, &str, f64, f64) {
    let (shape, rest) = weight.split_once(" @").expect("a layer");
    let numbers: Vec<&str> = rest.split(' ').collect();
    let number = |text: &str| text.parse().expect("a number");
    (shape, numbers[0], number(numbers[1]), number(numbers[2]))
}

#[test]
fn names_and_shapes_are_timms_in_timms_order() {
    for Listed { model, weights, buffers, .. } in reference().listed {
        let built = empty(&plan::models::find(&model).expect("a model of the table"), DecayRule::Matrices);
        let found: Vec<String> = built.parameters().iter().map(|one| line(&one.name, &one.tensor)).collect();
        let expected: Vec<&str> = weights.iter().map(|weight| parts(weight).0).collect();
        assert_eq!(found, expected, "{model}");
        let found: Vec<String> = built.parameters().buffers().iter().map(|(name, one)| line(name, one)).collect();
        assert_eq!(found, buffers, "{model}");
    }
}

#[test]
fn initial_values_are_distributed_as_timms() {
    let all = env::var("RECTIFY_ALL_TESTS").is_ok_and(|value| value == "1");
    // Drawing takes long.
    for Listed { model, weights, .. } in reference().listed.into_iter().filter(|one| one.parameters <= LARGE || all) {
        let built = build(&plan::models::find(&model).expect("a model of the table"));
        for (weight, parameter) in weights.iter().zip(built.parameters().iter()) {
            let (_, _, mean, std) = parts(weight);
            let tensor = parameter.tensor.detach().to_kind(Kind::Double);
            let found = [tensor.mean(None), tensor.std(false)].map(|one| one.double_value(&[]));
            // Seven standard errors of a mean and of a standard deviation, for ours and theirs together.
            let error = 7.0 * std * (2.0 / tensor.numel() as f64).sqrt() + 1e-5 * mean.abs();
            let right = (found[0] - mean).abs() <= error && (found[1] - std).abs() <= error;
            assert!(right, "{model}, {}: {found:?} instead of {mean} and {std}", parameter.name);
        }
    }
}

/// Each layer is told by its learning rate.
#[test]
fn layers_are_those_of_timms_layer_wise_decay() {
    const DECAY: f64 = 0.5;
    for Listed { model, weights, .. } in reference().listed {
        let spec = plan::models::find(&model).expect("a model of the table");
        let built = empty(&spec, Grouping { decay: DecayRule::Matrices, layer_decay: DECAY });
        let layer = |weight: &String| parts(weight).1.parse::<i32>().expect("a number");
        let last = weights.iter().map(layer).max().expect("a weight");
        for (weight, parameter) in weights.iter().zip(built.parameters().iter()) {
            let found = built.parameters().groups()[parameter.group].lr_scale;
            assert_eq!(found, DECAY.powi(last - layer(weight)), "{model}, {}", parameter.name);
        }
    }
}

/// As `torch.utils.flop_counter.FlopCounterMode` counts operations.
#[test]
fn costs_are_those_of_timms_models() {
    let Reference { listed, costed } = reference();
    for Listed { model, parameters, flops, .. } in listed {
        let spec = plan::models::find(&model).expect("a model of the table");
        assert_eq!((spec.parameters(), spec.flops()), (parameters, flops), "{model}");
    }
    for Costed { model, settings, parameters, flops } in costed {
        let mut sets = vec!["data.path=x".to_owned(), format!("model.name={model}")];
        sets.extend(settings.iter().map(|setting| format!("model.{setting}")));
        let plan = plan::parse("", Path::new("costs.toml"), &sets).expect("the settings of a fixture");
        let spec = plan::models::configured(&plan.model, 10).expect("a model that can be built");
        assert_eq!((spec.parameters(), spec.flops()), (parameters, flops), "{model} {settings:?}");
        let built = empty(&spec, DecayRule::Matrices);
        assert_eq!(built.parameters().count(), parameters, "{model} {settings:?}");
    }
}

#[test]
fn each_module_learns_what_its_activation_has() {
    for Listed { model, parameters, .. } in reference().listed {
        let mut spec = plan::models::find(&model).expect("a model of the table");
        spec.activations = plan::models::Activations::reference(activations::Activation::CrRelu);
        let modules = spec.architecture.family().activations();
        assert_eq!(spec.parameters(), parameters + modules.len() as u64, "{model}");
        let built = empty(&spec, DecayRule::Matrices);
        let mut found: Vec<&str> = built.activation_parameters().map(|one| one.name.as_str()).collect();
        let mut expected: Vec<String> = modules.iter().map(|module| format!("{module}.epsilon")).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{model}");
    }
}

/// Where there are more patches than the model's own, they share what drop-path leaves out.
#[test]
fn a_tnt_takes_images_of_other_sizes() {
    let mut spec = plan::models::find("tnt_s_patch16_224").expect("a model of the table");
    spec.image_size = 32;
    spec.drop_path = 0.5;
    let model = build(&spec);
    for size in [16, 32, 48] {
        let images = Tensor::ones([2, 3, size, size], (Kind::Float, Device::Cpu));
        let evaluated = model.forward(&images, Mode::Evaluate).logits;
        let train = |masks: Tensor| {
            model.forward(&images, Mode::Train { masks: &Masks { drop_path: Some(masks), dropout: None } }).logits
        };
        let masks = Tensor::ones([model.num_drops() as i64, 2], (Kind::Float, Device::Cpu));
        assert!(train(masks.copy()).allclose(&evaluated, 1e-5, 1e-6, false), "{size} pixels");
        // The second image skips all that it may; nothing of that reaches the first.
        let _ = masks.select(1, 1).zero_();
        let skipped = train(masks);
        assert!(skipped.get(0).allclose(&evaluated.get(0), 1e-5, 1e-6, false), "{size} pixels");
        assert!(!skipped.get(1).allclose(&evaluated.get(1), 1e-3, 1e-4, false), "{size} pixels");
    }
}

#[test]
fn only_training_moves_running_statistics() {
    let mut spec = plan::models::find("resnet18").expect("a model of the table");
    spec.image_size = 64;
    let model = build(&spec);
    let buffer = |name: &str| {
        let found = model.parameters().buffers().iter().find(|(found, _)| found == name);
        found.expect("timm's buffer").1.shallow_clone()
    };
    let hash = || model.parameters().hash();
    let images = Tensor::arange(2 * 3 * 64 * 64, (Kind::Float, Device::Cpu)).sin().view([2, 3, 64, 64]);
    let begun = hash();
    model.forward(&images, Mode::Evaluate);
    assert_eq!(hash(), begun);
    for step in 1..=3 {
        let before = hash();
        model.forward(&images, Mode::Train { masks: &Masks::default() });
        assert_ne!(hash(), before);
        assert_eq!(buffer("layer4.1.bn2.num_batches_tracked").int64_value(&[]), step);
    }
    // The same batch again and again: a running mean nears that of the batch, here m(1 - 0.9 ** 3).
    let conv = &model.parameters().get("conv1.weight").expect("timm's parameter").tensor;
    let maps = tch::no_grad(|| images.conv2d(conv, None::<&Tensor>, [2, 2], [3, 3], [1, 1], 1));
    let expected = maps.mean_dim([0, 2, 3].as_slice(), false, None) * (1.0 - 0.9f64.powi(3));
    assert!(buffer("bn1.running_mean").allclose(&expected, 1e-4, 1e-6, false));
}
