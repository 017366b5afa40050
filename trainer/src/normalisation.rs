//! What is left to do with images that come as bytes, where the model is: normalising them, and erasing rectangles.

use dataloader::augment::RandomErasing;
use dataloader::{LoaderSpec, Pixels, SKIPPED, SampleKey};
use random::Purpose;
use tch::{Device, Kind, Tensor};

use crate::memory::sent;

/// Makes of bytes the very numbers that the loader makes where it delivers floats.
#[derive(Debug)]
pub struct Normalisation {
    /// What bytes are multiplied by, and what is added to that, `(3, 1, 1)`: together `(value / 255 − mean) / std`. None where images
    /// come as floats.
    scale_and_shift: Option<[Tensor; 2]>,
    /// What is erased afterwards, and the seed of the run.
    erasing: Option<(RandomErasing, u64)>,
}

impl Normalisation {
    /// Nothing is left to do.
    pub fn none() -> Normalisation {
        Normalisation { scale_and_shift: None, erasing: None }
    }

    /// Takes over from a loader, which delivers bytes from then on: what it would do is done on `device`.
    pub fn instead_of(spec: &mut LoaderSpec, device: Device) -> Normalisation {
        let Pixels::F32 { mean, std } = std::mem::replace(&mut spec.transform.pixels, Pixels::U8) else {
            return Normalisation::none();
        };
        let of_channels = |numbers: [f32; 3]| Tensor::from_slice(&numbers).view([3, 1, 1]).to_device(device);
        let scale = of_channels(std.map(|std| 1.0 / (255.0 * std)));
        let shift = of_channels(std::array::from_fn(|channel| -mean[channel] / std[channel]));
        let erasing = spec.transform.augment.erasing.take();
        Normalisation { scale_and_shift: Some([scale, shift]), erasing: erasing.map(|erasing| (erasing, spec.seed)) }
    }

    /// Bytes `(N, H, W, 3)` as floats `(N, 3, H, W)`, those of skipped images as zeros; floats as they are.
    pub fn normalised(&self, images: Tensor, labels: &[i64], samples: &[SampleKey]) -> Tensor {
        let Some([scale, shift]) = &self.scale_and_shift else { return images };
        let (n, rows, columns, channels) = images.size4().expect("(N, H, W, 3)");
        let mut floats = Tensor::empty([n, channels, rows, columns], (Kind::Float, images.device()));
        floats.copy_(&images.permute([0, 3, 1, 2]));
        // Two operations, since one would round once and not twice.
        let _ = floats.g_mul_(scale);
        let _ = floats.g_add_(shift);
        for (place, _) in labels.iter().enumerate().filter(|&(_, &label)| label == SKIPPED) {
            let _ = floats.get(place as i64).zero_();
        }
        if let Some((erasing, seed)) = &self.erasing {
            let seen = samples.iter().enumerate().filter(|&(place, _)| labels[place] != SKIPPED);
            erase(&floats, erasing, *seed, seen);
        }
        floats
    }
}

/// Erases what the samples' keys say from `images` `(N, 3, H, W)`; what stands there afterwards goes to the device in one piece.
fn erase<'a>(
    images: &Tensor,
    erasing: &RandomErasing,
    seed: u64,
    samples: impl Iterator<Item = (usize, &'a SampleKey)>,
) {
    let side = images.size()[2] as usize;
    let (mut places, mut values) = (Vec::new(), Vec::new());
    for (image, sample) in samples {
        for patch in erasing.patches(side, sample.key(seed, Purpose::Augment)) {
            places.push((image, patch.place));
            values.extend_from_slice(&patch.values);
        }
    }
    if values.is_empty() {
        return;
    }
    let (values, mut start) = (sent(Tensor::from_slice(&values), images.device()), 0);
    for (image, place) in places {
        let [top, left, height, width] = [place.top, place.left, place.height, place.width].map(i64::from);
        let count = 3 * height * width;
        let patch = values.narrow(0, start, count).view([3, height, width]);
        images.get(image as i64).narrow(1, top, height).narrow(2, left, width).copy_(&patch);
        start += count;
    }
}

#[cfg(test)]
mod tests {
    use dataloader::{BatchMemory, LoaderStats, with_batches};

    use super::*;
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
        let memory = (0..3).map(|_| ImageMemory::new(8, 16, &spec.transform.pixels, Device::Cpu));
        let memory = memory.collect::<Result<Vec<_>, _>>().expect("memory");
        with_batches(&*dataset.train, &spec, memory, &LoaderStats::new(), |batches| {
            let mut feed = Feed::new(batches, normalisation, Device::Cpu).expect("a feed");
            let numbers = |images: &Tensor| Vec::<f32>::try_from(images.flatten(0, -1)).expect("floats");
            (0..4).map(|_| feed.next(|batch| numbers(&batch.images)).expect("a batch")).collect()
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
        let mut memory = ImageMemory::new(2, 4, &spec.transform.pixels, Device::Cpu).expect("memory");
        memory.bytes().fill(9);
        let samples = [0, 1].map(|sample| SampleKey { epoch: 0, position: sample, sample });
        let images = normalisation.normalised(memory.images(2, 4), &[3, SKIPPED], &samples);
        let sums: Vec<f64> = (0..2).map(|image| images.get(image).abs().sum(Kind::Double).double_value(&[])).collect();
        assert!(sums[0] > 0.0 && sums[1] == 0.0 && images.size() == [2, 3, 4, 4], "{sums:?}");
    }
}
