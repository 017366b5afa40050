//! What a network makes of single images.

use std::path::Path;

use dataloader::{BadImage, Decode, SingleImages, Transform};
use models::{Mode, Model};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::saved::Saved;
use crate::failure::Failure;
use crate::memory::sent;

/// A network that is asked about one image after the other.
pub struct Predictor {
    model: Model,
    images: SingleImages,
    side: i64,
    pixels: Vec<f32>, // (3, H, W)
}

/// A class, and how likely the network holds it to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Its name, or its number where nobody knows one.
    pub class: String,
    /// Its place among the outputs.
    pub index: usize,
    /// The softmax of its logit.
    pub probability: f64,
}

impl Predictor {
    /// Gets a saved network ready on `device`.
    ///
    /// # Errors
    /// When the weights are not those of the model.
    pub fn new(saved: &Saved, device: Device) -> Result<Predictor, Failure> {
        let model = saved.model(device)?;
        let transform = Transform::evaluation(&saved.config, saved.spec()?.image_size as u32);
        let side = i64::from(transform.size);
        Ok(Predictor {
            model,
            side,
            pixels: vec![0.0; (3 * side * side) as usize],
            images: SingleImages::new(transform, Decode::configured(&saved.config)),
        })
    }

    /// The logits of the image in the file `path`, one a class. An image of the model's size is only normalised; others are
    /// prepared as in evaluation.
    ///
    /// # Errors
    /// When the image cannot be read or decoded.
    pub fn logits(&mut self, path: &Path) -> Result<Vec<f32>, BadImage> {
        self.images.prepare(path, bytemuck::cast_slice_mut(&mut self.pixels))?;
        let image = sent(Tensor::from_slice(&self.pixels), self.model.parameters().device());
        let image = image.view([1, 3, self.side, self.side]);
        let logits = self.model.forward(&image, Mode::Evaluate).logits.to_kind(Kind::Float);
        Ok(Vec::try_from(logits.flatten(0, -1)).expect("logits are a row of floats"))
    }
}

impl Answer {
    /// The `count` likeliest classes, the likeliest first; of equals the one that comes first among the outputs.
    pub fn best(logits: &[f32], count: usize, saved: &Saved) -> Vec<Answer> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from(logit - largest).exp();
        let total: f64 = logits.iter().copied().map(weight).sum();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let answer =
            |&index: &usize| Answer { class: saved.class(index), index, probability: weight(logits[index]) / total };
        order[..count.min(logits.len())].iter().map(answer).collect()
    }
}
