//! This rank's loaders: the endless training stream, and its share of the validation set.

use collectives::Communicator;
use dataloader::LoaderSpec;
use plan::{ConfigError, Plan};
use tch::Device;

use crate::normalisation::Normalisation;
use crate::run_folder::RunFolder;

/// This rank's endless stream of training micro-batches, from `start_step` on, and what is left to do for `device`.
///
/// To a GPU images go as bytes, a quarter of what they are when they are normalized, and with them
/// which rectangles are erased: a kernel does both there.
///
/// # Errors
/// When the config asks for an augmentation that there is not.
pub fn training_spec(
    plan: &Plan,
    ranks: &dyn Communicator,
    folder: &RunFolder,
    start_step: u64,
    device: Device,
) -> Result<(LoaderSpec, Normalisation), ConfigError> {
    let mut spec = LoaderSpec::training(&plan.config, plan.model.image_size as u32, plan.micro_batch)?;
    let normalisation = match device {
        Device::Cuda(_) => Normalisation::instead_of(&mut spec, device),
        _ => Normalisation::none(),
    };
    Ok((LoaderSpec { start_step, ..of_rank(spec, ranks, folder) }, normalisation))
}

/// This rank's share of the validation set, once. Bad images are left out, so that none counts twice.
pub fn validation_spec(plan: &Plan, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    let size = plan.model.image_size as u32;
    of_rank(LoaderSpec::evaluation(&plan.config, size, plan.config.eval.batch_size), ranks, folder)
}

/// How many micro-batches of memory the training loader gets: those in flight, and the one that the step works on.
pub fn memories(plan: &Plan) -> usize {
    plan.config.data.prefetch_batches + 1
}

fn of_rank(spec: LoaderSpec, ranks: &dyn Communicator, folder: &RunFolder) -> LoaderSpec {
    let bad_images = Some(folder.bad_images(ranks.rank()));
    LoaderSpec { rank: ranks.rank(), world_size: ranks.size(), bad_images, ..spec }
}
