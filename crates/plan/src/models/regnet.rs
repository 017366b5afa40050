//! RegNets: their sizes and layers.

use super::convolution::{Convolution, ConvolutionalSpec, Layout, Residual, Squeeze, Unit};

/// A RegNet as timm's, of the kind Y: a stem of 3 × 3 with stride 2, then stages of bottlenecks as wide as their output. The
/// middle convolution of each is grouped and, in the first of a stage, has stride 2; squeeze and excitation follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegNetSpec {
    /// Channels behind the stem.
    pub stem_width: usize,
    /// The stages.
    pub stages: Vec<RegNetStage>,
    /// Channels of a group; divides the width of every stage.
    pub group_width: usize,
    /// What an image is squeezed to, over the channels that come into the block.
    pub squeeze_ratio: f64,
}

/// A stage of a RegNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegNetStage {
    /// Channels.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
}

impl RegNetSpec {
    /// Its layers.
    pub(super) fn layout(&self) -> Layout {
        let mut inputs = self.stem_width;
        let mut blocks = Vec::new();
        for (stage, RegNetStage { width, depth }) in (1..).zip(&self.stages) {
            for index in 1..=*depth {
                let stride = if index == 1 { 2 } else { 1 };
                blocks.push(self.block(&format!("s{stage}.b{index}"), [inputs, *width], stride));
                inputs = *width;
            }
        }
        let stem = unit("stem", [ConvolutionalSpec::CHANNELS, self.stem_width], [3, 2, 1]);
        Layout { stem: active(stem), stem_pool: false, blocks, features: inputs, classifier: "head.fc" }
    }

    fn block(&self, name: &str, [inputs, width]: [usize; 2], stride: usize) -> Residual {
        let name_of = |part: &str| format!("{name}.{part}");
        let groups = width.checked_div(self.group_width).unwrap_or(0);
        Residual {
            units: vec![
                active(unit(&name_of("conv1"), [inputs, width], [1, 1, 1])),
                active(unit(&name_of("conv2"), [width, width], [3, stride, groups])),
                unit(&name_of("conv3"), [width, width], [1, 1, 1]),
            ],
            squeeze: Some(Squeeze {
                name: name_of("se"),
                channels: width,
                hidden: (inputs as f64 * self.squeeze_ratio).round_ties_even() as usize,
            }),
            act: name_of("act3"),
            shortcut: (stride != 1 || inputs != width)
                .then(|| unit(&name_of("downsample"), [inputs, width], [1, stride, 1])),
        }
    }
}

/// A convolution and its BatchNorm.
fn unit(name: &str, [inputs, outputs]: [usize; 2], [kernel, stride, groups]: [usize; 3]) -> Unit {
    let conv = Convolution { name: format!("{name}.conv"), inputs, outputs, kernel, stride, groups };
    Unit { conv, norm: format!("{name}.bn"), act: None }
}

/// The same with an activation, which timm has within the BatchNorm.
fn active(unit: Unit) -> Unit {
    Unit { act: Some(format!("{}.act", unit.norm)), ..unit }
}
