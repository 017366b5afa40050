//! Residual convolutional networks as lists of their layers, and the arithmetic of what they cost.

use super::regnet::RegNetSpec;
use super::resnet::ResNetSpec;
use super::{BadModel, Depth, Family, Kept, KeptByBlocks, Shape, family};
use crate::config;

/// A convolutional network of residual blocks, of one of these families.
///
/// Images of 3 channels and any size. Every convolution is followed by a BatchNorm with eps 1e-5 and momentum 0.1; a linear
/// classifier reads the mean of the last features.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConvolutionalSpec {
    /// A ResNet.
    ResNet(ResNetSpec),
    /// A RegNet.
    RegNet(RegNetSpec),
}

/// The layers of a network, each with its name in timm.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// What images go through first.
    pub stem: Unit,
    /// Whether the stem ends in the maximum over 3 × 3 with stride 2.
    pub stem_pool: bool,
    /// The blocks, one after the other.
    pub blocks: Vec<Residual>,
    /// Channels of the last block.
    pub features: usize,
    /// The linear classifier.
    pub classifier: &'static str,
}

/// A residual block: a branch of units that is added to its input, and an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// The branch.
    pub units: Vec<Unit>,
    /// Before the last of them.
    pub squeeze: Option<Squeeze>,
    /// The activation of the sum.
    pub act: String,
    /// What the input goes through before the sum, where its shape has to change.
    pub shortcut: Option<Unit>,
}

/// Squeeze and excitation: each channel is scaled by what two linear maps and a sigmoid make of the means of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Squeeze {
    /// Its name; the maps are its `fc1` and `fc2`, with an activation `act` between them.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Numbers between the maps.
    pub hidden: usize,
}

/// A convolution with its BatchNorm and, where there is one, its activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The convolution.
    pub conv: Convolution,
    /// The BatchNorm.
    pub norm: String,
    /// The activation.
    pub act: Option<String>,
}

/// A convolution without a bias, over images padded so that only the stride changes their size.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// Its name.
    pub name: String,
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// Height and width, odd.
    pub kernel: usize,
    /// From one output to the next.
    pub stride: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl ConvolutionalSpec {
    /// Image channels: red, green, blue.
    pub const CHANNELS: usize = 3;

    /// Its layers.
    pub fn layout(&self) -> Layout {
        match self {
            ConvolutionalSpec::ResNet(spec) => spec.layout(),
            ConvolutionalSpec::RegNet(spec) => spec.layout(),
        }
    }

    /// This model with what a config overrides: nothing.
    pub(super) fn configured(self, config: &config::Model) -> Result<ConvolutionalSpec, BadModel> {
        let family = match self {
            ConvolutionalSpec::ResNet(_) => "ResNet",
            ConvolutionalSpec::RegNet(_) => "RegNet",
        };
        family::without(
            config,
            family,
            &[
                "patch_size",
                "embed_dim",
                "depth",
                "num_heads",
                "mlp_ratio",
                "window_size",
                "pool",
                "positions",
                "class_token",
            ],
        )?;
        Ok(self)
    }
}

impl Layout {
    /// Every convolution.
    pub fn convolutions(&self) -> impl Iterator<Item = &Convolution> {
        let of_blocks = self.blocks.iter().flat_map(|block| block.units.iter().chain(&block.shortcut));
        std::iter::once(&self.stem).chain(of_blocks).map(|unit| &unit.conv)
    }

    /// Height and width of what the stem makes of images of that size.
    fn size_behind_stem(&self, image_size: usize) -> usize {
        let size = self.stem.conv.output_size(image_size);
        if self.stem_pool { size.div_ceil(2) } else { size }
    }
}

impl Residual {
    /// Its activations, in the order of the forward pass.
    fn activations(self) -> Vec<String> {
        let mut names: Vec<String> = self.units.into_iter().filter_map(|unit| unit.act).collect();
        names.extend(self.squeeze.map(|squeeze| squeeze.act()));
        names.push(self.act);
        names
    }
}

impl Squeeze {
    /// The name of its activation.
    pub fn act(&self) -> String {
        format!("{}.act", self.name)
    }

    fn weights(&self) -> u64 {
        (2 * self.channels * self.hidden) as u64
    }

    fn biases(&self) -> u64 {
        (self.channels + self.hidden) as u64
    }
}

impl Convolution {
    /// Rows and columns of zeros on each side of its input.
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// Height and width that come out where `size` comes in.
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }

    fn weights(&self) -> u64 {
        (self.outputs * (self.inputs / self.groups) * self.kernel.pow(2)) as u64
    }
}

