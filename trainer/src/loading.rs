//! This rank's loaders: the endless training stream, and its share of the validation set.

use collectives::Communicator;
use dataloader::{BadPolicy, Decode, LoaderSpec, Order, Transform};
use plan::Plan;

use crate::run_folder::RunFolder;

/// This rank's endless stream of training micro-batches, from `start_step` on.
pub fn training_spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder, start_step: u64) -> LoaderSpec {
    LoaderSpec {
        order: Order::configured(&plan.config),
        bad: BadPolicy::training(&plan.config),
        transform: Transform::training(&plan.config, plan.model.image_size() as u32),
        global_batch: plan.global_batch,
        micro_batch: plan.micro_batch,
        start_step,
        ..spec(plan, ranks, folder)
    }
}

/// This rank's share of the validation set, once. Bad images are left out, so that none counts twice.
pub fn validation_spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    LoaderSpec { micro_batch: plan.config.eval.batch_size, ..spec(plan, ranks, folder) }
}

/// How many micro-batches of memory the training loader gets: those in flight, and the one that the step works on.
pub fn memories(plan: &Plan) -> usize {
    plan.config.data.prefetch_batches + 1
}

fn spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    let transform = Transform::evaluation(&plan.config, plan.model.image_size() as u32);
    LoaderSpec {
        seed: plan.config.seed,
        global_batch: plan.global_batch,
        rank: ranks.rank(),
        world_size: ranks.size(),
        workers: plan.config.data.workers,
        pin_workers: plan.config.data.pin_workers,
        readers: plan.config.data.readers,
        decode: Decode::configured(&plan.config),
        bad: BadPolicy::evaluation(&plan.config),
        bad_images: Some(folder.bad_images(ranks.rank())),
        ..LoaderSpec::once(transform, plan.micro_batch)
    }
}
