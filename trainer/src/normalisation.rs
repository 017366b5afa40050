//! Images as they come from the loader, floats or bytes, and what is left to do with bytes:
//! normalizing, erasing, mixing, cutting into patches.

use std::rc::Rc;

use dataloader::augment::{EraseMode, Erasure, ErasureWords, half_normal};
use dataloader::{LoaderSpec, Pixels, SKIPPED};
use kernels::input::{self, Erasing, Fill, Input, Mixing};
use models::{ImageForm, Images};
use tch::{Device, Kind, Tensor};

use crate::mixing::Mixes;

/// Makes of bytes the very numbers that the loader makes where it delivers floats. Clones share
/// what is on the device.
#[derive(Clone, Debug)]
pub struct Normalisation(Option<Rc<Constants>>);

/// What is the same for all images of a run.
#[derive(Debug)]
struct Constants {
    /// What bytes of each channel are multiplied by, and what is added to that: together `(value /
    /// 255 − mean) / std`.
    scale: [f32; 3],
    shift: [f32; 3],
    /// What stands in erased rectangles, and `(4096)` sizes of normal numbers. None where nothing
    /// is erased.
    erasing: Option<(EraseMode, Tensor)>,
}

impl Normalisation {
    /// Nothing is left to do.
    pub fn none() -> Normalisation {
        Normalisation(None)
    }

    /// Takes over from a loader, which delivers bytes from then on, and beside them which
    /// rectangles are erased: what it would do is done on `device`.
    pub fn instead_of(spec: &mut LoaderSpec, device: Device) -> Normalisation {
        let Pixels::F32 { mean, std } = std::mem::replace(&mut spec.transform.pixels, Pixels::U8) else {
            return Normalisation::none();
        };
        let erasing = spec.transform.augment.erasing;
        Normalisation(Some(Rc::new(Constants {
            // As the loader has them, to the bit.
            scale: std.map(|std| 1.0 / (255.0 * std)),
            shift: std::array::from_fn(|channel| -mean[channel] / std[channel]),
            erasing: erasing.map(|erasing| (erasing.mode, Tensor::from_slice(half_normal()).to_device(device))),
        })))
    }

    /// Images as a loader left them, on the device where they are used: floats `(N, 3, H, W)`, or
    /// bytes `(N, H, W, 3)` and which rectangles are erased from them, `(N, R, 9)`.
    ///
    /// # Panics
    /// When there are bytes and nothing is known of normalizing them.
    pub fn images(&self, values: Tensor, erasures: Option<Tensor>) -> BatchImages {
        if values.kind() != Kind::Uint8 {
            return BatchImages::Floats(values);
        }
        let constants = Rc::clone(self.0.as_ref().expect("bytes come from a loader that leaves them to be normalized"));
        BatchImages::Bytes(ByteImages { bytes: values, erasures, constants })
    }
}

/// Images of a micro-batch as they came from the loader.
#[derive(Debug)]
pub enum BatchImages {
    /// `(N, 3, H, W)`, normalized and erased from.
    Floats(Tensor),
    /// With which that is still to be done.
    Bytes(ByteImages),
}

/// Images of a micro-batch as bytes.
///
/// A CUDA graph has the bytes and the rectangles among its operands, and prepares them by itself.
/// For a micro-batch of 256 images of 224 × 224 pixels that copies 39 MB of bytes and, where one
/// rectangle an image may be erased, 9 kB of rectangles into the graph's memory. Were the kernel to
/// run before the graph, 77 MB of bf16 patches would be copied (twice that in f32), or written to
/// memory that the step before may still read. The values in the rectangles are no operand: at
/// worst they take more memory than the bytes, 51 MB, and the kernel computes them from keys.
#[derive(Debug)]
pub struct ByteImages {
    /// `(N, H, W, 3)`.
    bytes: Tensor,
    /// `(N, R, 9)`: the words of up to R [`Erasure`]s an image.
    erasures: Option<Tensor>,
    constants: Rc<Constants>,
}

impl From<Tensor> for BatchImages {
    /// `(N, 3, H, W)` floats.
    fn from(floats: Tensor) -> BatchImages {
        BatchImages::Floats(floats)
    }
}