impl Family for ConvolutionalSpec {
    fn stride(&self) -> usize {
        1
    }

    fn activations(&self) -> Vec<String> {
        let Layout { stem, blocks, .. } = self.layout();
        stem.act.into_iter().chain(blocks.into_iter().flat_map(Residual::activations)).collect()
    }

    fn parameters(&self, shape: Shape) -> u64 {
        let layout = self.layout();
        let with_norm = |conv: &Convolution| conv.weights() + 2 * conv.outputs as u64;
        let classifier = ((layout.features + 1) * shape.num_classes) as u64;
        let squeezes = layout.blocks.iter().filter_map(|block| block.squeeze.as_ref());
        let squeezes = squeezes.map(|squeeze| squeeze.weights() + squeeze.biases()).sum::<u64>();
        layout.convolutions().map(with_norm).sum::<u64>() + squeezes + classifier
    }

    fn multiply_adds(&self, shape: Shape) -> u64 {
        let layout = self.layout();
        let cost = |conv: &Convolution, output_size: usize| conv.weights() * output_size.pow(2) as u64;
        let mut all = cost(&layout.stem.conv, layout.stem.conv.output_size(shape.image_size));
        let mut size = layout.size_behind_stem(shape.image_size);
        for block in &layout.blocks {
            for unit in &block.units {
                size = unit.conv.output_size(size);
                all += cost(&unit.conv, size);
            }
            all += block.squeeze.as_ref().map_or(0, Squeeze::weights);
            all += block.shortcut.iter().map(|unit| cost(&unit.conv, size)).sum::<u64>();
        }
        all + (layout.features * shape.num_classes) as u64
    }

    /// All of it: BatchNorm's running statistics would count a batch twice that goes through blocks twice.
    fn kept_by_blocks(&self, _shape: Shape) -> Vec<KeptByBlocks> {
        Vec::new()
    }

    fn kept_around_blocks(&self, shape: Shape) -> Kept {
        let layout = self.layout();
        let image = ConvolutionalSpec::CHANNELS * shape.image_size.pow(2);
        let mut kept = Kept { activated: 0, elsewhere: image as u64 };
        let mut squeezed = Kept { activated: 0, elsewhere: 0 };
        // What a BatchNorm takes; and where an activation follows, what that takes and what it gives.
        let mut keep = |unit: &Unit, size: usize, is_activated: bool| {
            let numbers = (unit.conv.outputs * size.pow(2)) as u64;
            kept.elsewhere += numbers;
            if is_activated {
                kept.activated += numbers;
                kept.elsewhere += numbers;
            }
        };
        keep(&layout.stem, layout.stem.conv.output_size(shape.image_size), layout.stem.act.is_some());
        let mut size = layout.size_behind_stem(shape.image_size);
        for block in &layout.blocks {
            for (index, unit) in block.units.iter().enumerate() {
                size = unit.conv.output_size(size);
                keep(unit, size, unit.act.is_some() || index + 1 == block.units.len());
            }
            block.shortcut.iter().for_each(|unit| keep(unit, size, false));
            // What squeeze and excitation gives, beside the few numbers from which it makes its scales.
            if let Some(squeeze) = &block.squeeze {
                squeezed.elsewhere += (squeeze.channels * (size.pow(2) + 2) + squeeze.hidden) as u64;
                squeezed.activated += squeeze.hidden as u64;
            }
        }
        Kept { activated: kept.activated + squeezed.activated, elsewhere: kept.elsewhere + squeezed.elsewhere }
    }

    fn depth_of(&self, parameter: &str) -> Depth {
        if parameter.starts_with(self.layout().classifier) {
            return Depth::Head;
        }
        // `layer2.0.conv1.weight`, or `s2.b1.conv1.conv.weight`.
        let number = |part: Option<&str>, prefixes: [&str; 2]| {
            prefixes.iter().find_map(|prefix| part?.strip_prefix(prefix)?.parse::<usize>().ok())
        };
        let mut parts = parameter.split('.');
        match (number(parts.next(), ["layer", "s"]), number(parts.next(), ["", "b"])) {
            (Some(stage), Some(index)) => Depth::Block { stage, index },
            _ => Depth::Stem,
        }
    }

    fn values_of_a_statistic(&self, image_size: usize) -> Option<usize> {
        let layout = self.layout();
        let convolutions = layout.blocks.iter().flat_map(|block| &block.units).map(|unit| &unit.conv);
        let last = convolutions.fold(layout.size_behind_stem(image_size), |size, conv| conv.output_size(size));
        Some(last.pow(2))
    }
}
