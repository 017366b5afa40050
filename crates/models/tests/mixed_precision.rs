//! Products in bf16 and f16 over parameters in f32: close to f32, gradients in f32, and never with values of an earlier step.

use plan::config::DecayRule;
use plan::models::{Activations, Architecture, ModelSpec, VitSpec, find};
use random::Key;
use tch::{Device, Kind, Tensor};

use models::{Masks, Mode, Model};

fn vit() -> ModelSpec {
    let vit = VitSpec { patch_size: 4, depth: 2, mlp_ratio: 2.0, ..VitSpec::new(32, 4) };
    ModelSpec {
        image_size: 16,
        num_classes: 10,
        drop_path: 0.0,
        drop: 0.0,
        activations: Activations::reference(activations::Activation::CrRelu),
        architecture: Architecture::Vit(vit),
    }
}

fn convolutional() -> ModelSpec {
    ModelSpec { image_size: 64, num_classes: 10, ..find("resnet18").expect("a model of the table") }
}

fn build(spec: &ModelSpec, products: Kind) -> Model {
    Model::new(spec, DecayRule::Matrices, Key::root(7), Device::Cpu).expect("a model").with_products_in(products)
}

fn images(spec: &ModelSpec) -> Tensor {
    let (side, mut rng) = (spec.image_size, Key::root(1).rng());
    let values: Vec<f32> = (0..4 * 3 * side * side).map(|_| (4.0 * rng.uniform() - 2.0) as f32).collect();
    Tensor::from_slice(&values).view([4, 3, side as i64, side as i64])
}

fn logits(model: &Model, spec: &ModelSpec) -> Tensor {
    model.forward(&images(spec), Mode::Train { masks: &Masks::default() }).logits
}

/// All gradients of a training pass, one after the other, in f64.
fn gradients(model: &Model, spec: &ModelSpec) -> Tensor {
    model.parameters().zero_grads();
    let labels = Tensor::from_slice(&[1i64, 7, 3, 3]);
    logits(model, spec).cross_entropy_for_logits(&labels).backward();
    let groups = model.parameters().groups().iter().map(|group| group.grads.to_kind(Kind::Double));
    Tensor::cat(&groups.collect::<Vec<_>>(), 0)
}

#[test]
fn gradients_point_where_those_of_f32_do() {
    for (name, spec, kinds) in
        [("vit", vit(), vec![Kind::BFloat16, Kind::Half]), ("resnet", convolutional(), vec![Kind::BFloat16])]
    {
        let exact = gradients(&build(&spec, Kind::Float), &spec);
        for kind in kinds {
            let model = build(&spec, kind);
            let found = gradients(&model, &spec);
            let cosine = (exact.dot(&found) / (exact.norm() * found.norm())).double_value(&[]);
            assert!(cosine > 0.99 && cosine < 1.0, "{name} in {kind:?}: {cosine}");
            assert!(model.parameters().groups().iter().all(|group| group.grads.kind() == Kind::Float));
        }
    }
}

/// Optimizers, checkpoints and messages write to the values in ways that libtorch does not see.
#[test]
fn a_pass_reads_the_values_as_they_are_now() {
    for spec in [vit(), convolutional()] {
        let (model, changed) = (build(&spec, Kind::BFloat16), build(&spec, Kind::BFloat16));
        let before = logits(&model, &spec);
        for (own, other) in model.parameters().groups().iter().zip(changed.parameters().groups()) {
            let count = own.values.numel();
            let values: Vec<f32> = Vec::try_from(&own.values * 1.25 + 0.01).expect("numbers");
            for tensor in [&own.values, &other.values] {
                // SAFETY: the buffer holds `count` f32 on a CPU, and nothing else uses it.
                unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), tensor.data_ptr().cast(), count) };
            }
        }
        let after = logits(&model, &spec);
        assert_ne!(before, after);
        assert_eq!(after, logits(&changed, &spec));
    }
}

/// Every number that an activation of a convolutional network is applied to is one of bf16.
#[test]
fn convolutional_networks_stay_in_bf16() {
    let spec = convolutional();
    for (kind, stays) in [(Kind::Float, false), (Kind::BFloat16, true)] {
        let model = build(&spec, kind);
        model.parameters().watch(1 << 12, 0);
        let logits = logits(&model, &spec);
        assert_eq!(logits.kind(), Kind::Float);
        let seen = model.parameters().watched();
        assert_eq!(seen.len(), 17, "one for each activation of resnet18");
        for one in seen {
            let rounded = one.values.to_kind(Kind::BFloat16).to_kind(Kind::Float);
            assert_eq!(one.values == rounded, stays, "{} in {kind:?}", one.module);
        }
    }
}
