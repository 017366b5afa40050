//! What a step's update is given anew each time, where the device can read it.

use tch::{Device, Tensor};

use crate::memory::sent;
use crate::replay::Operands;

/// The numbers of a step that differ from those of the one before: scalars of f64 on the device of the parameters.
///
/// An update reads nothing else that changes but parameters, gradients and its own memory, and waits for none of them, so that it can be
/// written down once as a CUDA graph. On a CPU arithmetic with such scalars is that with numbers, to the bit.
#[derive(Debug)]
pub struct Numbers {
    all: Tensor, // rate, step
}

impl Numbers {
    /// Of the step that follows `finished_steps` steps.
    pub fn new(learning_rate: f64, finished_steps: u64, device: Device) -> Numbers {
        Numbers { all: sent(Tensor::from_slice(&[learning_rate, (finished_steps + 1) as f64]), device) }
    }

    /// The learning rate, before a group's own factor.
    pub fn rate(&self) -> Tensor {
        self.all.get(0)
    }

    /// The number of the step, from 1.
    pub fn step(&self) -> Tensor {
        self.all.get(1)
    }
}

impl Operands for Numbers {
    fn tensors(&self) -> Vec<&Tensor> {
        vec![&self.all]
    }

    fn copy(&self) -> Numbers {
        Numbers { all: self.all.copy() }
    }
}
