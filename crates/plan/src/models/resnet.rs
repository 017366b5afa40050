//! ResNets: their sizes and layers.

use super::convolution::{Convolution, ConvolutionalSpec, Layout, Residual, Unit};

/// A ResNet as timm's: a stem of 7 × 7 with stride 2 and a maximum, then four stages of 64, 128, 256 and 512 channels; where a
/// stage halves the size, its first convolution over 3 × 3 does.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetSpec {
    /// What its blocks are.
    pub block: ResNetBlock,
    /// Blocks of each stage.
    pub depths: [usize; 4],
}

/// A residual block of a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResNetBlock {
    /// Two convolutions over 3 × 3.
    Basic,
    /// One over 3 × 3 between two over 1 × 1, of which the second makes four times the channels.
    Bottleneck,
}

impl ResNetSpec {
    const WIDTH: usize = 64;

    /// Its layers.
    pub(super) fn layout(&self) -> Layout {
        let stem = Convolution {
            name: "conv1".to_owned(),
            inputs: ConvolutionalSpec::CHANNELS,
            outputs: ResNetSpec::WIDTH,
            kernel: 7,
            stride: 2,
            groups: 1,
        };
        let mut inputs = ResNetSpec::WIDTH;
        let mut blocks = Vec::new();
        for (stage, depth) in self.depths.into_iter().enumerate() {
            for index in 0..depth {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                blocks.push(self.block.layout(&format!("layer{}.{index}", stage + 1), stage, inputs, stride));
                inputs = self.block.outputs(stage);
            }
        }
        Layout {
            stem: Unit { conv: stem, norm: "bn1".to_owned(), act: Some("act1".to_owned()) },
            stem_pool: true,
            blocks,
            features: inputs,
            classifier: "fc",
        }
    }
}

impl ResNetBlock {
    /// Channels behind a block of that stage.
    fn outputs(self, stage: usize) -> usize {
        let width = ResNetSpec::WIDTH << stage;
        match self {
            ResNetBlock::Basic => width,
            ResNetBlock::Bottleneck => 4 * width,
        }
    }

    fn layout(self, name: &str, stage: usize, inputs: usize, stride: usize) -> Residual {
        let (width, outputs) = (ResNetSpec::WIDTH << stage, self.outputs(stage));
        // Channels behind each, kernel, stride.
        let branch = match self {
            ResNetBlock::Basic => vec![(width, 3, stride), (outputs, 3, 1)],
            ResNetBlock::Bottleneck => vec![(width, 1, 1), (width, 3, stride), (outputs, 1, 1)],
        };
        let count = branch.len();
        let mut channels = inputs;
        let units = (1..).zip(branch).map(|(number, (outputs, kernel, stride))| {
            let name_of = |part: &str| format!("{name}.{part}{number}");
            let conv = Convolution { name: name_of("conv"), inputs: channels, outputs, kernel, stride, groups: 1 };
            channels = outputs;
            Unit { conv, norm: name_of("bn"), act: (number < count).then(|| name_of("act")) }
        });
        let units = units.collect();
        let shortcut = (stride != 1 || inputs != outputs).then(|| Unit {
            conv: Convolution { name: format!("{name}.downsample.0"), inputs, outputs, kernel: 1, stride, groups: 1 },
            norm: format!("{name}.downsample.1"),
            act: None,
        });
        Residual { units, squeeze: None, act: format!("{name}.act{count}"), shortcut }
    }
}
