//! Named tensors in the safetensors format, and back.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Kind, Tensor};

use crate::error::ModelError;

/// The bytes of a safetensors file that holds `named`.
///
/// # Errors
/// [`ModelError::ElementType`] for elements other than floating-point ones and i64, [`ModelError::Torch`] when a copy to the host
/// fails.
pub fn to_safetensors(named: &[(String, Tensor)]) -> Result<Vec<u8>, ModelError> {
    let mut host = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
        host.push((name, element_type(name, tensor.kind())?, shape, bytes));
    }
    let views =
        host.iter().map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    Ok(safetensors::serialize(views.collect::<Result<Vec<_>, ModelError>>()?, None)?)
}

/// The tensors of a safetensors file, on the host, in the order of their names.
///
/// # Errors
/// [`ModelError::Format`] when the bytes are no such file, [`ModelError::ElementType`] for elements that are neither
/// floating-point nor i64.
pub fn from_safetensors(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, ModelError> {
    let mut named = Vec::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
        let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind(name, view.dtype())?)?;
        named.push((name.to_owned(), tensor));
    }
    named.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(named)
}

pub(crate) fn element_type(name: &str, kind: Kind) -> Result<Dtype, ModelError> {
    match kind {
        Kind::Half => Ok(Dtype::F16),
        Kind::BFloat16 => Ok(Dtype::BF16),
        Kind::Float => Ok(Dtype::F32),
        Kind::Double => Ok(Dtype::F64),
        Kind::Int64 => Ok(Dtype::I64),
        other => Err(ModelError::ElementType { name: name.to_owned(), found: format!("{other:?}") }),
    }
}

pub(crate) fn kind(name: &str, dtype: Dtype) -> Result<Kind, ModelError> {
    match dtype {
        Dtype::F16 => Ok(Kind::Half),
        Dtype::BF16 => Ok(Kind::BFloat16),
        Dtype::F32 => Ok(Kind::Float),
        Dtype::F64 => Ok(Kind::Double),
        Dtype::I64 => Ok(Kind::Int64),
        other => Err(ModelError::ElementType { name: name.to_owned(), found: format!("{other:?}") }),
    }
}
