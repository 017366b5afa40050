//! Images of other sizes than the model's own, against figures that timm computed (`fixtures/timm_resized.py`).

use models::{Masks, Mode, Model};
use plan::config::DecayRule;
use plan::models::{Activations, Architecture, ModelSpec, VitSpec};
use random::Key;
use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};

mod formula;

use formula::{IMAGES, LOGITS, fill};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    distilled: bool,
    size: i64,
    logits: Vec<f64>,
    norm: f64,
    first: Vec<f64>,
}

fn build(distilled: bool, kind: Kind) -> Model {
    let spec = ModelSpec {
        image_size: 16,
        num_classes: 7,
        drop_path: 0.0,
        drop: 0.0,
        activations: Activations::reference(activations::Activation::Gelu),
        architecture: Architecture::Vit(VitSpec { patch_size: 4, depth: 3, distilled, ..VitSpec::new(24, 3) }),
    };
    let model = Model::with_kind(&spec, DecayRule::Matrices, Key::root(0), Device::Cpu, kind).expect("a small model");
    for (seed, parameter) in (1..).zip(model.parameters().iter()) {
        let scale = parameter.name.contains("norm") && parameter.name.ends_with("weight");
        let value = fill(&parameter.tensor.size(), seed, if scale { 1.0 } else { 0.0 }, 0.3);
        no_grad(|| parameter.tensor.shallow_clone().copy_(&value));
    }
    model
}

#[track_caller]
fn near(found: &Tensor, expected: &[f64], what: &str) {
    let found = Vec::<f64>::try_from(found.detach().flatten(0, -1).to_kind(Kind::Double)).expect("numbers");
    let largest = expected.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-5 * largest, "{what}: {a} instead of {b}");
    }
}

#[test]
fn logits_and_gradients_at_other_sizes_are_timms() {
    let Reference { cases } =
        serde_json::from_str(include_str!("fixtures/timm_resized.json")).expect("the fixture fits its structure");
    assert_eq!(cases.len(), 10);
    for (case, kind) in cases.iter().flat_map(|case| [(case, Kind::Float), (case, Kind::Double)]) {
        let what = format!("{} pixels, distilled {}, {kind:?}", case.size, case.distilled);
        let model = build(case.distilled, kind);
        let images = fill(&[2, 3, case.size, case.size], IMAGES, 0.0, 2.0).to_kind(kind);
        near(&model.forward(&images, Mode::Evaluate).logits, &case.logits, &what);
        let output = model.forward(&images, Mode::Train { masks: &Masks::default() });
        let logits = match output.distilled {
            Some(distilled) => (output.logits + distilled) / 2.0,
            None => output.logits,
        };
        (&logits * fill(&logits.size(), LOGITS[0], 0.0, 1.0).to_kind(kind)).sum(kind).backward();
        let gradient = model.parameters().get("pos_embed").expect("a ViT has it").tensor.grad();
        near(&gradient.norm(), &[case.norm], &what);
        near(&gradient, &case.first, &what);
    }
}
