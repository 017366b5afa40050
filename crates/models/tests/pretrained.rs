//! Weights of one model in another: classes, resolution and activation may differ, and nothing else.

use models::{Mode, Model, ModelError};
use plan::config::DecayRule;
use plan::models::{Activations, Architecture, ModelSpec, VitSpec};
use random::Key;
use tch::{Device, Kind, Tensor};

/// A small ViT of timm's kind, with what `change` makes different.
fn model(seed: u64, change: impl FnOnce(&mut ModelSpec, &mut VitSpec)) -> Model {
    let mut spec = plan::models::find("vit_tiny_patch16_224").expect("a model of the table");
    let Architecture::Vit(vit) = spec.architecture.clone() else { panic!("a ViT") };
    let mut vit = VitSpec { patch_size: 4, embed_dim: 24, depth: 2, num_heads: 3, ..vit };
    (spec.image_size, spec.num_classes) = (16, 7);
    change(&mut spec, &mut vit);
    spec.architecture = Architecture::Vit(vit);
    Model::new(&spec, DecayRule::Matrices, Key::root(seed), Device::Cpu).expect("a small model")
}

fn plain(seed: u64) -> Model {
    model(seed, |_, _| ())
}

fn images(side: i64) -> Tensor {
    tch::manual_seed(5);
    Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu))
}

fn logits(model: &Model, images: &Tensor) -> Tensor {
    model.forward(images, Mode::Evaluate).logits
}

#[test]
fn the_same_model_takes_all() {
    let (from, to) = (plain(1), plain(2));
    let report = to.load_pretrained(&from.parameters().named()).expect("it fits");
    assert!(report.is_complete() && report.loaded == from.parameters().iter().count(), "{report}");
    assert_eq!(from.parameters().hash(), to.parameters().hash());
}

/// timm's `dynamic_img_size`, against which the tests of forward passes hold, resamples as loading does.
#[test]
fn another_resolution_resamples_positions() {
    let (from, to) = (plain(1), model(2, |spec, _| spec.image_size = 24));
    let report = to.load_pretrained(&from.parameters().named()).expect("it fits");
    assert!(report.is_complete() && report.resampled.len() == 1, "{report}");
    let images = images(24);
    assert!(logits(&from, &images).allclose(&logits(&to, &images), 1e-6, 1e-6, false));
}

#[test]
fn another_number_of_classes_keeps_the_fresh_head() {
    let wider = || model(2, |spec, _| spec.num_classes = 9);
    let (from, to, fresh) = (plain(1), wider(), wider());
    let report = to.load_pretrained(&from.parameters().named()).expect("it fits");
    assert!(!report.is_complete());
    let names: Vec<&str> = report.replaced.iter().map(|misfit| misfit.name.as_str()).collect();
    assert_eq!(names, ["head.weight", "head.bias"]);
    let same = |name: &str, as_in: &Model| {
        let of = |model: &Model| model.parameters().get(name).expect("a parameter").tensor.detach();
        of(&to) == of(as_in)
    };
    assert!(same("head.weight", &fresh) && same("head.bias", &fresh) && same("norm.weight", &from));
    assert!(same("blocks.1.mlp.fc1.weight", &from) && !same("blocks.1.mlp.fc1.weight", &fresh));
    let told = report.to_string();
    assert!(told.contains("2 replaced by fresh ones (head.weight: [9, 24] here, [7, 24] in the file"), "{told}");
}

#[test]
fn another_activation_starts_where_it_starts() {
    let crrelu = Activations::reference(activations::Activation::CrRelu);
    let (from, to) = (plain(1), model(2, |spec, _| spec.activations = crrelu));
    let report = to.load_pretrained(&from.parameters().named()).expect("it fits");
    assert_eq!(report.activations, ["blocks.0.mlp.act.epsilon", "blocks.1.mlp.act.epsilon"]);
    assert!(report.is_complete());
    // The other way round the file holds what nobody asked for.
    let report = from.load_pretrained(&to.parameters().named()).expect("it fits");
    assert_eq!(report.unexpected, ["blocks.0.mlp.act.epsilon", "blocks.1.mlp.act.epsilon"]);
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let to = plain(2);
    let before = to.parameters().hash();
    let other = model(1, |spec, vit| (vit.embed_dim, spec.image_size) = (48, 24));
    let error = to.load_pretrained(&other.parameters().named()).expect_err("another width");
    let ModelError::Misfits { misfits } = &error else { panic!("{error}") };
    assert_eq!(
        (&misfits[0].name[..], &misfits[0].expected[..], &misfits[0].found[..]),
        ("cls_token", &[1, 1, 24][..], &[1, 1, 48][..])
    );
    assert!(error.to_string().contains("pos_embed: [1, 17, 24] here, [1, 37, 48] in the file"), "{error}");
    // A position embedding with room for a distillation token is not that of this model.
    let distilled = model(1, |_, vit| vit.distilled = true);
    let error = to.load_pretrained(&distilled.parameters().named()).expect_err("another token").to_string();
    assert!(error.contains("pos_embed: [1, 17, 24] here, [1, 18, 24] in the file"), "{error}");
    let strange = [("conv1.weight".to_owned(), Tensor::from(1.0f32))];
    let error = to.load_pretrained(&strange).expect_err("a stranger").to_string();
    assert!(error.contains("cls_token") && error.contains("the file conv1.weight"), "{error}");
    assert_eq!(before, to.parameters().hash());
}

#[test]
fn a_missing_part_is_told() {
    let (from, to) = (plain(1), model(2, |_, vit| vit.depth = 3));
    let report = to.load_pretrained(&from.parameters().named()).expect("what is there fits");
    assert!(!report.is_complete() && report.missing.len() == 12 && report.missing[0] == "blocks.2.norm1.weight");
    assert!(report.to_string().contains("12 missing (blocks.2.norm1.weight, "), "{report}");
}
