//! Optimisers over the flat parameter groups: what each can do, and which one a config asks for.

mod adamw;
mod lamb;
mod lion;
mod muon;
mod sgd;

use models::{Group, Parameters};
use plan::config::OptimizerName;
use tch::Tensor;

use crate::data_parallel::Slice;
use crate::numbers::Numbers;

pub use adamw::AdamW;
pub use lamb::Lamb;
pub use lion::Lion;
pub use muon::Muon;
pub use sgd::Sgd;

/// An update rule and what it remembers.
pub trait Optimizer {
    /// What it updates.
    fn slices(&self) -> &[Slice];

    /// Takes a step from the gradients that lie in the groups. What changes from step to step, it has from `numbers` alone.
    fn step(&mut self, parameters: &Parameters, numbers: &Numbers);

    /// What it remembers, as `(prefix of the names in a checkpoint, one buffer a slice)`: the very memory, so that a checkpoint
    /// can be written into it.
    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)>;
}

/// The optimiser of a config for `parameters`, of which it updates `slices`; it has taken no step.
///
/// # Panics
/// When an optimiser that looks at whole tensors (LAMB, Muon) is given less than all: configs are refused that would.
pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> Box<dyn Optimizer> {
    match config.name {
        OptimizerName::Sgd => Box::new(Sgd::new(config, parameters, slices)),
        OptimizerName::AdamW => Box::new(AdamW::new(config, parameters, slices)),
        OptimizerName::Lamb => Box::new(Lamb::new(config, parameters, slices)),
        OptimizerName::Lion => Box::new(Lion::new(config, parameters, slices)),
        OptimizerName::Muon => Box::new(Muon::new(config, parameters, slices)),
    }
}

/// Memory laid out as the values of every slice, of zeros.
fn zeros(parameters: &Parameters, slices: &[Slice]) -> Vec<Tensor> {
    slices.iter().map(|slice| slice.of(&parameters.groups()[slice.group].values).zeros_like()).collect()
}

/// Handles of the same memory.
fn handles(buffers: &[Tensor]) -> Vec<Tensor> {
    buffers.iter().map(Tensor::shallow_clone).collect()
}

/// The learning rate of a group, a scalar.
fn rate_of(group: &Group, numbers: &Numbers) -> Tensor {
    numbers.rate() * group.lr_scale
}

/// Weight decay apart from the gradient (Loshchilov & Hutter, 2019): shrinks the values of a group that decays by `amount`, a scalar.
fn decay(group: &Group, values: &mut Tensor, amount: &Tensor) {
    if group.weight_decay {
        let _ = values.g_mul_(&(1.0 - amount));
    }
}

/// What the moments of Adam are divided by after `step` steps, since they began at zero: 1 − β^step, a scalar.
fn bias_correction(beta: f64, step: &Tensor) -> Tensor {
    1.0 - Tensor::pow_scalar(beta, step)
}