impl BatchImages {
    /// What differs from step to step, in one order.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let (values, erasures) = match self {
            BatchImages::Floats(images) => (images, None),
            BatchImages::Bytes(ByteImages { bytes, erasures, .. }) => (bytes, erasures.as_ref()),
        };
        [values].into_iter().chain(erasures)
    }

    /// The same, each tensor replaced by what `change` makes of it.
    #[must_use]
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> BatchImages {
        match self {
            BatchImages::Floats(images) => BatchImages::Floats(change(images)),
            BatchImages::Bytes(ByteImages { bytes, erasures, constants }) => BatchImages::Bytes(ByteImages {
                bytes: change(bytes),
                erasures: erasures.as_ref().map(change),
                constants: Rc::clone(constants),
            }),
        }
    }

    /// Rows and columns.
    pub fn size(&self) -> u32 {
        let images = self.tensors().next().expect("there are images");
        images.size()[2] as u32
    }

    /// The form in which a model that wants `wanted` gets them: floats stay whole, and the model
    /// cuts them up.
    pub fn form(&self, wanted: ImageForm) -> ImageForm {
        match self {
            BatchImages::Floats(images) => ImageForm { patch: None, kind: images.kind() },
            BatchImages::Bytes(_) => wanted,
        }
    }

    /// The images for a model that wants `form`, mixed as `mixes` says; those whose label in
    /// `labels`, `(N)` on their device, is [`SKIPPED`] are zeros before that.
    ///
    /// # Panics
    /// When shapes or devices do not fit, or `form` has patches that do not cut up the images.
    pub fn prepared(&self, form: ImageForm, labels: &Tensor, mixes: Option<&Mixes>) -> Images {
        match self {
            BatchImages::Floats(images) => mixes.map_or_else(|| images.into(), |mixes| (&mixes.images(images)).into()),
            BatchImages::Bytes(images) => images.prepared(form, labels, mixes),
        }
    }

    /// The images as floats `(N, 3, H, W)`, normalized and erased from.
    ///
    /// # Panics
    /// As [`BatchImages::prepared`].
    pub fn floats(&self, labels: &Tensor) -> Tensor {
        let form = ImageForm { patch: None, kind: Kind::Float };
        self.prepared(self.form(form), labels, None).whole().shallow_clone()
    }
}

impl ByteImages {
    fn prepared(&self, form: ImageForm, labels: &Tensor, mixes: Option<&Mixes>) -> Images {
        if input::has_kernel(&self.bytes) {
            return self.by_kernel(form, labels, mixes);
        }
        let floats = self.by_operations(labels);
        let mixed = mixes.map_or_else(|| floats.shallow_clone(), |mixes| mixes.images(&floats));
        (&mixed.to_kind(form.kind)).into()
    }

    /// One pass over the bytes.
    fn by_kernel(&self, form: ImageForm, labels: &Tensor, mixes: Option<&Mixes>) -> Images {
        let ByteImages { bytes, erasures, constants } = self;
        let erasing = erasures.as_ref().zip(constants.erasing.as_ref());
        let erasing = erasing.map(|(rectangles, (mode, half_normal))| Erasing {
            rectangles,
            fill: match mode {
                EraseMode::Const => Fill::Zero,
                EraseMode::Rand => Fill::Color,
                EraseMode::Pixel => Fill::Noise,
            },
            half_normal,
        });
        let mixing = mixes.map(|Mixes { partners, own, boxes, .. }| Mixing { partners, own, boxes: boxes.as_ref() });
        let input = Input { bytes, labels, scale: constants.scale, shift: constants.shift, erasing, mixing };
        match form.patch {
            Some(side) => {
                let patches = input.patches(side, form.kind).expect("bytes that patches cut up");
                let size = bytes.size();
                Images::in_patches(patches, [size[1] / side, size[2] / side])
            }
            None => (&input.whole(form.kind).expect("bytes as the loader delivers them")).into(),
        }
    }

    /// Floats `(N, 3, H, W)` by libtorch's operations and rectangles that the host writes out:
    /// where there is no kernel.
    fn by_operations(&self, labels: &Tensor) -> Tensor {
        let ByteImages { bytes, erasures, constants } = self;
        let of_channels = |numbers: &[f32; 3]| Tensor::from_slice(numbers).view([3, 1, 1]).to_device(bytes.device());
        let mut floats = bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float).contiguous();
        // Two operations, since one would round once and not twice.
        let _ = floats.g_mul_(&of_channels(&constants.scale));
        let _ = floats.g_add_(&of_channels(&constants.shift));
        let left_out = labels.eq(SKIPPED).view([-1, 1, 1, 1]);
        let _ = floats.masked_fill_(&left_out, 0.0);
        if let (Some(erasures), Some((mode, _))) = (erasures, &constants.erasing) {
            erase(&floats, erasures, *mode);
        }
        floats
    }
}

