//! A stretch of the flat buffers of one parameter group.

use std::ops::Range;

use models::{Group, Parameters};
use tch::Tensor;

/// A stretch of the values and gradients of one group, and of whatever is laid out as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Index of the group.
    pub group: usize,
    /// Its elements.
    pub range: Range<usize>,
}

impl Slice {
    /// All of every group, one slice each.
    pub fn whole_groups(parameters: &Parameters) -> Vec<Slice> {
        let whole = |(group, one): (usize, &Group)| Slice { group, range: 0..one.values.numel() };
        parameters.groups().iter().enumerate().map(whole).collect()
    }

    /// The slice of a 1-D buffer of its group: a view.
    pub fn of(&self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.range.start as i64, self.range.len() as i64)
    }

    /// Its values and its gradients: views.
    pub fn values_and_grads(&self, parameters: &Parameters) -> [Tensor; 2] {
        let group = &parameters.groups()[self.group];
        [self.of(&group.values), self.of(&group.grads)]
    }
}
