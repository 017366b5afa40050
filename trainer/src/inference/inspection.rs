//! What the activations of a trained network are applied to, layer by layer.

use dataloader::{LoaderSpec, LoaderStats, SKIPPED, Source};
use eafo::layers::{FORMAT, LayerFile};
use eafo::tally::Tally;
use models::{Mode, Preactivations};
use tch::{Device, Tensor};
use world::Exit;

use super::saved::Saved;
use crate::applied::applied;
use crate::classification::ImageBatch;
use crate::evaluation::for_each_batch;
use crate::failure::Failure;

/// Histograms of the pre-activations of every activation of `saved`, computed on `device`, over the images that `spec` says; bad
/// ones are left out.
///
/// # Errors
/// [`Exit::Data`] when the loader gives up or no image can be read; [`Exit::Config`] when the network has no activations, or one is
/// given what is no finite number or always the same.
pub fn inspect(
    saved: &Saved,
    images: &dyn Source,
    spec: &LoaderSpec,
    stats: &LoaderStats,
    device: Device,
) -> Result<LayerFile, Failure> {
    let (described, model) = (saved.spec()?, saved.model(device)?);
    let modules = model.activations();
    let mut tallies: Vec<Option<Tally>> = modules.iter().map(|_| None).collect();
    let mut seen = 0;
    for_each_batch(images, spec, described.image_size, stats, device, |batch| {
        let (good, count) = readable(batch);
        if count == 0 {
            return Ok(());
        }
        seen += count;
        model.parameters().watch(usize::MAX, 0);
        model.forward(&good, Mode::Evaluate);
        for Preactivations { module, values } in model.parameters().watched() {
            let place = modules.iter().position(|known| *known == module).expect("a module of the model");
            let units = *values.size().last().expect("two dimensions") as usize;
            let values: Vec<f32> = Vec::try_from(values.flatten(0, -1).to_device(Device::Cpu)).expect("values in f32");
            let counted = match &mut tallies[place] {
                Some(tally) => tally.take_in(&values),
                none => Tally::new(&module, &values, units).map(|tally| *none = Some(tally)),
            };
            counted.map_err(|error| Failure::new(Exit::Config, error))?;
        }
        Ok(())
    })?;
    if seen == 0 {
        return Err(Failure::because(Exit::Data, "none of the images can be read"));
    }
    let layer = |(module, tally): (&String, Option<Tally>)| {
        let tally = tally?;
        let activation = applied(described.activations.of(module), module, model.parameters());
        Some(tally.layer(activation).map_err(|error| Failure::new(Exit::Config, error)))
    };
    let layers = modules.iter().zip(tallies).filter_map(layer).collect::<Result<Vec<_>, _>>()?;
    if layers.is_empty() {
        return Err(Failure::because(Exit::Config, format!("{} has no activations", saved.config.model.name)));
    }
    Ok(LayerFile {
        format: FORMAT,
        model: saved.config.model.name.clone(),
        source: saved.path.display().to_string(),
        images: seen,
        layers,
    })
}

/// The images of a batch that could be read, and how many.
fn readable(batch: &ImageBatch<'_>) -> (Tensor, u64) {
    let rows = (0..).zip(batch.labels).filter(|&(_, &label)| label != SKIPPED);
    let rows: Vec<i64> = rows.map(|(row, _)| row).collect();
    let device = batch.images.tensors().next().expect("images").device();
    let on_device = |numbers: &[i64]| Tensor::from_slice(numbers).to_device(device);
    let all = batch.images.floats(&on_device(batch.labels));
    let images = match rows.len() == batch.labels.len() {
        true => all,
        false => all.index_select(0, &on_device(&rows)),
    };
    (images, rows.len() as u64)
}
