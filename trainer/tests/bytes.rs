//! A GPU gets images as bytes and prepares them by a kernel: to the bits of the loader's floats
//! that libtorch mixes, cuts up and rounds.
//!
//! The kernels run here thread by thread on a CPU (`crates/kernels/tests/emulation`), for all
//! tensors of this process.

#[path = "../../crates/kernels/tests/emulation/mod.rs"]
mod emulation;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dataloader::{DatasetSpec, LoaderSpec, LoaderStats, Mixing, SKIPPED, with_batches};
use models::{ImageForm, Model};
use plan::Config;
use plan::config::DecayRule;
use random::Key;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use trainer::classification::{Classification, ImageBatch};
use trainer::feed::Feed;
use trainer::loss::Loss;
use trainer::loss::distillation::{Distillation, Lesson};
use trainer::memory::ImageMemory;
use trainer::mixing::Mixes;
use trainer::normalisation::Normalisation;
use trainer::step::MicroBatches;
use trainer::tally::Tally;
use trainer::task::Task;
use trainer::teacher::Teacher;

const BATCH: usize = 8;

const CONFIG: &str = "
seed = 5
[data]
workers = 2
[train]
batch_size = 8
[model]
name = 'vit_tiny_patch16_224'
embed_dim = 32
depth = 1
num_heads = 2
[augment]
erase_count = 3
";

/// The digits, of whose training images every seventh is none.
fn digits() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
    for class in 0..10 {
        let class = folder.path().join(format!("digits/train/{class}"));
        let files = fs::read_dir(&class).expect("a class").map(|file| file.expect("a file").path());
        let files: BTreeSet<_> = files.collect();
        files.iter().step_by(7).for_each(|file| fs::write(file, b"no image").expect("written"));
    }
    folder
}

fn config(folder: &Path, sets: &[&str]) -> Config {
    let path = format!("data.path={}", folder.join("digits").display());
    let sets: Vec<String> = [path.as_str()].iter().chain(sets).map(|&set| set.to_owned()).collect();
    plan::parse(CONFIG, "bytes.toml".as_ref(), &sets).expect("a good config")
}

