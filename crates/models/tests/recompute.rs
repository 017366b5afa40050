//! Models whose blocks are computed again in the backward pass learn the very same, and keep less.

use models::{Masks, Mode, Model};
use plan::config::DecayRule;
use plan::models::ModelSpec;
use random::Key;
use tch::{Device, Kind, Tensor};

const IMAGES: i64 = 3;

fn spec(name: &str, settings: &str) -> ModelSpec {
    let text = format!("[data]\npath = 'x'\n[model]\nname = '{name}'\n{settings}");
    let config = plan::parse(&text, "recompute.toml".as_ref(), &[]).expect("a good config");
    plan::models::configured(&config.model, 5).expect("a model")
}

/// Small ones of each family of transformers, with all that a block can have.
fn specs() -> Vec<ModelSpec> {
    let vit = "image_size = 32\npatch_size = 8\nembed_dim = 32\ndepth = 3\nnum_heads = 2\n";
    vec![
        spec("vit_tiny_patch16_224", &format!("{vit}activation = 'crrelu'\ndrop_path = 0.3")),
        spec("deit3_small_patch16_224", &format!("{vit}drop = 0.2")),
        spec("deit_tiny_distilled_patch16_224", vit),
        spec("swin_tiny_patch4_window7_224", "image_size = 56\ndrop_path = 0.3"),
        spec("tnt_s_patch16_224", "image_size = 32\ndepth = 2\ndrop_path = 0.3"),
    ]
}

fn wave(shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape)
}

fn build(spec: &ModelSpec, kind: Kind) -> Model {
    Model::new(spec, DecayRule::Matrices, Key::root(3), Device::Cpu).expect("a model").with_products_in(kind)
}

fn masks(model: &Model) -> Masks {
    let drop_path = (model.num_drops() > 0).then(|| {
        // Every third sample skips a branch.
        let rows = model.num_drops() as i64;
        let third = Tensor::arange(rows * IMAGES, (Kind::Int64, Device::Cpu)).remainder(3).ne(0);
        third.view([rows, IMAGES]).to_kind(Kind::Float) * 1.25
    });
    let dropout = model.dropout().map(|dropout| {
        let shape = [dropout.heads as i64, IMAGES, dropout.features as i64];
        wave(&shape).gt(-0.5).to_kind(Kind::Float) * 1.25
    });
    Masks { drop_path, dropout }
}

/// What two steps' worth of gradients are, and what the watch saw.
fn learned(model: &Model, side: i64) -> (Vec<Tensor>, Vec<(String, Tensor)>) {
    let masks = masks(model);
    model.parameters().watch(64, 1);
    let mut seen = Vec::new();
    for scale in [1.0, 0.5] {
        let output = model.forward(&(wave(&[IMAGES, 3, side, side]) * scale), Mode::Train { masks: &masks });
        if scale == 1.0 {
            seen = model.parameters().watched().into_iter().map(|one| (one.module, one.values)).collect();
        }
        let all = [Some(output.logits), output.distilled].into_iter().flatten();
        all.map(|logits| logits.square().mean(Kind::Float)).sum::<Tensor>().backward();
    }
    let gradients = model.parameters().groups().iter().map(|group| group.grads.shallow_clone()).collect();
    (gradients, seen)
}

#[test]
fn gradients_and_what_is_watched_are_the_same_bit_for_bit() {
    for spec in specs() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let side = spec.image_size as i64;
            let (kept, recomputed) = (build(&spec, kind), build(&spec, kind).recomputed());
            let (expected, found) = (learned(&kept, side), learned(&recomputed, side));
            for (group, (expected, found)) in expected.0.iter().zip(&found.0).enumerate() {
                assert!(expected.equal(found), "{spec:?} in {kind:?}: gradients of group {group}");
                assert!(expected.abs().max().double_value(&[]) > 0.0);
            }
            assert_eq!(expected.1.len(), found.1.len());
            for ((module, expected), (other, found)) in expected.1.iter().zip(&found.1) {
                assert!(module == other && expected.equal(found), "{module} of {spec:?} in {kind:?}");
            }
        }
    }
}
