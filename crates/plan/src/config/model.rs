//! `[model]`: which network, what differs from its reference, what it begins with, and its activation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use activations::TableFile;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::{Kind, activation_names, choice, section};

choice! {
    /// What of the last block's output is classified.
    pub enum Pool {
        /// The class token.
        Token = "token",
        /// The mean of all patches, normalised after it (timm's `fc_norm`).
        Mean = "avg",
    }
}

choice! {
    /// Where position embeddings come from.
    pub enum Positions {
        /// They are learned.
        Learned = "learned",
        /// Sines and cosines of a patch's column and row, fixed, as big_vision's `posemb_sincos_2d`; tokens have none.
        SinCos2d = "sincos2d",
    }
}

section! {
    /// `[model]`: which network, and what differs from its reference.
    ///
    /// The optional keys are overrides as in timm's `create_model`; absent, the model keeps its own.
    pub struct Model {
        /// timm's name of the model. Has no default.
        name: String = String::new(), Kind::OneOf { what: "a model", names: crate::models::names };
        /// Height and width of the input, in pixels; default: the model's own.
        image_size: Option<usize> = None, Kind::Whole { min: 1, max: 8192 };
        /// Height and width of a patch, in pixels; it divides `image_size`; default: the model's own.
        patch_size: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Width of a token; default: the model's own.
        embed_dim: Option<usize> = None, Kind::Whole { min: 1, max: 65536 };
        /// Number of blocks; default: the model's own.
        depth: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Attention heads of a block; it divides `embed_dim`; default: the model's own.
        num_heads: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Width of the MLP over `embed_dim`; default: the model's own.
        mlp_ratio: Option<f64> = None, Kind::Positive { max: 64.0 };
        /// Rows and columns of an attention window, in tokens (Swin); default: the model's own.
        window_size: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// What is classified (ViT): the class token, or the mean of all patches (timm's `global_pool`); default: the model's own, "token".
        pool: Option<Pool> = None, Kind::OneOf { what: "a pool", names: Pool::names };
        /// Position embeddings (ViT): learned, or fixed sines and cosines of rows and columns as in big_vision, which the class token goes without; default: the model's own, "learned".
        positions: Option<Positions> = None, Kind::OneOf { what: "a kind of positions", names: Positions::names };
        /// Whether there is a class token (ViT); false needs `pool = "avg"`; default: true.
        class_token: Option<bool> = None, Kind::Flag;
        /// Stochastic depth: the rate of the last block, rising linearly from 0 at the first (timm's `drop_path_rate`).
        drop_path: f64 = 0.0, Kind::Number { min: 0.0, max: 0.99 };
        /// Dropout before the classifier (timm's `drop_rate`).
        drop: f64 = 0.0, Kind::Number { min: 0.0, max: 0.99 };
        /// Weights that training begins with, by timm's names: a `.safetensors` file, or the folder of a checkpoint or a run (its best checkpoint, else its newest), relative to the folder where the command is given. A classifier for another number of classes is left fresh, position embeddings are resampled for another `image_size`, parameters of another activation keep their start. Not read on resuming. Default: none.
        init_from: Option<PathBuf> = None, Kind::Path;
        /// The activation, which is that of the MLPs in a transformer: a name, or a table of `name`, its parameters, `learnable`, `decay`, or a table of `default` and others for some layers, as in `{ default = "gelu", "blocks.8-11" = "crrelu" }`; default: the model's own.
        activation: Option<Activations> = None, Kind::Activation;
    }
}

/// The activations of a model: one for all of its layers, or one by default and others for some layers.
///
/// As TOML, an [`Activation`] where `layers` is empty, else a table of `default` and the layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    /// Where nothing else is said.
    pub default: Activation,
    /// By layers, as in `blocks.8-11`: see [`crate::models::Layers`].
    pub layers: BTreeMap<String, Activation>,
}

impl Activations {
    /// The key that stands for the default where there are others.
    pub const DEFAULT: &str = "default";

