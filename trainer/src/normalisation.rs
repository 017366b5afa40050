//! Images that come as bytes: what a model sees of them, made where the model is.

use dataloader::SKIPPED;
use plan::Config;
use tch::{Device, Kind, Tensor};

/// `(value / 255 − mean) / std` of each channel: the very numbers that the loader makes where it delivers floats.
#[derive(Debug)]
pub struct Normalisation {
    scale: Tensor, // (3, 1, 1)
    shift: Tensor, // (3, 1, 1)
}

impl Normalisation {
    /// That of a config, on `device`.
    pub fn configured(config: &Config, device: Device) -> Normalisation {
        Normalisation::new(config.augment.mean.map(|mean| mean as f32), config.augment.std.map(|std| std as f32), device)
    }

    /// Of means and standard deviations of red, green and blue, of values in `[0, 1]`.
    pub fn new(mean: [f32; 3], std: [f32; 3], device: Device) -> Normalisation {
        let of_channels = |numbers: [f32; 3]| Tensor::from_slice(&numbers).view([3, 1, 1]).to_device(device);
        Normalisation {
            scale: of_channels(std.map(|std| 1.0 / (255.0 * std))),
            shift: of_channels(std::array::from_fn(|channel| -mean[channel] / std[channel])),
        }
    }

    /// Bytes `(N, H, W, 3)` as floats `(N, 3, H, W)`, those of skipped images as zeros; floats as they are.
    pub fn normalised(&self, images: Tensor, labels: &[i64]) -> Tensor {
        if images.kind() != Kind::Uint8 {
            return images;
        }
        let (n, rows, columns, channels) = images.size4().expect("(N, H, W, 3)");
        let mut floats = Tensor::empty([n, channels, rows, columns], (Kind::Float, images.device()));
        floats.copy_(&images.permute([0, 3, 1, 2]));
        // Two operations, since one would round once and not twice.
        let _ = floats.g_mul_(&self.scale);
        let _ = floats.g_add_(&self.shift);
        for (place, _) in labels.iter().enumerate().filter(|&(_, &label)| label == SKIPPED) {
            let _ = floats.get(place as i64).zero_();
        }
        floats
    }
}

#[cfg(test)]
mod tests {
    use dataloader::{BatchMemory, LoaderSpec, LoaderStats, Pixels, Transform, with_batches};

    use super::*;
    use crate::feed::Feed;
    use crate::memory::ImageMemory;
    use crate::small;
    use crate::step::MicroBatches;

    /// What a feed hands out of the first micro-batches of a recipe's stream.
    fn fed(pixels: Pixels) -> Vec<Vec<f32>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
        let config = small::plan_with(&[&format!("data.path={}", folder.path().join("digits").display())]).config;
        let dataset = dataloader::open(&dataloader::DatasetSpec::configured(&config)).expect("the digits");
        let spec = LoaderSpec::training(&config, 16, 8).expect("a recipe");
        let spec = LoaderSpec { transform: Transform { pixels, ..spec.transform }, ..spec };
        let memory = (0..3).map(|_| ImageMemory::new(8, 16, &spec.transform.pixels, Device::Cpu));
        let memory = memory.collect::<Result<Vec<_>, _>>().expect("memory");
        with_batches(&*dataset.train, &spec, memory, &LoaderStats::new(), |batches| {
            let normalisation = Normalisation::configured(&config, Device::Cpu);
            let mut feed = Feed::new(batches, normalisation, Device::Cpu).expect("a feed");
            let numbers = |images: &Tensor| Vec::<f32>::try_from(images.flatten(0, -1)).expect("floats");
            (0..4).map(|_| feed.next(|batch| numbers(&batch.images)).expect("a batch")).collect()
        })
        .expect("a loader")
    }

    #[test]
    fn bytes_become_the_floats_of_the_loader_bit_for_bit() {
        let config = small::plan().config;
        let LoaderSpec { transform, .. } = LoaderSpec::training(&config, 16, 8).expect("a recipe");
        let (floats, bytes) = (fed(transform.pixels), fed(Pixels::U8));
        assert!(floats == bytes && floats.iter().flatten().any(|&x| x != 0.0));
    }

    #[test]
    fn a_skipped_image_is_zeros_however_it_comes() {
        let mut memory = ImageMemory::new(2, 4, &Pixels::U8, Device::Cpu).expect("memory");
        memory.bytes().fill(9);
        let normalisation = Normalisation::new([0.5; 3], [0.25; 3], Device::Cpu);
        let images = normalisation.normalised(memory.images(2, 4), &[3, SKIPPED]);
        let sums: Vec<f64> = (0..2).map(|image| images.get(image).abs().sum(Kind::Double).double_value(&[])).collect();
        assert!(sums[0] > 0.0 && sums[1] == 0.0 && images.size() == [2, 3, 4, 4], "{sums:?}");
    }
}
