//! What can go wrong with a model: one error for the crate.

use crate::pretrained::{Misfit, some, some_misfits};

/// Why a model cannot be built, or does not take the tensors it is given.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The spec contradicts itself.
    #[error("this model cannot be built: {reason}")]
    Spec {
        /// What is wrong.
        reason: String,
    },
    /// A parameter of the model is not among the given tensors.
    #[error("parameter {name} of shape {expected:?} is missing: the tensors are those of another model")]
    Missing {
        /// Name of the parameter.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
    },
    /// A given tensor has another shape than the parameter of its name.
    #[error("parameter {name} has shape {expected:?}, but the tensor given for it has {found:?}")]
    Shape {
        /// Name of the parameter.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
        /// The tensor's.
        found: Vec<i64>,
    },
    /// A tensor is given that no parameter of the model is named after.
    #[error("tensor {name} of shape {found:?} belongs to no parameter of this model")]
    Unexpected {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
    },
    /// Tensors of a file have other shapes than the parameters of their names.
    #[error("the weights are those of another model, or of another size of it: {}", some_misfits(.misfits))]
    Misfits {
        /// All of them.
        misfits: Vec<Misfit>,
    },
    /// No tensor of a file is named after a parameter of the model.
    #[error("the weights are those of another model: it has {}, the file {}", some(.expected), some(.found))]
    Stranger {
        /// The model's names.
        expected: Vec<String>,
        /// The file's.
        found: Vec<String>,
    },
    /// A tensor's element type is not one that a parameter can be made from.
    #[error("tensor {name} holds {found}, which no parameter can be made from: use f16, bf16, f32, f64 or i64")]
    ElementType {
        /// Name of the tensor.
        name: String,
        /// Its element type.
        found: String,
    },
    /// Bytes that should be a safetensors file are not.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// libtorch refused, for want of memory or of a device.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}
