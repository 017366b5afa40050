//! The whole config: the sections in their order, and what must hold among their values.

mod augment;
mod checkpoint;
mod data;
mod distillation;
mod eafo;
mod ema;
mod eval;
mod log;
mod loss;
mod model;
mod optimizer;
mod parallel;
mod reference;
mod schedule;
mod train;
mod training;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use augment::{Augment, Crop, EraseMode, EvalCropMode, Interpolation, MixMode, TrainInterpolation};
pub use checkpoint::Checkpoint;
pub use data::{AUTOMATIC, Bad, Data, Decode, Order, Source};
pub use distillation::{Distillation, DistillationKind};
pub use eafo::Eafo;
pub use ema::Ema;
pub use eval::Eval;
pub use log::Log;
pub use loss::{Loss, LossName};
pub use model::{Activation, Activations, Model, Pool, Positions};
pub use optimizer::{DecayRule, Optimizer, OptimizerName, ScaleRule};
pub use parallel::{Backend, Parallel, Wire};
pub use reference::reference;
pub use schedule::{DecayShape, Schedule, ScheduleName};
pub use train::{AttentionBackend, Device, Precision, Train};

use crate::error::{ConfigError, Place};
use crate::schema::{Key, Kind};

/// All that a config file says, with defaults where it is silent.
///
/// Made by [`crate::load`] and [`crate::parse`], or from [`Config::default`] field by field. Where it was read from a file,
/// it remembers the place of every value, so that errors found later still name file and line; two configs are equal when
/// their values are, wherever those came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names the run and its folder `runs/<name>/`; default: the name of the file without its ending.
    pub name: String,
    /// The one seed of every random choice; default 0.
    pub seed: u64,
    /// The published recipe that this config follows; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What to train on.
    pub data: Data,
    /// How images become inputs.
    pub augment: Augment,
    /// What to train.
    pub model: Model,
    /// What to minimise.
    pub loss: Loss,
    /// Whom to learn from as well.
    pub distillation: Distillation,
    /// How parameters move.
    pub optimizer: Optimizer,
    /// How long, and how the learning rate changes.
    pub schedule: Schedule,
    /// The moving average of the parameters.
    pub ema: Ema,
    /// How dynamic activations follow their layers.
    pub eafo: Eafo,
    /// Batches and threads.
    pub train: Train,
    /// When and how to evaluate.
    pub eval: Eval,
    /// When to save, and what to keep.
    pub checkpoint: Checkpoint,
    /// What to report, and when.
    pub log: Log,
    /// How ranks talk.
    pub parallel: Parallel,
    #[serde(skip)]
    pub(crate) origins: Origins,
}

/// The keys above all sections.
pub const TOP_LEVEL: &[Key] = &[
    Key {
        name: "name",
        help: " Names the run and its folder `runs/<name>/`; default: the name of the file without its ending.",
        kind: Kind::RunName,
    },
    Key {
        name: "seed",
        help: " The one seed of every random choice.",
        kind: Kind::Whole { min: 0, max: i64::MAX as u64 },
    },
    Key {
        name: "recipe",
        help: " The published recipe that this config follows: `rectify train CONFIG --dry-run` lists where it does not.",
        kind: Kind::OneOf { what: "a recipe", names: crate::recipes::names },
    },
];

/// The sections and their keys, in the order of the file.
pub const SECTIONS: &[(&str, &[Key])] = &[
    ("data", Data::KEYS),
    ("augment", Augment::KEYS),
    ("model", Model::KEYS),
    ("loss", Loss::KEYS),
    ("distillation", Distillation::KEYS),
    ("optimizer", Optimizer::KEYS),
    ("schedule", Schedule::KEYS),
    ("ema", Ema::KEYS),
    ("eafo", Eafo::KEYS),
    ("train", Train::KEYS),
    ("eval", Eval::KEYS),
    ("checkpoint", Checkpoint::KEYS),
    ("log", Log::KEYS),
    ("parallel", Parallel::KEYS),
];

