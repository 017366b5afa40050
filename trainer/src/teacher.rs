//! The frozen teacher of a distillation.

use std::path::Path;

use anyhow::Context;
use models::{Images, Mode, Model, Weights};
use plan::Plan;
use plan::config::DecayRule;
use plan::models::ModelSpec;
use tch::{Device, Kind, Tensor};
use world::Exit;

use crate::failure::Failure;
use crate::loss::distillation::Distillation;

/// A model that answers and does not learn.
pub struct Teacher {
    model: Model,
    /// How its answers are used.
    pub distillation: Distillation,
}

impl Teacher {
    /// The teacher of a plan on `device`, with its weights; `None` where it has none.
    ///
    /// # Errors
    /// [`Exit::Config`] when its weights cannot be read or are those of another model.
    pub fn load(plan: &Plan, device: Device) -> Result<Option<Teacher>, Failure> {
        let config = &plan.config.distillation;
        let (Some(distillation), Some(spec)) = (Distillation::configured(config), &plan.teacher) else {
            return Ok(None);
        };
        let file = config.weights.as_deref().unwrap_or_default();
        Ok(Some(Teacher { model: load_teacher(spec, Path::new(file), device)?, distillation }))
    }

    /// A teacher with the weights that `model` has.
    pub fn new(model: Model, distillation: Distillation) -> Teacher {
        Teacher { model, distillation }
    }

    /// Its logits of `images`: `(N, C)`, as it is used and outside autograd.
    pub fn answer(&self, images: &Images) -> Tensor {
        self.model.forward(images, Mode::Evaluate).logits
    }

    /// Its network and its weights.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// The model of `spec` with the weights of a safetensors file.
fn load_teacher(spec: &ModelSpec, file: &Path, device: Device) -> Result<Model, Failure> {
    let load = || -> anyhow::Result<Model> {
        let bytes = std::fs::read(file)?;
        let model = Model::empty(spec, DecayRule::All, device, Kind::Float)?;
        let report = model.load_pretrained(&Weights::parse(&bytes)?.tensors)?;
        anyhow::ensure!(report.is_exact(), "it does not hold just the weights of this model: {report}");
        Ok(model)
    };
    load()
        .with_context(|| format!("cannot load the teacher's weights, distillation.weights = {}", file.display()))
        .map_err(|error| Failure::new(Exit::Config, error))
}
