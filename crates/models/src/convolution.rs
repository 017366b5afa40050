//! Convolutions and BatchNorm, the unit of the two with an activation, and squeeze and excitation.

use plan::models::{Convolution as Sizes, Squeeze as SqueezeSizes, Unit as Layers};
use tch::{Tensor, no_grad};

use crate::activation::Activation;
use crate::declaration::{BufferSlot, Declarations, Slot};
use crate::initial::Initial;
use crate::layers::Linear;
use crate::masks::Masks;
use crate::parameters::Parameters;

/// A convolution, its BatchNorm and, where there is one, its activation.
pub struct Unit {
    conv: Convolution,
    norm: BatchNorm,
    act: Option<Activation>,
}

impl Unit {
    /// Declares what `layers` names; the scale of the norm starts at `scale`.
    pub fn declare(declarations: &mut Declarations<'_>, layers: &Layers, scale: f64) -> Unit {
        Unit {
            conv: Convolution::declare(declarations, &layers.conv),
            norm: BatchNorm::declare(declarations, &layers.norm, layers.conv.outputs as i64, scale),
            act: layers.act.as_ref().map(|name| Activation::declare(declarations, name)),
        }
    }

    /// `(N, C, H, W)` to `(N, C', H', W')`.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor, masks: Option<&Masks>) -> Tensor {
        let x = self.norm.forward(parameters, &self.conv.forward(parameters, x), masks);
        match &self.act {
            Some(act) => act.forward(parameters, &x),
            None => x,
        }
    }
}

/// Kaiming's normal distribution for ReLU, by the outputs that an input reaches.
fn kaiming(reached: i64) -> Initial {
    Initial::Normal { std: (2.0 / reached as f64).sqrt() }
}

/// Squeeze and excitation: each channel is scaled by what two linear maps and a sigmoid make of the means of all.
pub struct Squeeze {
    fc1: Linear,
    act: Activation,
    fc2: Linear,
}

impl Squeeze {
    /// Declares `fc1`, `act` and `fc2` of what `sizes` names; the maps are convolutions over 1 × 1 by name and shape.
    pub fn declare(declarations: &mut Declarations<'_>, sizes: &SqueezeSizes) -> Squeeze {
        let (channels, hidden) = (sizes.channels as i64, sizes.hidden as i64);
        let map = |declarations: &mut Declarations<'_>, name: &str, inputs: i64, outputs: i64| {
            let initial = [kaiming(outputs), Initial::Constant(0.0)];
            Linear::of_pixels(declarations, &format!("{}.{name}", sizes.name), inputs, outputs, initial)
        };
        Squeeze {
            fc1: map(declarations, "fc1", channels, hidden),
            act: Activation::declare(declarations, &sizes.act()),
            fc2: map(declarations, "fc2", hidden, channels),
        }
    }

    /// `(N, C, H, W)` to the same.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let means = x.mean_dim([2, 3].as_slice(), false, None); // (N, C)
        let hidden = self.act.forward(parameters, &self.fc1.forward(parameters, &means));
        let scales = self.fc2.forward(parameters, &hidden).sigmoid();
        x * scales.unsqueeze(-1).unsqueeze(-1)
    }
}

/// A convolution without a bias.
struct Convolution {
    weight: Slot, // (outputs, inputs / groups, K, K)
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Convolution {
    fn declare(declarations: &mut Declarations<'_>, sizes: &Sizes) -> Convolution {
        let (outputs, groups, kernel) = (sizes.outputs as i64, sizes.groups as i64, sizes.kernel as i64);
        let initial = kaiming(kernel * kernel * outputs / groups);
        let shape = [outputs, sizes.inputs as i64 / groups, kernel, kernel];
        Convolution {
            weight: declarations.weight(format!("{}.weight", sizes.name), &shape, initial),
            stride: sizes.stride as i64,
            padding: sizes.padding() as i64,
            groups,
        }
    }

    fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let (x, weight) = (x.to_kind(parameters.product_kind()), parameters.narrowed(self.weight));
        x.conv2d(&weight, None::<&Tensor>, [self.stride; 2], [self.padding; 2], [1; 2], self.groups)
    }
}

/// Normalisation of each channel, as PyTorch's `BatchNorm2d`: by the batch's mean and variance in training, which running
/// averages take in, and by those averages otherwise.
struct BatchNorm {
    weight: Slot,
    bias: Slot,
    mean: BufferSlot,
    variance: BufferSlot,
    batches: BufferSlot,
}

impl BatchNorm {
    const EPS: f64 = 1e-5;
    /// How much of a running average each batch replaces.
    const MOMENTUM: f64 = 0.1;

    fn declare(declarations: &mut Declarations<'_>, name: &str, channels: i64, scale: f64) -> BatchNorm {
        BatchNorm {
            weight: declarations.weight(format!("{name}.weight"), &[channels], Initial::Constant(scale)),
            bias: declarations.weight(format!("{name}.bias"), &[channels], Initial::Constant(0.0)),
            mean: declarations.buffer(format!("{name}.running_mean"), &[channels], 0.0),
            variance: declarations.buffer(format!("{name}.running_var"), &[channels], 1.0),
            batches: declarations.counter(format!("{name}.num_batches_tracked")),
        }
    }

    /// `(N, C, H, W)` to the same, in the kind of `x`; means, variances and averages are computed in that of the parameters. With
    /// `masks` it is being trained: the batch must hold two values a channel at least.
    fn forward(&self, parameters: &Parameters, x: &Tensor, masks: Option<&Masks>) -> Tensor {
        if masks.is_some() {
            let _ = no_grad(|| parameters.buffer(self.batches).shallow_clone().g_add_scalar_(1));
        }
        let scale = [self.weight, self.bias].map(|slot| Some(parameters.tensor(slot)));
        let running = [self.mean, self.variance].map(|slot| Some(parameters.buffer(slot)));
        let ([weight, bias], [mean, variance]) = (scale, running);
        x.batch_norm(weight, bias, mean, variance, masks.is_some(), BatchNorm::MOMENTUM, BatchNorm::EPS, true)
    }
}
