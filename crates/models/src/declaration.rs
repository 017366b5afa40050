//! What parameters a network has, said once while it is put together, before any memory is taken.

use plan::config::DecayRule;
use plan::models::{Activations, Architecture, Depth};
use tch::Tensor;

use crate::initial::Initial;

/// The place of a parameter among those of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The place of a buffer among those of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSlot(usize);

impl BufferSlot {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The place of a constant among those of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant(usize);

impl Constant {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// How parameters are put into groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grouping {
    /// Which parameters get weight decay.
    pub decay: DecayRule,
    /// Factor of the learning rate from each layer to the one before it, as timm's `layer_decay`; 1 = all alike.
    pub layer_decay: f64,
}

impl From<DecayRule> for Grouping {
    fn from(decay: DecayRule) -> Grouping {
        Grouping { decay, layer_decay: 1.0 }
    }
}

impl From<&plan::config::Optimizer> for Grouping {
    fn from(config: &plan::config::Optimizer) -> Grouping {
        Grouping { decay: config.decay, layer_decay: config.layer_decay }
    }
}

/// What a parameter is to the rule of weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A weight, bias or scale: its number of dimensions tells.
    Weight,
    /// A token or a position embedding.
    Token,
    /// A parameter of an activation, about which its spec decides.
    Activation {
        /// Whether it decays.
        decays: bool,
    },
}

/// One parameter to be.
pub struct Declaration {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) initial: Initial,
    pub(crate) weight_decay: bool,
    pub(crate) depth: Depth,
}

impl Declaration {
    /// How many elements it has.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }
}

/// A number or numbers that a network keeps beside its parameters, such as a running mean.
pub struct BufferDeclaration {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) initial: f64,
    pub(crate) counts: bool,
    /// What it begins as and no step changes; `initial` otherwise.
    pub(crate) fixed: Option<Vec<f64>>,
}

/// All parameters and buffers of a network, in the order in which they are declared.
pub struct Declarations<'a> {
    grouping: Grouping,
    architecture: &'a Architecture,
    activations: &'a Activations,
    list: Vec<Declaration>,
    buffers: Vec<BufferDeclaration>,
    constants: Vec<Tensor>,
}

impl<'a> Declarations<'a> {
    /// None yet, of a network with this architecture and these activations.
    pub fn new(grouping: Grouping, architecture: &'a Architecture, activations: &'a Activations) -> Declarations<'a> {
        Declarations {
            grouping,
            architecture,
            activations,
            list: Vec::new(),
            buffers: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Adds a weight, a bias or a scale.
    pub fn weight(&mut self, name: String, shape: &[i64], initial: Initial) -> Slot {
        self.add(name, shape, initial, Role::Weight)
    }

    /// Adds a parameter of any role.
    pub fn add(&mut self, name: String, shape: &[i64], initial: Initial, role: Role) -> Slot {
        let weight_decay = match (self.grouping.decay, role) {
            (_, Role::Activation { decays }) => decays,
            (DecayRule::All, _) => true,
            // timm's param_groups_weight_decay: 1-D tensors and `no_weight_decay()` are left out.
            (DecayRule::Matrices, role) => role == Role::Weight && shape.len() > 1,
        };
        let depth = self.architecture.family().depth_of(&name);
        self.list.push(Declaration { name, shape: shape.to_vec(), initial, weight_decay, depth });
        Slot(self.list.len() - 1)
    }

    /// Adds numbers that no gradient reaches, of the parameters' kind.
    pub fn buffer(&mut self, name: String, shape: &[i64], initial: f64) -> BufferSlot {
        self.buffers.push(BufferDeclaration { name, shape: shape.to_vec(), initial, counts: false, fixed: None });
        BufferSlot(self.buffers.len() - 1)
    }

    /// Adds numbers that begin as `values` and that a step itself never changes, of the parameters' kind: what stands in the place
    /// of a parameter of timm's, or is the same on every rank whoever changes it.
    pub fn fixed(&mut self, name: String, shape: &[i64], values: Vec<f64>) -> BufferSlot {
        let (shape, fixed) = (shape.to_vec(), Some(values));
        self.buffers.push(BufferDeclaration { name, shape, initial: 0.0, counts: false, fixed });
        BufferSlot(self.buffers.len() - 1)
    }

    /// Adds a whole number that starts at 0.
    pub fn counter(&mut self, name: String) -> BufferSlot {
        self.buffers.push(BufferDeclaration { name, shape: Vec::new(), initial: 0.0, counts: true, fixed: None });
        BufferSlot(self.buffers.len() - 1)
    }

    /// Adds numbers that follow from the sizes of the network: they get the parameters' kind and device, and belong to no
    /// file of weights.
    pub fn constant(&mut self, values: Tensor) -> Constant {
        self.constants.push(values);
        Constant(self.constants.len() - 1)
    }

    /// The rule of weight decay.
    pub fn rule(&self) -> DecayRule {
        self.grouping.decay
    }

    /// The activations of the network.
    pub fn activations(&self) -> &'a Activations {
        self.activations
    }

    /// For each parameter the factor of its learning rate: that of the last layer is 1.
    pub(crate) fn lr_scales(&self) -> Vec<f64> {
        // timm numbers the layers from 0 by what is there; the norm behind the blocks belongs to the last block.
        let last_block = self.list.iter().map(|one| one.depth).filter(|depth| *depth < Depth::LastBlock).max();
        let depth = |one: &Declaration| match (one.depth, last_block) {
            (Depth::LastBlock, Some(block)) => block,
            (depth, _) => depth,
        };
        let mut layers: Vec<Depth> = self.list.iter().map(depth).collect();
        layers.sort();
        layers.dedup();
        let scale = |one: &Declaration| {
            let layer = layers.binary_search(&depth(one)).expect("every layer is listed");
            self.grouping.layer_decay.powi((layers.len() - 1 - layer) as i32)
        };
        self.list.iter().map(scale).collect()
    }

    pub(crate) fn list(&self) -> &[Declaration] {
        &self.list
    }

    pub(crate) fn buffers(&self) -> &[BufferDeclaration] {
        &self.buffers
    }

    pub(crate) fn constants(&self) -> &[Tensor] {
        &self.constants
    }
}
