//! Parameters lie in flat buffers, and backward writes their gradients there in place.

use plan::config::DecayRule;
use plan::models::{Activations, Architecture, ModelSpec, VitSpec};
use random::Key;
use tch::{Device, Kind, Tensor};

use models::{Grouping, Masks, Mode, Model, ModelError};

fn spec(activation: activations::Activation) -> ModelSpec {
    ModelSpec {
        image_size: 8,
        num_classes: 5,
        drop_path: 0.0,
        drop: 0.0,
        activations: Activations::reference(activation),
        architecture: Architecture::Vit(vit()),
    }
}

fn vit() -> VitSpec {
    VitSpec { patch_size: 4, depth: 2, mlp_ratio: 2.0, distilled: true, ..VitSpec::new(12, 3) }
}

fn model(rule: DecayRule, seed: u64) -> Model {
    let spec = spec(activations::Activation::CrRelu);
    Model::with_kind(&spec, rule, Key::root(seed), Device::Cpu, Kind::Double).expect("a small model")
}

fn images() -> Tensor {
    (Tensor::arange(2 * 3 * 8 * 8, (Kind::Double, Device::Cpu)) * 0.37).sin().view([2, 3, 8, 8])
}

fn loss(model: &Model, images: &Tensor) -> Tensor {
    let masks = Masks::default();
    let output = model.forward(images, Mode::Train { masks: &masks });
    output.logits.square().mean(None) + output.distilled.expect("a distilled model").cos().mean(None)
}

fn copies(model: &Model) -> Vec<Tensor> {
    model.parameters().groups().iter().map(|group| group.grads.copy()).collect()
}

#[test]
fn backward_accumulates_into_the_flat_buffers_over_several_steps() {
    let model = model(DecayRule::Matrices, 0);
    let buffers: Vec<_> = model.parameters().groups().iter().map(|group| group.grads.data_ptr()).collect();
    for step in 0..3 {
        model.parameters().zero_grads();
        assert!(model.parameters().groups().iter().all(|group| group.grads.count_nonzero(None).int64_value(&[]) == 0));
        let (first, second) = (images(), images() + 0.1 * f64::from(step));
        loss(&model, &first).backward();
        let once = copies(&model);
        loss(&model, &second).backward();
        let both = copies(&model);
        model.parameters().zero_grads();
        loss(&model, &second).backward();
        for (index, ((group, once), both)) in model.parameters().groups().iter().zip(&once).zip(&both).enumerate() {
            assert_eq!(group.grads.data_ptr(), buffers[index]);
            assert!(once.abs().sum(Kind::Double).double_value(&[]) > 0.0);
            assert!(both.allclose(&(once + &group.grads), 1e-12, 1e-15, false), "step {step}, group {index}");
        }
        for parameter in model.parameters().iter() {
            let group = &model.parameters().groups()[parameter.group];
            let (start, len) = (parameter.range.start as i64, parameter.range.len() as i64);
            assert_eq!(parameter.tensor.grad().data_ptr(), group.grads.narrow(0, start, len).data_ptr());
            assert_eq!(parameter.tensor.data_ptr(), group.values.narrow(0, start, len).data_ptr());
            assert!(parameter.tensor.is_leaf());
            assert!(
                parameter.tensor.grad().count_nonzero(None).int64_value(&[]) > 0,
                "{} has no gradient",
                parameter.name
            );
        }
        // A step of plain gradient descent over the flat buffers changes what the model computes.
        let before = loss(&model, &first).double_value(&[]);
        tch::no_grad(|| {
            for group in model.parameters().groups() {
                let mut values = group.values.shallow_clone();
                values -= &group.grads * 0.05;
            }
        });
        assert!(loss(&model, &second).double_value(&[]) != before);
    }
}

