//! What a model answers to images in its own form, patches or whole ones in the kind of its
//! products, is what it answers to whole floats.

use models::{ImageForm, Images, Mode, Model};
use plan::config::DecayRule;
use random::Key;
use tch::{Device, Kind, Tensor};

/// `(N, 3, H, W)` in a form.
fn in_form(images: &Tensor, form: ImageForm) -> Images {
    let images = images.to_kind(form.kind);
    let Some(side) = form.patch else { return (&images).into() };
    let (n, channels, height, width) = images.size4().expect("images");
    let grid = [height / side, width / side];
    let patches = images.view([n, channels, grid[0], side, grid[1], side]).permute([0, 2, 4, 1, 3, 5]);
    Images::in_patches(patches.reshape([n, grid[0] * grid[1], channels * side * side]), grid)
}

#[test]
fn a_form_changes_no_bit_of_the_answer() {
    for (name, patch, sizes) in [
        ("vit_tiny_patch16_224", Some(16), [32i64, 48]),
        ("swin_tiny_patch4_window7_224", Some(4), [56, 56]),
        ("tnt_s_patch16_224", None, [32, 48]),
        ("resnet18", None, [32, 40]),
    ] {
        let mut spec = plan::models::find(name).expect("a model of the table");
        (spec.image_size, spec.num_classes) = (sizes[0] as usize, 10);
        let mut model = Model::new(&spec, DecayRule::Matrices, Key::root(3), Device::Cpu).expect("a model");
        for kind in [Kind::Float, Kind::BFloat16] {
            model = model.with_products_in(kind);
            let form = model.image_form();
            // A TNT rounds nothing before its first convolution.
            let expected = if name.starts_with("tnt") { Kind::Float } else { kind };
            assert_eq!(form, ImageForm { patch, kind: expected }, "{name}");
            for size in sizes {
                let images = Tensor::arange(2 * 3 * size * size, (Kind::Float, Device::Cpu)).sin();
                let images = images.view([2, 3, size, size]);
                let whole = model.forward(&images, Mode::Evaluate).logits;
                let found = model.forward(in_form(&images, form), Mode::Evaluate).logits;
                assert!(whole.equal(&found), "{name}, products in {kind:?}, {size} pixels");
            }
        }
    }
}

#[test]
#[should_panic(expected = "whole images")]
fn a_network_without_patches_takes_none() {
    let mut spec = plan::models::find("resnet18").expect("a model of the table");
    spec.image_size = 32;
    let model = Model::empty(&spec, DecayRule::Matrices, Device::Cpu, Kind::Float).expect("a model");
    let images = Tensor::zeros([1, 3, 32, 32], (Kind::Float, Device::Cpu));
    model.forward(in_form(&images, ImageForm { patch: Some(16), kind: Kind::Float }), Mode::Evaluate);
}