/// The keys that have no default.
pub const REQUIRED: &[(&str, &str)] = &[("data", "path"), ("model", "name")];

impl Config {
    /// The config as TOML with every default written out; [`crate::parse`] reads it back to the same config.
    ///
    /// Optional overrides of the model stay absent where the config does not give them.
    ///
    /// # Panics
    /// Never for a config that was read; a seed above 2⁶³ − 1, set by hand, is no TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config has only values that TOML can hold")
    }

    /// Checks what must hold among the values, such as a patch size that divides the image size.
    ///
    /// Ranges of single values are checked on reading.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first value that does not fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Schedule { epochs, warmup_epochs, .. } = self.schedule;
        if warmup_epochs > 0.0 && warmup_epochs >= epochs {
            let expected = format!("less than the {epochs} of `schedule.epochs`");
            return Err(self.bad_value("schedule.warmup_epochs", expected, warmup_epochs.to_string()));
        }
        let model = crate::models::configured(&self.model, 1).map_err(|bad| self.bad_model("model", bad))?;
        self.check_training()?;
        self.check_mixing()?;
        self.check_sizes(&model)
    }

    fn check_mixing(&self) -> Result<(), ConfigError> {
        match self.augment.mix_group {
            group if group.is_multiple_of(2) => Ok(()),
            group => {
                let expected =
                    format!("even, so that every sample has a partner; the nearest: {} or {}", group - 1, group + 1);
                Err(self.bad_value("augment.mix_group", expected, group.to_string()))
            }
        }
    }

    /// Every size of training images must fall into the model's patches.
    fn check_sizes(&self, model: &crate::models::ModelSpec) -> Result<(), ConfigError> {
        let patch = model.stride() as u32;
        match self.augment.sizes.iter().find(|(_, side)| !side.is_multiple_of(patch)) {
            None => Ok(()),
            Some((epoch, side)) => {
                let near = multiples_near(*side as usize, patch as usize);
                let expected =
                    format!("pairs whose side is a multiple of the model's patch size {patch}; the nearest: {near}");
                Err(self.bad_value("augment.sizes", expected, format!("the side {side} from epoch {epoch} on")))
            }
        }
    }

    /// An error about the value of `key`, with the place where it was set: for what only other crates can check.
    pub fn bad_value(&self, key: &str, expected: String, found: String) -> ConfigError {
        ConfigError::Value {
            place: Box::new(self.origins.place(key)),
            key: key.to_owned(),
            expected,
            found,
            nearest: Vec::new(),
        }
    }

    /// The same about a model that `section` describes.
    pub fn bad_model(&self, section: &str, bad: crate::models::BadModel) -> ConfigError {
        let key = format!("{section}.{}", bad.key);
        ConfigError::Value {
            place: Box::new(self.origins.place(&key)),
            key,
            expected: bad.expected,
            found: bad.found,
            nearest: bad.nearest,
        }
    }
}

/// The multiples of `unit` next to `found`, in words.
pub(crate) fn multiples_near(found: usize, unit: usize) -> String {
    match found / unit * unit {
        0 => format!("{unit}"),
        below => format!("{below} or {}", below + unit),
    }
}

/// Where each value was set, by whole key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    pub(crate) path: PathBuf,
    pub(crate) places: BTreeMap<String, Place>,
}

impl Origins {
    /// The place of `key`, or of what it is part of, unless that is a section: the line of its header would say little.
    pub(crate) fn place(&self, key: &str) -> Place {
        let mut at = key;
        loop {
            let is_section = !at.contains('.') && at != key;
            match self.places.get(at) {
                Some(place) if !is_section || matches!(place, Place::Set { .. }) => return place.clone(),
                _ => {}
            }
            match at.rsplit_once('.') {
                Some((above, _)) => at = above,
                None => return Place::Unset { path: self.path.clone() },
            }
        }
    }
}

impl PartialEq for Origins {
    fn eq(&self, _: &Origins) -> bool {
        true
    }
}
