//! What an exported file of weights says of its network, in the header of the file.

use std::collections::BTreeMap;

use plan::config::{self, Augment, Config, EvalCropMode, Interpolation};
use serde::{Deserialize, Serialize};

/// The key of safetensors' metadata under which a description stands, as JSON.
const KEY: &str = "rectify";

/// All that is needed to use a file of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// timm's name of the model.
    pub model: String,
    /// Channels, rows and columns of the input.
    pub input_size: [usize; 3],
    /// Outputs of the classifier.
    pub num_classes: usize,
    /// The names of the classes, in the order of the outputs; empty where nobody knows them.
    pub classes: Vec<String>,
    /// Name of the activation.
    pub activation: String,
    /// Mean of red, green and blue that was subtracted, on the scale 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviation of red, green and blue that was divided by, on the scale 0 to 1.
    pub std: [f64; 3],
    /// Side of the central crop over the shorter side of the resized image.
    pub crop_pct: f64,
    /// What becomes of an image that is no square (timm's names).
    pub crop_mode: EvalCropMode,
    /// How pixels were interpolated.
    pub interpolation: Interpolation,
    /// Whether photographs were turned upright by their EXIF data.
    pub exif_orientation: bool,
    /// Finished optimiser steps.
    pub step: u64,
    /// The section `[model]` of the run, as TOML.
    #[serde(with = "toml_text")]
    pub config: config::Model,
}

impl Description {
    /// The description among a file's metadata; `None` where there is none, as in files from elsewhere.
    ///
    /// # Errors
    /// What is wrong with one that cannot be read.
    pub fn find(metadata: &BTreeMap<String, String>) -> Result<Option<Description>, serde_json::Error> {
        metadata.get(KEY).map(|text| serde_json::from_str(text)).transpose()
    }

    /// As a file's metadata.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let text = serde_json::to_string(self).expect("a description has string keys and finite numbers only");
        BTreeMap::from([(KEY.to_owned(), text)])
    }

    /// A config with this model, and this preparation of images.
    pub fn to_config(&self) -> Config {
        let mut config = Config::default();
        config.model = self.config.clone();
        config.data.exif_orientation = self.exif_orientation;
        config.augment = Augment {
            mean: self.mean,
            std: self.std,
            eval_crop_pct: self.crop_pct,
            eval_crop_mode: self.crop_mode,
            eval_interpolation: self.interpolation,
            ..Augment::default()
        };
        config
    }
}

/// A section of a config as a text, since JSON has nulls where TOML has nothing.
mod toml_text {
    use plan::config::Model;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(model: &Model, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&toml::to_string(model).map_err(S::Error::custom)?)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Model, D::Error> {
        toml::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