#[test]
fn groups_follow_the_rule_of_decay() {
    let decays = |model: &Model, name: &str| {
        let parameter = model.parameters().get(name).expect("a parameter of the model");
        model.parameters().groups()[parameter.group].weight_decay
    };
    let matrices = model(DecayRule::Matrices, 0);
    assert_eq!(matrices.parameters().groups().len(), 2);
    for name in ["patch_embed.proj.weight", "blocks.1.attn.qkv.weight", "head_dist.weight"] {
        assert!(decays(&matrices, name), "{name}");
    }
    for name in ["cls_token", "dist_token", "pos_embed", "norm.weight", "head.bias", "blocks.0.mlp.act.epsilon"] {
        assert!(!decays(&matrices, name), "{name}");
    }
    let all = model(DecayRule::All, 0);
    assert!(all.parameters().iter().all(|parameter| decays(&all, &parameter.name)));
    assert_eq!(all.parameters().groups().len(), 1);

    let mut spec = spec(activations::Activation::CrRelu);
    spec.activations.default.decay = Some(false);
    let spared = Model::new(&spec, DecayRule::All, Key::root(0), Device::Cpu).expect("a small model");
    let without_decay = spared.parameters().iter().filter(|parameter| !decays(&spared, &parameter.name));
    let names: Vec<&str> = without_decay.map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["blocks.0.mlp.act.epsilon", "blocks.1.mlp.act.epsilon"]);
}

#[test]
fn parameters_are_aligned_and_do_not_overlap() {
    let model = model(DecayRule::Matrices, 0);
    for (index, group) in model.parameters().groups().iter().enumerate() {
        let mut end = 0;
        for parameter in model.parameters().iter().filter(|parameter| parameter.group == index) {
            assert!(parameter.range.start >= end && parameter.range.start.is_multiple_of(16), "{}", parameter.name);
            assert_eq!(parameter.range.len(), parameter.tensor.numel());
            end = parameter.range.end;
        }
        assert!(end <= group.values.numel() && group.values.numel() == group.grads.numel());
    }
    let whole: u64 = model.parameters().iter().map(|parameter| parameter.tensor.numel() as u64).sum();
    assert_eq!(model.parameters().count(), whole);
}

#[test]
fn the_hash_tells_parameters_apart() {
    let same = model(DecayRule::Matrices, 0);
    assert_eq!(same.parameters().hash(), model(DecayRule::Matrices, 0).parameters().hash());
    assert_eq!(same.parameters().hash(), model(DecayRule::All, 0).parameters().hash());
    assert_ne!(same.parameters().hash(), model(DecayRule::Matrices, 1).parameters().hash());
    let before = same.parameters().hash();
    let bias = same.parameters().get("head.bias").expect("a head");
    let _ = tch::no_grad(|| bias.tensor.narrow(0, 4, 1).fill_(1e-300));
    assert_ne!(same.parameters().hash(), before);
}

#[test]
fn parameters_survive_the_way_through_a_file() {
    let (from, to) = (model(DecayRule::Matrices, 3), model(DecayRule::All, 4));
    assert_ne!(from.parameters().hash(), to.parameters().hash());
    let file = models::to_safetensors(&from.parameters().named()).expect("a file");
    to.parameters().restore(&models::from_safetensors(&file).expect("tensors")).expect("the same model");
    assert_eq!(from.parameters().hash(), to.parameters().hash());
    assert!(models::from_safetensors(&file[..file.len() - 1]).is_err());
}

