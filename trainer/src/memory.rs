//! The memory of tensors seen as plain slices, for the loader that fills it and the ranks that average it.

use collectives::Buffer;
use dataloader::augment::{Erasure, ErasureWords};
use dataloader::{BatchMemory, LoaderSpec, Pixels};
use kernels::KernelError;
use tch::{Device, Kind, Tensor};

/// Images of one micro-batch on the CPU, from the beginning of the memory on: `(N, 3, H, W)` f32,
/// or `(N, H, W, 3)` bytes and which rectangles are erased from them.
pub struct ImageMemory {
    values: Tensor,   // (N · 3 · H · W) for the largest images
    erasures: Tensor, // (N, R, 9) 32-bit words; R is 0 where the loader erases by itself
}

impl ImageMemory {
    /// Memory for `batch` images of at most `size` × `size` pixels as a loader delivers them, from which `device` reads by itself.
    ///
    /// # Errors
    /// When the system pins no more memory for a GPU.
    pub fn new(batch: usize, size: usize, pixels: &Pixels, device: Device) -> Result<ImageMemory, KernelError> {
        let kind = match pixels {
            Pixels::F32 { .. } => Kind::Float,
            Pixels::U8 => Kind::Uint8,
        };
        let values = Tensor::zeros([(batch * 3 * size * size) as i64], (kind, Device::Cpu));
        let none = Tensor::zeros([batch as i64, 0, Erasure::WORDS as i64], (Kind::Int, Device::Cpu));
        Ok(ImageMemory { values: placed(values, device)?, erasures: none })
    }

    /// Memory for a micro-batch of at most `size` × `size` pixels as the loader of `spec` delivers
    /// it, from which `device` reads by itself.
    ///
    /// # Errors
    /// When the system pins no more memory for a GPU.
    pub fn for_loader(spec: &LoaderSpec, size: usize, device: Device) -> Result<ImageMemory, KernelError> {
        let batch = spec.micro_batch.max(1);
        let shape = [batch as i64, (spec.batch_erasures() / batch) as i64, Erasure::WORDS as i64];
        let erasures = placed(Tensor::zeros(shape, (Kind::Int, Device::Cpu)), device)?;
        Ok(ImageMemory { erasures, ..ImageMemory::new(batch, size, &spec.transform.pixels, device)? })
    }

    /// Which rectangles are erased from the first `len` images, `(len, R, 9)`: a view, to be
    /// dropped before the memory goes back to the loader. None where the loader erases by itself.
    ///
    /// # Panics
    /// When the memory is smaller.
    pub fn erasures(&self, len: usize) -> Option<Tensor> {
        (self.erasures.numel() > 0).then(|| self.erasures.narrow(0, 0, len as i64))
    }

    /// The first `len` images of `size` × `size` pixels: a view, to be dropped before the memory goes back to the loader.
    ///
    /// # Panics
    /// When the memory is smaller.
    pub fn images(&self, len: usize, size: u32) -> Tensor {
        let (len, size) = (len as i64, i64::from(size));
        let shape = if self.values.kind() == Kind::Uint8 { [len, size, size, 3] } else { [len, 3, size, size] };
        self.values.narrow(0, 0, len * 3 * size * size).view(shape)
    }
}

/// A tensor in memory from which `device` reads by itself.
fn placed(tensor: Tensor, device: Device) -> Result<Tensor, KernelError> {
    if device.is_cuda() && tensor.numel() > 0 { kernels::cuda::pinned(&tensor) } else { Ok(tensor) }
}

impl BatchMemory for ImageMemory {
    fn bytes(&mut self) -> &mut [u8] {
        if self.values.kind() == Kind::Float {
            return bytemuck::cast_slice_mut(floats(&mut self.values));
        }
        // SAFETY: `numel` bytes lie at `data_ptr` of a contiguous tensor of bytes, which `new` made; the exclusive borrow keeps this
        // handle from being used meanwhile, and views of it are dropped before the memory goes back to the loader.
        unsafe { std::slice::from_raw_parts_mut(self.values.data_ptr().cast::<u8>(), self.values.numel()) }
    }

    fn erasures(&mut self) -> &mut [ErasureWords] {
        if self.erasures.numel() == 0 {
            return &mut [];
        }
        // SAFETY: as above: `numel` 32-bit words lie there, contiguous, which `for_loader` made.
        let words =
            unsafe { std::slice::from_raw_parts_mut(self.erasures.data_ptr().cast::<i32>(), self.erasures.numel()) };
        words.as_chunks_mut().0
    }
}

/// What a host has made, on `device`. A GPU copies it when its turn comes, and nobody waits for that.
///
/// # Panics
/// When the system pins no more memory.
pub fn sent(made: Tensor, device: Device) -> Tensor {
    if !device.is_cuda() {
        return made.to_device(device);
    }
    // libtorch keeps pinned memory until the copy is done.
    let pinned = kernels::cuda::pinned(&made).expect("pinned memory for a few numbers");
    pinned.internal_to_copy((pinned.kind(), device), true)
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

/// The numbers of a contiguous f32 tensor, for an exchange with other ranks. Those on a GPU are written and read on its current stream.
///
/// Between the start of the exchange and its end nobody may read or write them: that is what the callers' order of work sees
/// to, as gradients are written before an exchange starts and read when it has been waited for.
///
/// # Panics
/// When the tensor is of another kind or not contiguous.
pub fn lend(tensor: &Tensor) -> Buffer {
    if let Device::Cuda(index) = tensor.device() {
        assert!(tensor.kind() == Kind::Float && tensor.is_contiguous());
        let stream = kernels::cuda::current_stream(index);
        // SAFETY: as below; the model keeps the memory for the run, libtorch its streams for the process, and what reads the numbers
        // next does so on this stream.
        return unsafe { Buffer::on_device(tensor.data_ptr() as u64, tensor.numel(), stream) };
    }
    let mut tensor = tensor.shallow_clone();
    let numbers = floats(&mut tensor);
    // SAFETY: the numbers are valid for as long as the tensor's memory is, which the caller's model keeps for the run, and nobody
    // else reads or writes them meanwhile, as said above.
    unsafe { Buffer::from_raw_f32(numbers.as_mut_ptr(), numbers.len()) }
}
