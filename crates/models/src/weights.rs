//! A file of weights: named tensors in safetensors' format, with a few words about them in its header.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{SafeTensors, TensorView};
use tch::{Kind, Tensor};

use crate::error::ModelError;
use crate::exchange::{element_type, kind};
use crate::pretrained::COUNTER;

/// Named tensors, and what the file says of them.
#[derive(Debug, Default)]
pub struct Weights {
    /// The tensors, on the host.
    pub tensors: Vec<(String, Tensor)>,
    /// What stands in the header under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

impl Weights {
    /// Reads the bytes of a file. Counters of batches, which PyTorch keeps beside BatchNorm's statistics and nobody reads, are
    /// left out.
    ///
    /// # Errors
    /// [`ModelError::Format`] when the bytes are no such file, [`ModelError::ElementType`] for other elements that are not
    /// floating-point.
    pub fn parse(bytes: &[u8]) -> Result<Weights, ModelError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut tensors = Vec::new();
        for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
            if name.ends_with(COUNTER) {
                continue;
            }
            let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
            tensors.push((name.to_owned(), Tensor::f_from_data_size(view.data(), &shape, kind(name, view.dtype())?)?));
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Weights { tensors, metadata })
    }

    /// The bytes of a file that holds all this, the tensors in f32.
    ///
    /// Two calls give the same bytes where there is at most one entry of metadata: the format does not fix their order.
    ///
    /// # Errors
    /// [`ModelError::Torch`] when a copy to the host fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let mut host = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let tensor = tensor.f_to_kind(Kind::Float)?;
            let mut bytes = vec![0; tensor.numel() * Kind::Float.elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
            let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
            host.push((name, element_type(name, Kind::Float)?, shape, bytes));
        }
        let views =
            host.iter().map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)));
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        let metadata = (!metadata.is_empty()).then_some(metadata);
        Ok(safetensors::serialize(views.collect::<Result<Vec<_>, ModelError>>()?, metadata)?)
    }

    /// The outputs of the classifier, by timm's names for it; `None` where there is none.
    pub fn num_classes(&self) -> Option<usize> {
        let head = ["head.weight", "head.fc.weight", "fc.weight"]
            .iter()
            .find_map(|head| self.tensors.iter().find(|(name, _)| name == head))?;
        Some(*head.1.size().first()? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_counters_are_left_out() {
        let named = |name: &str, values: &[f32]| (name.to_owned(), Tensor::from_slice(values));
        let metadata = BTreeMap::from([("rectify".to_owned(), "{\"é\":1}".to_owned())]);
        let tensors = vec![named("fc.weight", &[1.0, 2.5]), named("bn1.num_batches_tracked", &[3.0])];
        let bytes = Weights { tensors, metadata: metadata.clone() }.to_bytes().expect("bytes");
        let read = Weights::parse(&bytes).expect("a file");
        assert_eq!(read.metadata, metadata);
        assert_eq!(read.num_classes(), Some(2));
        let [(name, tensor)] = read.tensors.as_slice() else { panic!("{read:?}") };
        assert_eq!((name.as_str(), Vec::<f32>::try_from(tensor).expect("numbers")), ("fc.weight", vec![1.0, 2.5]));
        assert!(Weights::parse(&bytes[..20]).is_err() && Weights::parse(b"").is_err());
    }
}
