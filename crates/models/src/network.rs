//! What every network can do, whatever its family.

use tch::Tensor;

use crate::masks::Masks;
use crate::parameters::Parameters;
use crate::patches::{ImageForm, Images};

/// A network: it knows which parameters are its own and what to compute with them.
pub trait Network {
    /// Images, whole or in the network's form, to the logits `(N, C)` of the class head and of the
    /// distillation head, where there is one.
    ///
    /// With `masks` it is being trained; without, nothing is left out and buffers stay as they are.
    fn forward(&self, parameters: &Parameters, images: &Images, masks: Option<&Masks>) -> (Tensor, Option<Tensor>);

    /// The form of images for which [`forward`](Network::forward) makes no copy.
    fn image_form(&self, parameters: &Parameters) -> ImageForm;

    /// The rate of each drop-path, in the order of the rows of [`Masks::drop_path`].
    fn drop_path_rates(&self) -> &[f64];

    /// The dropout before the classifiers, where there is any.
    fn dropout(&self) -> Option<Dropout>;
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
