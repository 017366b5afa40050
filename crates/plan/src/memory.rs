//! What a rank needs of memory: exactly where sizes decide, an estimate where the backward pass does.

use activations::Activation;

use crate::config::OptimizerName;
use crate::models::{Function, ModelSpec};
use crate::resolve::Plan;

/// Bytes of a number: everything is f32.
const NUMBER: u64 = 4;

/// Bytes that one rank holds while it trains, on the device that trains.
///
/// Left out: the program and its libraries, what libraries keep to work in (CUDA's context among it), images that wait in
/// the loader, and memory that an allocator holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The values of the parameters.
    pub values: u64,
    /// Their gradients.
    pub gradients: u64,
    /// What the optimiser remembers.
    pub optimizer: u64,
    /// The moving average of the values.
    pub average: u64,
    /// The teacher's parameters.
    pub teacher: u64,
    /// What the forward pass of a micro-batch keeps for the backward pass: an estimate, by the activation of most layers.
    pub kept: u64,
}

impl Memory {
    /// What `plan` needs on each rank.
    pub fn of(plan: &Plan) -> Memory {
        let values = NUMBER * plan.model.parameters();
        let buffers = match plan.config.optimizer.name {
            OptimizerName::Sgd | OptimizerName::Lion => 1,
            OptimizerName::AdamW | OptimizerName::Lamb | OptimizerName::Muon => 2,
        };
        Memory {
            values,
            gradients: values,
            optimizer: buffers * values,
            average: if plan.config.ema.decay > 0.0 { values } else { 0 },
            teacher: plan.teacher.as_ref().map_or(0, |teacher| NUMBER * teacher.parameters()),
            kept: NUMBER * plan.micro_batch as u64 * kept_of_one_image(&plan.model, plan.config.train.recompute),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.values + self.gradients + self.optimizer + self.average + self.teacher + self.kept
    }
}

/// Numbers that the forward pass of one image keeps for the backward pass.
fn kept_of_one_image(model: &ModelSpec, recompute: bool) -> u64 {
    let (family, shape) = (model.architecture.family(), model.shape());
    let recomputed = if recompute { family.kept_when_recomputed(shape) } else { None };
    let kept = recomputed.unwrap_or_else(|| family.kept_for_backward(shape));
    kept.elsewhere + kept.activated * copies(&model.activations.default.function)
}

/// How many tensors of its input's size an activation keeps besides its output, which is what follows that keeps it: its
/// input, whatever the function.
fn copies(function: &Function) -> u64 {
    u64::from(*function != Function::Formula(Activation::Identity))
}
