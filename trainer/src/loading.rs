//! Turns a plan into what the loader is asked for.

use collectives::Communicator;
use dataloader::{DatasetSpec, Filter, LoaderSpec, Order, Pixels, SourceKind, Transform};
use plan::Plan;
use plan::config::{Augment, Config, Crop, Interpolation, Source};

use crate::run_folder::RunFolder;

/// The data set that the config names.
pub fn dataset_spec(config: &Config) -> DatasetSpec {
    let data = &config.data;
    DatasetSpec {
        kind: match data.source {
            Source::Folder => SourceKind::Folder,
            Source::Cifar10 => SourceKind::Cifar10,
            Source::Cifar100 => SourceKind::Cifar100,
        },
        path: data.path.clone(),
        train_dir: data.train_dir.clone(),
        val_dir: data.val_dir.clone(),
        subset: data.subset,
        seed: config.seed,
    }
}

/// This rank's endless stream of training micro-batches, from `start_step` on.
pub fn training_spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder, start_step: u64) -> LoaderSpec {
    let augment = &plan.config.augment;
    let transform = Transform {
        crop: match augment.crop {
            Crop::RandomResized => dataloader::Crop::RandomResized { scale: augment.scale, ratio: augment.ratio },
            Crop::Resize => dataloader::Crop::Center { pct: 1.0 },
        },
        flip: augment.flip,
        filter: filter(augment.interpolation),
        ..evaluation_transform(plan)
    };
    LoaderSpec {
        order: Order::Shuffled,
        transform,
        global_batch: plan.global_batch,
        micro_batch: plan.micro_batch,
        start_step,
        ..spec(plan, ranks, folder)
    }
}

/// This rank's share of the validation set, once.
pub fn validation_spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    LoaderSpec { micro_batch: plan.config.eval.batch_size, ..spec(plan, ranks, folder) }
}

/// How many micro-batches of memory the training loader gets: those in flight, and the one that the step works on.
pub fn memories(plan: &Plan) -> usize {
    plan.config.data.prefetch_batches + 1
}

fn spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    LoaderSpec {
        seed: plan.config.seed,
        order: Order::Sequential,
        transform: evaluation_transform(plan),
        global_batch: plan.global_batch,
        rank: ranks.rank(),
        world_size: ranks.size(),
        micro_batch: plan.micro_batch,
        start_step: 0,
        workers: plan.config.data.workers,
        readers: plan.config.data.readers,
        decode: dataloader::Decode::default(),
        bad_images: Some(folder.bad_images(ranks.rank())),
    }
}

fn evaluation_transform(plan: &Plan) -> Transform {
    let Augment { eval_crop_pct, eval_interpolation, mean, std, .. } = plan.config.augment;
    Transform {
        size: plan.model.image_size() as u32,
        crop: dataloader::Crop::Center { pct: eval_crop_pct },
        flip: 0.0,
        filter: filter(eval_interpolation),
        pixels: Pixels::F32 { mean: mean.map(|value| value as f32), std: std.map(|value| value as f32) },
    }
}

fn filter(interpolation: Interpolation) -> Filter {
    match interpolation {
        Interpolation::Bilinear => Filter::Bilinear,
        Interpolation::Bicubic => Filter::Bicubic,
    }
}