/// What `work` makes of the first `count` micro-batches of images of `size` pixels, which come as
/// floats or as bytes.
fn fed<T>(
    config: &Config,
    size: u32,
    count: usize,
    as_bytes: bool,
    mut work: impl FnMut(&ImageBatch<'_>) -> T,
) -> Vec<T> {
    let dataset = dataloader::open(&DatasetSpec::configured(config)).expect("the digits");
    let mut spec = LoaderSpec::training(config, size, BATCH).expect("a recipe");
    let normalisation =
        if as_bytes { Normalisation::instead_of(&mut spec, Device::Cpu) } else { Normalisation::none() };
    let largest = config.augment.largest_size(size as usize);
    let memory = (0..3).map(|_| ImageMemory::for_loader(&spec, largest, Device::Cpu));
    let memory = memory.collect::<Result<Vec<_>, _>>().expect("memory");
    with_batches(&*dataset.train, &spec, memory, &LoaderStats::new(), |batches| {
        let mut feed = Feed::new(batches, normalisation, Device::Cpu).expect("a feed");
        (0..count).map(|_| feed.next(&mut work).expect("a batch")).collect()
    })
    .expect("a loader")
}

/// A batch in each of some forms, mixed as the config says: by the kernel where it comes as bytes,
/// else by libtorch.
fn prepared(config: &Config, batch: &ImageBatch<'_>, forms: &[ImageForm]) -> Vec<Tensor> {
    let labels = Tensor::from_slice(batch.labels);
    let mixes = Mixing::configured(config)
        .map(|mixing| Mixes::new(&mixing.plan(batch.samples, batch.images.size()), mixing.has_cutmix(), Device::Cpu));
    let of_form = |form: &ImageForm| {
        let images = batch.images.prepared(batch.images.form(*form), &labels, mixes.as_ref());
        let values = images.values();
        match form.patch {
            Some(side) if values.dim() == 4 => cut(&values.to_kind(form.kind), side),
            // A copy, since the loader fills its memory again.
            _ => values.to_kind(form.kind).copy(),
        }
    };
    forms.iter().map(of_form).collect()
}

/// `(N, 3, H, W)` to `(N, L, 3·P·P)`.
fn cut(images: &Tensor, side: i64) -> Tensor {
    let (n, channels, height, width) = images.size4().expect("images");
    let grid = [height / side, width / side];
    let parts = images.view([n, channels, grid[0], side, grid[1], side]).permute([0, 2, 4, 1, 3, 5]);
    parts.reshape([n, grid[0] * grid[1], channels * side * side])
}

#[test]
fn bytes_become_the_mixed_floats_bit_for_bit() {
    emulation::load();
    let folder = digits();
    let cases: [(u32, &[i64], &[&str]); 6] = [
        (32, &[4, 16], &["augment.erase=0.7", "augment.erase_mode=pixel", "augment.mixup=0.8", "augment.cutmix=1.0"]),
        (
            28,
            &[4, 14],
            &["augment.erase=0.7", "augment.erase_mode=rand", "augment.cutmix=1.0", "augment.mix_mode=elem"],
        ),
        (33, &[11], &["augment.erase=0.7", "augment.erase_mode=const", "augment.mixup=0.8", "augment.mix_mode=pair"]),
        (
            32,
            &[16],
            &["augment.erase=1.0", "data.bad=skip", "augment.mixup=0.4", "augment.cutmix=0.4", "augment.mix_mode=elem"],
        ),
        (
            32,
            &[8],
            &[
                "augment.erase=0.7",
                "model.patch_size=8",
                "augment.sizes=[[0, 16], [1, 40], [2, 24]]",
                "augment.mixup=0.8",
            ],
        ),
        (48, &[4, 16], &["data.bad=skip", "augment.mean=[0.5, 0.4, 0.0]", "augment.std=[0.5, 0.25, 1.0]"]),
    ];
    for (size, patches, sets) in cases {
        // A short epoch, so that the size of images changes.
        let config = config(folder.path(), &[sets, &["data.subset=28"]].concat());
        let patches = patches.iter().map(|&side| Some(side)).chain([None]);
        let kinds = [Kind::Float, Kind::BFloat16, Kind::Half];
        let forms = patches.flat_map(|patch| kinds.map(|kind| ImageForm { patch, kind }));
        let forms: Vec<ImageForm> = forms.collect();
        let of = |as_bytes| {
            fed(&config, size, 12, as_bytes, |batch| {
                (batch.images.size(), batch.labels.contains(&SKIPPED), prepared(&config, batch, &forms))
            })
        };
        let (floats, bytes) = (of(false), of(true));
        for (number, ((.., expected), (.., found))) in floats.iter().zip(&bytes).enumerate() {
            for (form, (expected, found)) in forms.iter().zip(expected.iter().zip(found)) {
                assert_eq!((found.kind(), found.size()), (form.kind, expected.size()));
                assert!(found.equal(expected), "{sets:?}, batch {number}, {form:?}");
            }
        }
        let sizes: BTreeSet<u32> = bytes.iter().map(|(size, ..)| *size).collect();
        assert_eq!(sizes.len(), if sets.iter().any(|set| set.contains("sizes")) { 3 } else { 1 }, "{sets:?}");
        assert_eq!(bytes.iter().any(|(_, skipped, _)| *skipped), sets.contains(&"data.bad=skip"), "{sets:?}");
    }
}

/// Losses and gradients of a student in bf16 that learns from a teacher in f32, whose patches have
/// another size.
#[test]
fn what_is_learned_from_bytes_is_what_is_learned_from_floats() {
    emulation::load();
    let folder = digits();
    let sets = ["augment.erase=0.7", "augment.mixup=0.8", "augment.cutmix=1.0", "data.bad=skip", "loss.smoothing=0.1"];
    let config = config(folder.path(), &sets);
    let model = |patch: usize, kind: Kind| {
        let config = plan::config::Model { image_size: Some(32), patch_size: Some(patch), ..config.model.clone() };
        let spec = plan::models::configured(&config, 10).expect("a model");
        let made = Model::new(&spec, DecayRule::Matrices, Key::root(patch as u64), Device::Cpu).expect("a model");
        made.with_products_in(kind)
    };
    let learned = |as_bytes: bool| {
        let distillation = Distillation { lesson: Lesson::Soft { tau: 2.0 }, alpha: 0.5 };
        let task = Classification {
            seed: 5,
            loss: Loss::configured(&config.loss),
            mixing: Mixing::configured(&config),
            teacher: Some(Teacher::new(model(8, Kind::Float), distillation)),
        };
        let student = model(16, Kind::BFloat16);
        let losses = fed(&config, 32, 3, as_bytes, |batch| {
            let loss = task.loss(&student, &task.inputs(&student, batch));
            loss.backward();
            let mut tally = Tally::new(Device::Cpu);
            task.score(&student, batch, &mut tally);
            (loss.double_value(&[]).to_bits(), format!("{:?}", tally.read()))
        });
        let grads = student.parameters().groups().iter().map(|group| group.grads.copy()).collect::<Vec<_>>();
        (losses, grads)
    };
    let (floats, bytes) = (learned(false), learned(true));
    assert_eq!(floats.0, bytes.0, "losses and scores");
    assert!(floats.1.iter().zip(&bytes.1).all(|(one, other)| one.equal(other)), "gradients");
    assert!(floats.1.iter().any(|grads| grads.abs().max().double_value(&[]) > 0.0));
}
