//! A trained network as it lies on disk: in a checkpoint of ours, an exported file, or a file of timm's.

use std::path::{Path, PathBuf};

use models::{Model, Weights};
use plan::config::{Activation, Config};
use plan::models::{self as table, ModelSpec, Preprocessing};
use random::Key;
use tch::{Device, Tensor};
use world::Exit;

use super::description::Description;
use crate::checkpoint::{Kept, load_weights, locate};
use crate::failure::Failure;

/// A network and what goes with it.
pub struct Saved {
    /// The file or the checkpoint's folder.
    pub path: PathBuf,
    /// Why this checkpoint and no other of its run; `None` where it was named itself.
    pub reason: Option<String>,
    /// The model, and how evaluated images are prepared for it.
    pub config: Config,
    /// The names of the classes; empty where nobody knows them.
    pub classes: Vec<String>,
    /// Outputs of the classifier.
    pub num_classes: usize,
    /// Finished optimiser steps; 0 where nobody knows them.
    pub step: u64,
    /// The weights, by timm's names.
    pub weights: Vec<(String, Tensor)>,
}

/// What a command line changes of a saved network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Another activation.
    pub activation: Option<String>,
    /// Another resolution, in pixels.
    pub image_size: Option<usize>,
    /// Another mean.
    pub mean: Option<[f64; 3]>,
    /// Another standard deviation.
    pub std: Option<[f64; 3]>,
    /// Another central crop.
    pub crop_pct: Option<f64>,
    /// The number of classes, which must be that of the weights.
    pub num_classes: Option<usize>,
    /// Names of the classes.
    pub classes: Option<Vec<String>>,
}

impl Saved {
    /// What lies at `path`: a checkpoint, the folder of a run, an exported file, or a file of weights of the model `name`.
    ///
    /// # Errors
    /// [`Exit::Config`] when there is none, or it is damaged.
    pub fn open(path: &Path, kept: Kept, name: Option<&str>) -> Result<Saved, Failure> {
        match path.is_file() {
            false if name.is_some() => {
                Err(refused(path, "a checkpoint says itself which model it is: leave out --model"))
            }
            false => Saved::of_checkpoint(path, kept),
            true if kept == Kept::Averaged => {
                Err(refused(path, "one kind of weights; only checkpoints hold averaged ones beside others"))
            }
            true => Saved::of_file(path, name),
        }
    }

    /// A checkpoint, or the best one of a run's folder, else its newest.
    ///
    /// # Errors
    /// [`Exit::Config`] when there is none, or it is damaged.
    pub fn of_checkpoint(path: &Path, kept: Kept) -> Result<Saved, Failure> {
        let fail = |error| Failure::new(Exit::Config, error);
        let located = locate(path).map_err(fail)?;
        let (state, bytes) = load_weights(&located.path, kept).map_err(fail)?;
        let config = plan::parse(&state.config, &located.path.join("state.json"), &[])?;
        let weights = Weights::parse(&bytes).map_err(|error| refused(&located.path, &error.to_string()))?;
        let num_classes = count_classes(&weights, &located.path)?;
        Ok(Saved {
            path: located.path,
            reason: located.reason,
            config,
            classes: state.classes,
            num_classes,
            step: state.step,
            weights: weights.tensors,
        })
    }

    /// A file of weights: an exported one, which says what it is, or any other of the model `name`.
    ///
    /// # Errors
    /// [`Exit::Config`] when it cannot be read, there is no such model, or the file does not say what it is and no name is
    /// given.
    pub fn of_file(path: &Path, name: Option<&str>) -> Result<Saved, Failure> {
        let bytes = std::fs::read(path).map_err(|error| refused(path, &format!("cannot be read: {error}")))?;
        let weights = Weights::parse(&bytes).map_err(|error| refused(path, &error.to_string()))?;
        let description = Description::find(&weights.metadata)
            .map_err(|error| refused(path, &format!("has metadata of another version: {error}")))?;
        let num_classes = count_classes(&weights, path)?;
        if let Some(name) = name {
            table::find(name).map_err(|error| Failure::new(Exit::Config, error))?;
        }
        let (config, classes, step) = match (description, name) {
            (Some(description), name) if name.is_none_or(|name| name == description.model) => {
                (description.to_config(), description.classes, description.step)
            }
            (_, Some(name)) => (of_timm(name), Vec::new(), 0),
            (_, None) => return Err(refused(path, "does not say which model it is for: name it with --model")),
        };
        Ok(Saved { path: path.to_owned(), reason: None, config, classes, num_classes, step, weights: weights.tensors })
    }

