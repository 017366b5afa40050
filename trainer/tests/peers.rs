//! Optimisers, clipping, moving averages and losses do in 20 steps what those of PyTorch and timm do.
//!
//! The figures are of `bench/peers/training.py`, which also has the formulas by which tensors are filled.

use std::path::Path;

use dataloader::{Blend, Mix};
use models::{Model, Parameter, Parameters};
use plan::{Config, DataFacts, Plan};
use random::Key;
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use trainer::data_parallel::Slice;
use trainer::ema::Ema;
use trainer::gradients::{Clip, norm};
use trainer::loss::distillation::Distillation;
use trainer::loss::{Loss, Targets};
use trainer::mixing::Mixes;
use trainer::numbers::Numbers;
use trainer::optimizer;

const SMALL: &str = "data.path = 'x'\n[train]\nbatch_size = 16\n[model]\nname = 'vit_tiny_patch16_224'\nimage_size = 16\n\
                     patch_size = 8\nembed_dim = 16\ndepth = 1\nnum_heads = 2\n";

/// A config with the keys of some sections as a fixture has them.
fn configured(sections: &[(&str, &Map<String, Value>)]) -> Config {
    let sets = |(section, keys): &(&str, &Map<String, Value>)| -> Vec<String> {
        keys.iter().map(|(key, value)| format!("{section}.{key}={value}")).collect()
    };
    let sets: Vec<String> = sections.iter().flat_map(sets).collect();
    plan::parse(SMALL, Path::new("small.toml"), &sets).expect("a good config")
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.detach().flatten(0, -1).to_kind(Kind::Double)).expect("numbers")
}

/// Relative to the figure, and for those near zero to a hundredth.
#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(0.01), "{what}: {found} instead of {expected}");
}

#[derive(Deserialize)]
struct Updates {
    names: Vec<String>,
    watched: Vec<String>,
    cases: Vec<Update>,
}

#[derive(Deserialize)]
struct Update {
    title: String,
    optimizer: Map<String, Value>,
    ema: Map<String, Value>,
    trajectory: Vec<Vec<f64>>,
    norms: Vec<f64>,
}

/// A tensor of the parameter's shape, kind and device, of a formula for each element.
fn fill(parameter: &Parameter, of: impl Fn(f64) -> f64) -> Tensor {
    let values: Vec<f64> = (0..parameter.range.len()).map(|i| of(i as f64)).collect();
    Tensor::from_slice(&values).view(parameter.tensor.size().as_slice()).to_kind(parameter.tensor.kind())
}

fn set_values(parameters: &Parameters, names: &[String]) {
    let values = |(k, name): (usize, &String)| {
        let parameter = parameters.get(name).expect("a parameter of timm's name");
        (name.clone(), fill(parameter, |i| 0.5 * (0.37 * i + 1.3 * k as f64 + 0.2).sin()))
    };
    parameters.restore(&names.iter().enumerate().map(values).collect::<Vec<_>>()).expect("all parameters");
}

fn set_gradients(parameters: &Parameters, names: &[String], step: f64) {
    let grads: Vec<Tensor> = parameters.groups().iter().map(|group| group.grads.shallow_clone()).collect();
    let of = |(k, name): (usize, &String)| {
        let parameter = parameters.get(name).expect("a parameter of timm's name");
        let wave = fill(parameter, |i| 0.1 * (0.11 * i + 0.7 * k as f64 + 0.9 * step).cos());
        (name.clone(), wave + parameter.tensor.detach() * 0.05)
    };
    parameters.restore_into(&grads, &names.iter().enumerate().map(of).collect::<Vec<_>>()).expect("all gradients");
}

/// Goes 20 steps as the script does, and compares each watched number and at last every norm.
fn follow(figures: &Updates, case: &Update, kind: Kind, tolerance: f64) {
    let config = configured(&[("optimizer", &case.optimizer), ("ema", &case.ema)]);
    let facts = DataFacts { train_samples: 160, val_samples: 20, num_classes: 10 };
    let plan = Plan::resolve(config, facts, 1).expect("a plan");
    let Config { optimizer: config, ema, .. } = &plan.config;
    let model = Model::with_kind(&plan.model, config.decay, Key::root(1), Device::Cpu, kind).expect("a model");
    let parameters = model.parameters();
    assert_eq!(parameters.iter().len(), figures.names.len());
    set_values(parameters, &figures.names);
    let slices = Slice::whole_groups(parameters);
    let (mut optimizer, mut ema) = (optimizer::new(config, parameters, slices), Ema::new(ema, parameters));
    let groups = || parameters.groups().iter().map(|group| group.values.shallow_clone()).collect::<Vec<_>>();
    let named = |buffers: &[Tensor], name: &str| {
        let views = parameters.views(buffers);
        views.into_iter().find(|(other, _)| other == name).expect("a parameter of timm's name").1
    };
    for (step, expected) in case.trajectory.iter().enumerate() {
        set_gradients(parameters, &figures.names, step as f64);
        Clip::configured(config).apply(parameters, optimizer.slices(), &norm(parameters));
        let rate = config.learning_rate * (1.0 - 0.03 * step as f64);
        optimizer.step(parameters, &Numbers::new(rate, step as u64, Device::Cpu));
        if let Some(ema) = &mut ema {
            ema.update(parameters, step as u64 + 1);
        }
        let seen = ema.as_ref().map_or_else(groups, |ema| ema.averages().iter().map(Tensor::shallow_clone).collect());
        for (name, expected) in figures.watched.iter().zip(expected) {
            let values = numbers(&named(&seen, name));
            near(values[values.len() / 2], *expected, tolerance, &format!("{}, step {step}, {name}", case.title));
        }
        if step + 1 == case.trajectory.len() {
            for (name, expected) in figures.names.iter().zip(&case.norms) {
                let found = named(&seen, name).norm().double_value(&[]);
                near(found, *expected, tolerance, &format!("{}, norm of {name}", case.title));
            }
        }
    }
}