#[test]
fn state_laid_out_as_the_values_goes_by_the_same_names() {
    let model = model(DecayRule::Matrices, 5);
    let squares: Vec<Tensor> = model.parameters().groups().iter().map(|group| group.values.square()).collect();
    let named = model.parameters().views(&squares);
    for ((name, square), parameter) in named.iter().zip(model.parameters().iter()) {
        assert_eq!((name, square), (&parameter.name, &parameter.tensor.detach().square()));
    }
    let zeros: Vec<Tensor> = squares.iter().map(Tensor::zeros_like).collect();
    model.parameters().restore_into(&zeros, &named).expect("the same layout");
    assert_eq!(zeros, squares);
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let model = model(DecayRule::Matrices, 6);
    let before = model.parameters().hash();
    let zeros = || -> Vec<(String, Tensor)> {
        model.parameters().named().iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect()
    };
    let mut missing = zeros();
    missing.retain(|(name, _)| name != "blocks.1.norm1.bias" && name != "norm.weight");
    let error = model.parameters().restore(&missing).unwrap_err();
    assert!(matches!(&error, ModelError::Missing { name, .. } if name == "blocks.1.norm1.bias"), "{error}");

    let mut reshaped = zeros();
    for (_, tensor) in reshaped.iter_mut().filter(|(name, _)| name.starts_with("head")) {
        *tensor = Tensor::zeros([7], (Kind::Double, Device::Cpu));
    }
    let error = model.parameters().restore(&reshaped).unwrap_err();
    let expected = "parameter head.weight has shape [5, 12], but the tensor given for it has [7]";
    assert_eq!(error.to_string(), expected);

    let mut unexpected = zeros();
    unexpected.extend([("z".to_owned(), Tensor::from(1.0)), ("reg_token".to_owned(), Tensor::from(1.0))]);
    let error = model.parameters().restore(&unexpected).unwrap_err();
    assert!(matches!(&error, ModelError::Unexpected { name, .. } if name == "reg_token"), "{error}");
    assert_eq!(model.parameters().hash(), before);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut ModelSpec, &mut VitSpec)| {
        let (mut spec, mut vit) = (spec(activations::Activation::Gelu), vit());
        change(&mut spec, &mut vit);
        spec.architecture = Architecture::Vit(vit);
        let model = Model::new(&spec, DecayRule::All, Key::root(0), Device::Cpu);
        model.err().expect("a refusal").to_string()
    };
    assert!(refused(|_, vit| vit.patch_size = 3).contains("image size 8 is no multiple of patch size 3"));
    assert!(refused(|_, vit| vit.num_heads = 5).contains("width 12 is no multiple of 5 heads"));
    assert!(refused(|_, vit| vit.depth = 0).contains("at least 1"));
    assert!(refused(|spec, _| spec.drop = 1.0).contains("drop must be"));
}

/// timm's `param_groups_layer_decay(model, layer_decay=0.5)` over the layers stem, two blocks, classifiers.
#[test]
fn each_layer_learns_at_its_own_rate() {
    let grouping = Grouping { decay: DecayRule::Matrices, layer_decay: 0.5 };
    let model = Model::new(&spec(activations::Activation::CrRelu), grouping, Key::root(0), Device::Cpu);
    let model = model.expect("a small model");
    let parameters = model.parameters();
    assert_eq!(parameters.groups().len(), 8);
    for (name, scale) in [
        ("cls_token", 0.125),
        ("patch_embed.proj.weight", 0.125),
        ("blocks.0.mlp.act.epsilon", 0.25),
        ("blocks.1.attn.qkv.weight", 0.5),
        ("norm.weight", 0.5),
        ("head_dist.weight", 1.0),
    ] {
        let parameter = parameters.get(name).expect("a parameter of the model");
        assert_eq!(parameters.groups()[parameter.group].lr_scale, scale, "{name}");
    }
    let plain = Model::new(&spec(activations::Activation::CrRelu), DecayRule::Matrices, Key::root(0), Device::Cpu);
    assert_eq!(plain.expect("a small model").parameters().hash(), parameters.hash());
}

#[test]
fn dropout_scales_the_features_before_each_classifier() {
    let mut spec = spec(activations::Activation::Gelu);
    spec.drop = 0.5;
    let model = Model::with_kind(&spec, DecayRule::All, Key::root(0), Device::Cpu, Kind::Double);
    let model = model.expect("a small model");
    let dropout = model.dropout().expect("a rate above zero");
    let shape = [dropout.heads as i64, 2, dropout.features as i64];
    assert_eq!((dropout.rate, shape), (0.5, [2, 2, 12]));
    let run = |mask: Tensor| {
        let masks = Masks { drop_path: None, dropout: Some(mask) };
        model.forward(&images(), Mode::Train { masks: &masks })
    };
    let mask = Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let whole = run(mask.copy());
    let _ = mask.select(0, 1).zero_();
    let halved = run(mask);
    assert_eq!(whole.logits, halved.logits);
    let bias = &model.parameters().get("head_dist.bias").expect("a distillation head").tensor;
    assert_eq!(halved.distilled.expect("a distilled model"), bias.expand([2, -1], false));
    assert_ne!(whole.distilled.expect("a distilled model"), bias.expand([2, -1], false));
}