    /// The same with what a command line changes.
    ///
    /// # Errors
    /// [`Exit::Config`] when the weights have another number of classes, or their names are too few or too many.
    pub fn with(mut self, changes: Changes) -> Result<Saved, Failure> {
        let found = self.num_classes;
        if let Some(wanted) = changes.num_classes.filter(|&wanted| wanted != found) {
            return Err(refused(&self.path, &format!("has {found} classes, not {wanted}: leave out --num-classes")));
        }
        if let Some(names) = changes.classes {
            if names.len() != found {
                return Err(refused(&self.path, &format!("has {found} classes; {} names were given", names.len())));
            }
            self.classes = names;
        }
        if let Some(name) = changes.activation {
            self.config.model.activation = Some(Activation::named(&name).into());
        }
        let (model, augment) = (&mut self.config.model, &mut self.config.augment);
        model.image_size = changes.image_size.or(model.image_size);
        augment.mean = changes.mean.unwrap_or(augment.mean);
        augment.std = changes.std.unwrap_or(augment.std);
        augment.eval_crop_pct = changes.crop_pct.unwrap_or(augment.eval_crop_pct);
        Ok(self)
    }

    /// What to build.
    ///
    /// # Errors
    /// [`Exit::Config`] when the config asks for what there is not.
    pub fn spec(&self) -> Result<ModelSpec, Failure> {
        table::configured(&self.config.model, self.num_classes)
            .map_err(|bad| Failure::from(self.config.bad_model("model", bad)))
    }

    /// The network with its weights, on `device`.
    ///
    /// # Errors
    /// [`Exit::Config`] when the weights are not those of this model, or not all of them.
    pub fn model(&self, device: Device) -> Result<Model, Failure> {
        let decay = self.config.optimizer.decay;
        let model = Model::new(&self.spec()?, decay, Key::root(0), device)?;
        let report = model.load_pretrained(&self.weights).map_err(|error| refused(&self.path, &error.to_string()))?;
        if report.is_complete() {
            return Ok(model);
        }
        let of_activations = report.unexpected.iter().any(|name| name.contains(".act"));
        let hint =
            if of_activations { ". The file holds parameters of an activation: name it with --activation" } else { "" };
        let name = &self.config.model.name;
        Err(refused(&self.path, &format!("does not hold just the weights of {name}: {report}{hint}")))
    }

    /// The name of a class, its number where nobody knows one.
    pub fn class(&self, index: usize) -> String {
        self.classes.get(index).cloned().unwrap_or_else(|| index.to_string())
    }

    /// The names of all classes, or their numbers.
    pub fn class_names(&self) -> Vec<String> {
        (0..self.num_classes).map(|index| self.class(index)).collect()
    }
}

/// A model of timm's, and images prepared as timm does for it.
fn of_timm(name: &str) -> Config {
    let Preprocessing { mean, std, crop_pct, interpolation } = Preprocessing::of_timm(name);
    let mut config = Config::default();
    config.model.name = name.to_owned();
    config.augment.mean = mean;
    config.augment.std = std;
    config.augment.eval_crop_pct = crop_pct;
    config.augment.eval_interpolation = interpolation;
    config
}

fn count_classes(weights: &Weights, path: &Path) -> Result<usize, Failure> {
    weights
        .num_classes()
        .ok_or_else(|| refused(path, "holds no classifier of timm's name (head.weight, head.fc.weight, fc.weight)"))
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::because(Exit::Config, format!("{}: {why}", path.display()))
}
