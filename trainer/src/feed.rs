//! From the loader's memory to the device: the next micro-batch travels while the device computes with this one.

use dataloader::{Batches, DataError, Lease};
use kernels::cuda::{SideStream, is_used_here};
use tch::{Device, Tensor};

use crate::classification::ImageBatch;
use crate::failure::Failure;
use crate::memory::ImageMemory;
use crate::normalisation::{BatchImages, Normalisation};
use crate::step::MicroBatches;

/// The micro-batches of this rank on its device.
pub struct Feed<'a, 'b> {
    batches: &'a mut Batches<'b, ImageMemory>,
    /// What is left to do with images that come as bytes, before a model reads them.
    normalisation: Normalisation,
    to: Destination,
}

enum Destination {
    /// Images are used where the loader left them; bytes too, where tests ask for them.
    Host,
    Device {
        device: Device,
        stream: SideStream,
        /// What travels, or has arrived and is not used yet.
        next: Option<Travelling>,
    },
}

struct Travelling {
    images: BatchImages,
    /// The memory that is read meanwhile: it must not go back to the loader before the copy is done.
    lease: Lease<ImageMemory>,
}

impl<'a, 'b> Feed<'a, 'b> {
    /// Hands out `batches` on `device`, where `normalisation` is, too. Bytes are handed out as they
    /// are: a task prepares them, in one pass.
    ///
    /// # Errors
    /// When the device gives no stream.
    pub fn new(
        batches: &'a mut Batches<'b, ImageMemory>,
        normalisation: Normalisation,
        device: Device,
    ) -> Result<Feed<'a, 'b>, Failure> {
        let to = match device {
            Device::Cuda(index) => Destination::Device { device, stream: SideStream::new(index)?, next: None },
            _ => Destination::Host,
        };
        Ok(Feed { batches, normalisation, to })
    }
}

impl Feed<'_, '_> {
    /// As [`MicroBatches::next`]; `None` when the loader has come to its end.
    ///
    /// # Errors
    /// When the loader gives up.
    pub fn next_if_any<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<Option<T>, Failure> {
        self.prepare()?;
        let Destination::Device { stream, next, .. } = &mut self.to else {
            let Some(lease) = self.batches.next()? else { return Ok(None) };
            let images = left_in(&lease, &self.normalisation);
            return Ok(Some(work(&ImageBatch { images, labels: lease.labels(), samples: lease.samples() })));
        };
        let Some(Travelling { images, lease }) = next.take() else { return Ok(None) };
        // The device waits for the copy, the host does not; the memory goes back when the copy is surely done, below.
        stream.wait_for();
        images.tensors().for_each(is_used_here);
        let done = work(&ImageBatch { images, labels: lease.labels(), samples: lease.samples() });
        stream.synchronise()?;
        drop(lease);
        Ok(Some(done))
    }
}

impl MicroBatches for Feed<'_, '_> {
    fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure> {
        Ok(self.next_if_any(work)?.ok_or(DataError::Stopped)?)
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        let Destination::Device { device, stream, next } = &mut self.to else { return Ok(()) };
        if next.is_some() {
            return Ok(());
        }
        let Some(lease) = self.batches.next()? else { return Ok(()) };
        let send = |tensor: &Tensor| tensor.internal_to_copy((tensor.kind(), *device), true);
        let images = stream.run_beside(|| left_in(&lease, &self.normalisation).map(send));
        *next = Some(Travelling { images, lease });
        Ok(())
    }
}

/// The images as the loader left them.
fn left_in(lease: &Lease<ImageMemory>, normalisation: &Normalisation) -> BatchImages {
    normalisation.images(lease.images(lease.len(), lease.size()), lease.erasures(lease.len()))
}