/// Erases what `erasures` `(N, R, 9)` say from `images` `(N, 3, H, W)`.
fn erase(images: &Tensor, erasures: &Tensor, mode: EraseMode) {
    let words = Vec::<i32>::try_from(erasures.flatten(0, -1)).expect("32-bit words");
    let most = erasures.size()[1] as usize;
    let records: &[ErasureWords] = words.as_chunks().0;
    for (image, records) in records.chunks(most.max(1)).enumerate() {
        for erasure in records.iter().map_while(Erasure::of_words) {
            let [top, left, height, width] = erasure.place.map(i64::from);
            let values = Tensor::from_slice(&erasure.values(mode)).view([3, height, width]);
            let place = images.get(image as i64).narrow(1, top, height).narrow(2, left, width);
            place.shallow_clone().copy_(&values.to_device(images.device()));
        }
    }
}

#[cfg(test)]
mod tests {
    use dataloader::{LoaderStats, with_batches};

    use super::*;
    use crate::classification::ImageBatch;
    use crate::feed::Feed;
    use crate::memory::ImageMemory;
    use crate::small;
    use crate::step::MicroBatches;

    /// What a feed hands out of the first micro-batches of a recipe's stream, which the loader or a device has normalised.
    fn fed(augment: &[&str], by_device: bool) -> Vec<Vec<f32>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
        let path = format!("data.path={}", folder.path().join("digits").display());
        let config = small::plan_with(&[&[path.as_str()], augment].concat()).config;
        let dataset = dataloader::open(&dataloader::DatasetSpec::configured(&config)).expect("the digits");
        let mut spec = LoaderSpec::training(&config, 16, 8).expect("a recipe");
        let normalisation =
            if by_device { Normalisation::instead_of(&mut spec, Device::Cpu) } else { Normalisation::none() };
        assert_eq!(spec.transform.pixels == Pixels::U8, by_device);
        let memory = (0..3).map(|_| ImageMemory::for_loader(&spec, 16, Device::Cpu));
        let memory = memory.collect::<Result<Vec<_>, _>>().expect("memory");
        with_batches(&*dataset.train, &spec, memory, &LoaderStats::new(), |batches| {
            let mut feed = Feed::new(batches, normalisation, Device::Cpu).expect("a feed");
            let numbers = |batch: &ImageBatch<'_>| {
                let floats = batch.images.floats(&Tensor::from_slice(batch.labels));
                Vec::<f32>::try_from(floats.flatten(0, -1)).expect("floats")
            };
            (0..4).map(|_| feed.next(numbers).expect("a batch")).collect()
        })
        .expect("a loader")
    }

    #[test]
    fn bytes_become_the_floats_of_the_loader_bit_for_bit() {
        let erased = |mode: &str, by_device: bool| {
            let mode = format!("augment.erase_mode={mode}");
            fed(&["augment.erase=0.7", "augment.erase_count=3", &mode], by_device)
        };
        let whole = fed(&[], false);
        assert!(whole == fed(&[], true) && whole.iter().flatten().any(|&x| x != 0.0));
        for mode in ["pixel", "rand", "const"] {
            let floats = erased(mode, false);
            assert!(floats == erased(mode, true) && floats != whole, "{mode}");
        }
    }

    #[test]
    fn a_skipped_image_is_zeros_however_it_comes() {
        let config = small::plan_with(&["augment.erase=1.0"]).config;
        let mut spec = LoaderSpec::training(&config, 4, 2).expect("a recipe");
        let normalisation = Normalisation::instead_of(&mut spec, Device::Cpu);
        let bytes = Tensor::full([2, 4, 4, 3], 9, (Kind::Uint8, Device::Cpu));
        let none = Tensor::zeros([2, 1, Erasure::WORDS as i64], (Kind::Int, Device::Cpu));
        let images = normalisation.images(bytes, Some(none)).floats(&Tensor::from_slice(&[3, SKIPPED]));
        let sums: Vec<f64> = (0..2).map(|image| images.get(image).abs().sum(Kind::Double).double_value(&[])).collect();
        assert!(sums[0] > 0.0 && sums[1] == 0.0 && images.size() == [2, 3, 4, 4], "{sums:?}");
    }
}
