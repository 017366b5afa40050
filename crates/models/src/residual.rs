//! Convolutional networks of residual blocks.

use plan::models::{ConvolutionalSpec, Layout, ModelSpec, Residual as Layers, drop_path_rates};
use tch::Tensor;

use crate::activation::Activation;
use crate::convolution::{Squeeze, Unit};
use crate::declaration::Declarations;
use crate::initial::Initial;
use crate::layers::Linear;
use crate::masks::{Masks, residual};
use crate::network::{Dropout, Network};
use crate::parameters::Parameters;
use crate::patches::{ImageForm, Images};

/// A convolutional network. Shapes: N images, C channels.
pub struct ResidualNetwork {
    stem: Unit,
    stem_pool: bool,
    blocks: Vec<Residual>,
    classifier: Linear,
    features: usize,
    drop_path_rates: Vec<f64>,
    dropout_rate: f64,
}

impl ResidualNetwork {
    /// Declares the parameters, in timm's order and with its initial values; `model` is what `spec` is the architecture of.
    pub fn declare(
        declarations: &mut Declarations<'_>,
        spec: &ConvolutionalSpec,
        model: &ModelSpec,
    ) -> ResidualNetwork {
        let Layout { stem, stem_pool, blocks, features, classifier } = spec.layout();
        let stem = Unit::declare(declarations, &stem, 1.0);
        let rates = drop_path_rates(model.drop_path, blocks.len());
        let blocks = blocks.iter().map(|layers| Residual::declare(declarations, layers)).collect();
        ResidualNetwork {
            stem,
            stem_pool,
            blocks,
            classifier: Linear::starting(
                declarations,
                classifier,
                features as i64,
                model.num_classes as i64,
                initial_classifier(spec, features as i64),
            ),
            features,
            drop_path_rates: rates,
            dropout_rate: model.drop,
        }
    }
}

/// How timm starts weight and bias of the classifier.
fn initial_classifier(spec: &ConvolutionalSpec, features: i64) -> [Initial; 2] {
    match spec {
        ConvolutionalSpec::RegNet(_) => [Initial::Normal { std: 0.01 }, Initial::Constant(0.0)],
        _ => [Initial::convolution(features); 2], // as PyTorch starts a linear map
    }
}

impl Network for ResidualNetwork {
    fn forward(&self, parameters: &Parameters, images: &Images, masks: Option<&Masks>) -> (Tensor, Option<Tensor>) {
        let mut x = self.stem.forward(parameters, &channels_last(images.whole()), masks);
        if self.stem_pool {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let drop = Masks::of_drop_path(masks, &self.drop_path_rates, index);
            x = block.forward(parameters, &x, masks, drop);
        }
        let features = x.mean_dim([2, 3].as_slice(), false, None); // (N, C)
        let features = Masks::drop_features(masks, self.dropout_rate, 0, features);
        (self.classifier.forward(parameters, &features), None)
    }

    fn image_form(&self, parameters: &Parameters) -> ImageForm {
        ImageForm { patch: None, kind: parameters.product_kind() }
    }

    fn drop_path_rates(&self) -> &[f64] {
        &self.drop_path_rates
    }

    fn dropout(&self) -> Option<Dropout> {
        (self.dropout_rate > 0.0).then_some(Dropout { rate: self.dropout_rate, heads: 1, features: self.features })
    }
}

/// The same images with the channels of a pixel side by side in memory, as convolutions are fastest; all that follows keeps to it.
fn channels_last(images: &Tensor) -> Tensor {
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// A residual block.
struct Residual {
    units: Vec<Unit>,
    squeeze: Option<Squeeze>,
    last: Unit,
    act: Activation,
    shortcut: Option<Unit>,
}

impl Residual {
    /// The branch starts at 0, since its last norm does.
    fn declare(declarations: &mut Declarations<'_>, layers: &Layers) -> Residual {
        let (last, first) = layers.units.split_last().expect("a branch has layers");
        Residual {
            units: first.iter().map(|unit| Unit::declare(declarations, unit, 1.0)).collect(),
            squeeze: layers.squeeze.as_ref().map(|sizes| Squeeze::declare(declarations, sizes)),
            last: Unit::declare(declarations, last, 0.0),
            act: Activation::declare(declarations, &layers.act),
            shortcut: layers.shortcut.as_ref().map(|unit| Unit::declare(declarations, unit, 1.0)),
        }
    }

    /// `(N, C, H, W)` to `(N, C', H', W')`.
    fn forward(&self, parameters: &Parameters, x: &Tensor, masks: Option<&Masks>, drop: Option<Tensor>) -> Tensor {
        let mut branch = x.shallow_clone();
        for unit in &self.units {
            branch = unit.forward(parameters, &branch, masks);
        }
        if let Some(squeeze) = &self.squeeze {
            branch = squeeze.forward(parameters, &branch);
        }
        let branch = self.last.forward(parameters, &branch, masks);
        let sum = match &self.shortcut {
            Some(unit) => residual(&unit.forward(parameters, x, masks), branch, drop),
            None => residual(x, branch, drop),
        };
        self.act.forward(parameters, &sum)
    }
}
