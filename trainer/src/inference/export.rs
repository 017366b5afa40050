//! A trained network as a file that timm loads.

use models::Weights;
use tch::Device;

use super::description::Description;
use super::saved::Saved;
use crate::failure::Failure;

/// The bytes of a safetensors file with timm's names in f32, and a [`Description`] in its header.
///
/// # Errors
/// When the weights are not those that the network needs.
pub fn to_timm(saved: &Saved) -> Result<Vec<u8>, Failure> {
    let spec = saved.spec()?;
    let model = saved.model(Device::Cpu)?;
    let augment = &saved.config.augment;
    let side = spec.image_size;
    let description = Description {
        model: saved.config.model.name.clone(),
        input_size: [3, side, side],
        num_classes: saved.num_classes,
        classes: saved.classes.clone(),
        activation: spec.activations.default.function.name().to_owned(),
        mean: augment.mean,
        std: augment.std,
        crop_pct: augment.eval_crop_pct,
        crop_mode: augment.eval_crop_mode,
        interpolation: augment.eval_interpolation,
        exif_orientation: saved.config.data.exif_orientation,
        step: saved.step,
        config: plan::config::Model { init_from: None, ..saved.config.model.clone() },
    };
    let weights = Weights { tensors: model.parameters().named(), metadata: description.to_metadata() };
    Ok(weights.to_bytes()?)
}
