//! A model: a network of some family together with its parameters.

use plan::config::DecayRule;
use plan::models::{ModelSpec, VitSpec};
use random::Key;
use tch::{Device, Kind, Tensor, no_grad};

use crate::declaration::Declarations;
use crate::error::ModelError;
use crate::masks::Mode;
use crate::parameters::{Parameter, Parameters};
use crate::vit::Vit;

/// A network with its parameters.
pub struct Model {
    network: Network,
    parameters: Parameters,
}

/// The families of networks.
enum Network {
    Vit(Vit),
}

/// What a network answers.
#[derive(Debug)]
pub struct Output {
    /// `(N, C)`, one row an image.
    pub logits: Tensor,
    /// Logits of the distillation head, `(N, C)`: of a distilled model in training. When it evaluates, `logits` is
    /// already the mean of the two, as in timm.
    pub distilled: Option<Tensor>,
}

/// Dropout of the features before each classifier (timm's `drop_rate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a feature is dropped.
    pub rate: f64,
    /// Classifiers: the first dimension of [`Masks::dropout`].
    pub heads: usize,
    /// Features of an image: the last dimension of [`Masks::dropout`].
    pub features: usize,
}

impl Model {
    /// The model of `spec` in f32, with initial values as timm's, drawn from `key`: in a run that is
    /// `Key::root(seed).child(Purpose::Init as u64)`.
    ///
    /// # Errors
    /// [`ModelError::Spec`] when sizes do not fit each other, [`ModelError::Torch`] when the device is not there or full.
    pub fn new(spec: &ModelSpec, decay: DecayRule, key: Key, device: Device) -> Result<Model, ModelError> {
        Model::with_kind(spec, decay, key, device, Kind::Float)
    }

    /// As [`Model::new`], with parameters of another floating-point kind.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_kind(
        spec: &ModelSpec,
        decay: DecayRule,
        key: Key,
        device: Device,
        kind: Kind,
    ) -> Result<Model, ModelError> {
        let mut declarations = Declarations::new(decay);
        let network = match spec {
            ModelSpec::Vit(spec) => {
                check(spec)?;
                Network::Vit(Vit::declare(&mut declarations, spec))
            }
            other => return Err(ModelError::Spec { reason: format!("no network is written for {other:?}") }),
        };
        let parameters = Parameters::allocate(&declarations, key, device, kind)?;
        Ok(Model { network, parameters })
    }

    /// What the model answers to `images`: `(N, 3, H, W)` of the parameters' kind and device.
    ///
    /// Sides other than the spec's image size must be multiples of the patch size; position embeddings are resampled for
    /// them, as with timm's `dynamic_img_size`.
    ///
    /// # Panics
    /// When shapes, kinds or devices do not fit. In training also when a rate is above zero and its mask is missing.
    pub fn forward(&self, images: &Tensor, mode: Mode<'_>) -> Output {
        let Network::Vit(network) = &self.network;
        match mode {
            Mode::Train { masks } => {
                let (logits, distilled) = network.forward(&self.parameters, images, Some(masks));
                Output { logits, distilled }
            }
            Mode::Evaluate => no_grad(|| {
                let logits = match network.forward(&self.parameters, images, None) {
                    (class, Some(distilled)) => (class + distilled) / 2.0,
                    (class, None) => class,
                };
                Output { logits, distilled: None }
            }),
        }
    }

    /// The model's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The rate of each drop-path, in the order of the rows of [`Masks::drop_path`](crate::Masks::drop_path).
    pub fn drop_path_rates(&self) -> &[f64] {
        let Network::Vit(network) = &self.network;
        network.drop_path_rates()
    }

    /// How many drop-paths there are.
    pub fn num_drops(&self) -> usize {
        self.drop_path_rates().len()
    }

    /// The dropout before the classifiers, where there is any.
    pub fn dropout(&self) -> Option<Dropout> {
        let Network::Vit(network) = &self.network;
        network.dropout()
    }

    /// What the activations learn, block after block: `blocks.0.mlp.act.epsilon` and so on with CRReLU.
    pub fn activation_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.name.contains(".act."))
    }
}

/// Refuses sizes that a config could not have given, but a spec made by hand can.
fn check(spec: &VitSpec) -> Result<(), ModelError> {
    let refuse = |reason: String| Err(ModelError::Spec { reason });
    let sizes = [spec.embed_dim, spec.depth, spec.num_heads, spec.mlp_dim(), spec.num_classes, spec.patch_size];
    if sizes.contains(&0) {
        return refuse("width, depth, heads, MLP width, classes and patch size must be at least 1".to_owned());
    }
    if spec.image_size == 0 || !spec.image_size.is_multiple_of(spec.patch_size) {
        return refuse(format!("image size {} is no multiple of patch size {}", spec.image_size, spec.patch_size));
    }
    if !spec.embed_dim.is_multiple_of(spec.num_heads) {
        return refuse(format!("width {} is no multiple of {} heads", spec.embed_dim, spec.num_heads));
    }
    for (name, rate) in [("drop_path", spec.drop_path), ("drop", spec.drop)] {
        if !(0.0..1.0).contains(&rate) {
            return refuse(format!("{name} must be at least 0 and less than 1; found {rate}"));
        }
    }
    Ok(())
}