#[test]
fn twenty_steps_of_every_optimizer_clipping_and_average_are_those_of_torch_and_timm() {
    let figures: Updates = serde_json::from_str(include_str!("fixtures/updates.json")).expect("the fixture");
    assert_eq!(figures.cases.iter().map(|case| case.trajectory.len()).min(), Some(20));
    for case in &figures.cases {
        follow(&figures, case, Kind::Double, 1e-8);
        follow(&figures, case, Kind::Float, 1e-5);
    }
}

#[derive(Deserialize)]
struct Losses {
    batch: i64,
    classes: i64,
    labels: Vec<i64>,
    cases: Vec<Descent>,
}

#[derive(Deserialize)]
struct Descent {
    title: String,
    loss: Map<String, Value>,
    weights: Option<Vec<f64>>,
    distillation: Map<String, Value>,
    losses: Vec<f64>,
    logits: Vec<f64>,
    taught: Vec<f64>,
}

/// `(batch, classes)` of a wave.
fn wave(figures: &Losses, factor: f64, phase: f64) -> Tensor {
    let values: Vec<f64> =
        (0..figures.batch * figures.classes).map(|i| 2.0 * (factor * i as f64 + phase).sin()).collect();
    Tensor::from_slice(&values).view([figures.batch, figures.classes])
}

fn descend(figures: &Losses, case: &Descent) {
    let mut distillation = case.distillation.clone();
    if !distillation.is_empty() {
        distillation.insert("teacher".to_owned(), "vit_tiny_patch16_224".into());
        distillation.insert("weights".to_owned(), "teacher.safetensors".into());
    }
    let config = configured(&[("loss", &case.loss), ("distillation", &distillation)]);
    let (loss, distillation) = (Loss::configured(&config.loss), Distillation::configured(&config.distillation));
    let last = figures.labels.len() - 1;
    let mix = |(place, &weight): (usize, &f64)| Mix { partner: last - place, weight, blend: Blend::Whole };
    let mixes = case.weights.as_ref().map(|weights| {
        let mixes: Vec<Mix> = weights.iter().enumerate().map(mix).collect();
        Mixes::new(&mixes, false, Device::Cpu)
    });
    let labels = Tensor::from_slice(&figures.labels);
    let teacher = wave(figures, 1.3, 0.3);
    let heads = [wave(figures, 0.9, 0.1), wave(figures, 0.7, 0.5)].map(|head| head.set_requires_grad(true));
    for (step, expected) in case.losses.iter().enumerate() {
        let mut value = loss.of(&heads[0], &labels, mixes.as_ref());
        if let Some(distillation) = &distillation {
            let targets = Targets::new(&labels, mixes.as_ref(), Kind::Double);
            value = distillation.of(value, &heads[1], &teacher, &targets);
        }
        near(value.double_value(&[]), *expected, 1e-8, &format!("{}, step {step}", case.title));
        value.backward();
        for head in heads.iter().filter(|head| head.grad().defined()) {
            let mut data = head.detach();
            data -= head.grad() * 2.0;
            let _ = head.grad().zero_();
        }
    }
    for (head, expected) in heads.iter().zip([&case.logits, &case.taught]) {
        for (found, expected) in numbers(head).iter().zip(expected) {
            near(*found, *expected, 1e-8, &case.title);
        }
    }
}

#[test]
fn twenty_steps_down_every_loss_are_those_of_torch_timm_and_deit() {
    let figures: Losses = serde_json::from_str(include_str!("fixtures/losses.json")).expect("the fixture");
    assert_eq!(figures.cases.iter().map(|case| case.losses.len()).min(), Some(20));
    for case in &figures.cases {
        descend(&figures, case);
    }
}
