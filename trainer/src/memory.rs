//! The memory of tensors seen as plain slices, for the loader that fills it and the ranks that average it.

use dataloader::BatchMemory;
use tch::{Device, Kind, Tensor};

/// Images of one micro-batch, `(N, 3, H, W)` f32 on the CPU, seen by the loader as bytes.
pub struct ImageMemory {
    images: Tensor,
}

impl ImageMemory {
    /// Memory for `batch` images of `size` × `size` pixels.
    pub fn new(batch: usize, size: usize) -> ImageMemory {
        let shape = [batch as i64, 3, size as i64, size as i64];
        ImageMemory { images: Tensor::zeros(shape, (Kind::Float, Device::Cpu)) }
    }

    /// The first `len` images, `(len, 3, H, W)`: a view, to be dropped before the memory goes back to the loader.
    pub fn images(&self, len: usize) -> Tensor {
        self.images.narrow(0, 0, len as i64)
    }
}

impl BatchMemory for ImageMemory {
    fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(floats(&mut self.images))
    }
}

/// The numbers of a contiguous f32 tensor on the CPU, in place.
///
/// # Panics
/// When the tensor is of another kind, on another device, or not contiguous.
pub fn floats(tensor: &mut Tensor) -> &mut [f32] {
    assert!(tensor.kind() == Kind::Float && tensor.device() == Device::Cpu && tensor.is_contiguous());
    // SAFETY: checked above: `numel` consecutive f32 lie at `data_ptr`. The exclusive borrow keeps this handle from being
    // used meanwhile; callers hold no other view that they read or write during it.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) }
}