    /// The key of the default, below `model`.
    pub(crate) fn key_of_default(&self) -> &'static str {
        if self.layers.is_empty() { "activation" } else { "activation.default" }
    }

    /// All of them in words, for people: `gelu`, or `gelu, crrelu in blocks.8-11`.
    pub fn words(&self) -> String {
        let others = self.layers.iter().map(|(layers, activation)| format!(", {} in {layers}", activation.label()));
        self.default.label() + &others.collect::<String>()
    }
}

impl From<Activation> for Activations {
    fn from(default: Activation) -> Activations {
        Activations { default, layers: BTreeMap::new() }
    }
}

impl Serialize for Activations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.layers.is_empty() {
            return self.default.serialize(serializer);
        }
        let layers = self.layers.iter().map(|(layers, activation)| (layers.as_str(), activation));
        serializer.collect_map([(Activations::DEFAULT, &self.default)].into_iter().chain(layers))
    }
}

impl<'de> Deserialize<'de> for Activations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Activations, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        if !table.contains_key(Activations::DEFAULT) {
            return Ok(Activation::deserialize(table).map_err(D::Error::custom)?.into());
        }
        let mut layers = BTreeMap::<String, Activation>::deserialize(table).map_err(D::Error::custom)?;
        let default = layers.remove(Activations::DEFAULT).expect("it was there");
        Ok(Activations { default, layers })
    }
}

section! {
    /// An activation: `"gelu"`, or a table such as `{ name = "crrelu", epsilon = -0.1, decay = false }` or
    /// `{ file = "softplus.toml" }`.
    pub struct Activation {
        /// Its name in the catalogue; `tabulated` with `table`.
        name: String = "gelu".to_owned(), Kind::OneOf { what: "an activation", names: activation_names };
        /// A tabulated activation in place of one of the catalogue: a file as `rectify eafo derive` writes it, relative to the folder where the command is given. Nothing stands beside it; its text becomes `table` when the config is read.
        file: Option<PathBuf> = None, Kind::Path;
        /// The text of such a file, as the config of a run holds it.
        table: Option<String> = None, Kind::Text { what: "the text of a tabulated activation's file" };
        /// Initial ε of crrelu; default 0.01.
        epsilon: Option<f64> = None, Kind::Number { min: -100.0, max: 100.0 };
        /// Initial slope of prelu; default 0.25.
        slope: Option<f64> = None, Kind::Number { min: -100.0, max: 100.0 };
        /// α of elu and celu; default 1.
        alpha: Option<f64> = None, Kind::Number { min: 1e-3, max: 100.0 };
        /// Initial scale of starrelu; default 1.
        scale: Option<f64> = None, Kind::Number { min: -100.0, max: 100.0 };
        /// Initial bias of starrelu; default 0.
        bias: Option<f64> = None, Kind::Number { min: -100.0, max: 100.0 };
        /// Whether training changes the parameters; default: as in the activation's reference.
        learnable: Option<bool> = None, Kind::Flag;
        /// Whether the correction of crrelu, crgelu, crsilu or crmish follows the density of its layer's pre-activations while it trains, as `[eafo]` says; default: false.
        dynamic: Option<bool> = None, Kind::Flag;
        /// Whether learnable parameters get weight decay; default: what `optimizer.decay` says of one-dimensional tensors.
        decay: Option<bool> = None, Kind::Flag;
    }
}

impl Activation {
    /// The name of activations that are no formula but numbers.
    pub const TABULATED: &str = "tabulated";

    /// What reports call it: its name, or that in its table.
    pub fn label(&self) -> String {
        let table = self.table.as_ref().and_then(|text| TableFile::parse(text, "table".as_ref()).ok());
        table.map_or_else(|| self.name.clone(), |table| table.name)
    }

    /// The activation `name`, as its reference has it.
    pub fn named(name: &str) -> Activation {
        Activation { name: name.to_owned(), ..Activation::default() }
    }

    /// The parameters that the config gives, by name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("epsilon", self.epsilon),
            ("slope", self.slope),
            ("alpha", self.alpha),
            ("scale", self.scale),
            ("bias", self.bias),
        ];
        all.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)))
    }
}
