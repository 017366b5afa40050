//! What parameters a network has, said once while it is put together, before any memory is taken.

use plan::config::DecayRule;

use crate::initial::Initial;

/// The place of a parameter among those of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0
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
}

impl Declaration {
    /// How many elements it has.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }
}

/// All parameters of a network, in the order in which they are declared.
pub struct Declarations {
    rule: DecayRule,
    list: Vec<Declaration>,
}

impl Declarations {
    /// None yet; `rule` says which will decay.
    pub fn new(rule: DecayRule) -> Declarations {
        Declarations { rule, list: Vec::new() }
    }

    /// Adds a weight, a bias or a scale.
    pub fn weight(&mut self, name: String, shape: &[i64], initial: Initial) -> Slot {
        self.add(name, shape, initial, Role::Weight)
    }

    /// Adds a parameter of any role.
    pub fn add(&mut self, name: String, shape: &[i64], initial: Initial, role: Role) -> Slot {
        let weight_decay = match (self.rule, role) {
            (_, Role::Activation { decays }) => decays,
            (DecayRule::All, _) => true,
            // timm's param_groups_weight_decay: 1-D tensors and `no_weight_decay()` are left out.
            (DecayRule::Matrices, role) => role == Role::Weight && shape.len() > 1,
        };
        self.list.push(Declaration { name, shape: shape.to_vec(), initial, weight_decay });
        Slot(self.list.len() - 1)
    }

    /// The rule that was given.
    pub fn rule(&self) -> DecayRule {
        self.rule
    }

    pub(crate) fn list(&self) -> &[Declaration] {
        &self.list
    }
}
