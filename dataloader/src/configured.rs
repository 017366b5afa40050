//! Turns the sections `[data]` and `[augment]` of a config into what the loader is asked for.

use plan::config::{self, Config, Interpolation, Source};

use std::path::Path;
use std::time::Duration;

use crate::{Crop, DatasetSpec, Filter, Pixels, SourceKind, StorageOptions, Transform};

impl DatasetSpec {
    /// The data set that the config names.
    pub fn configured(config: &Config) -> DatasetSpec {
        let data = &config.data;
        DatasetSpec {
            kind: match data.source {
                Source::Folder => SourceKind::Folder,
                Source::Cifar10 => SourceKind::Cifar10,
                Source::Cifar100 => SourceKind::Cifar100,
            },
            path: data.path.clone(),
            train_dir: data.train_dir.clone(),
            val_dir: data.val_dir.clone(),
            subset: data.subset,
            seed: config.seed,
            storage: StorageOptions::configured(data),
        }
    }
}

impl StorageOptions {
    fn configured(data: &config::Data) -> StorageOptions {
        const BYTES_A_GIB: f64 = (1u64 << 30) as f64;
        StorageOptions {
            cache_dir: (data.cache_dir != Path::new(config::AUTOMATIC)).then(|| data.cache_dir.clone()),
            cache_bytes: (data.cache_gib * BYTES_A_GIB) as u64,
            timeout: Duration::from_secs_f64(data.timeout_s),
            retries: data.retries,
            listing_valid: Duration::from_secs_f64(data.listing_hours * 3600.0),
            ..StorageOptions::default()
        }
    }
}

impl Transform {
    /// How the config prepares images of `size` × `size` pixels for training.
    pub fn training(config: &Config, size: u32) -> Transform {
        let augment = &config.augment;
        Transform {
            crop: match augment.crop {
                config::Crop::RandomResized => Crop::RandomResized { scale: augment.scale, ratio: augment.ratio },
                config::Crop::Resize => Crop::Center { pct: 1.0 },
            },
            flip: augment.flip,
            filter: filter(augment.interpolation),
            ..Transform::evaluation(config, size)
        }
    }

    /// How the config prepares images of `size` × `size` pixels for evaluation.
    pub fn evaluation(config: &Config, size: u32) -> Transform {
        let config::Augment { eval_crop_pct, eval_interpolation, mean, std, .. } = config.augment;
        Transform {
            size,
            crop: Crop::Center { pct: eval_crop_pct },
            flip: 0.0,
            filter: filter(eval_interpolation),
            pixels: Pixels::F32 { mean: mean.map(|value| value as f32), std: std.map(|value| value as f32) },
        }
    }
}

fn filter(interpolation: Interpolation) -> Filter {
    match interpolation {
        Interpolation::Bilinear => Filter::Bilinear,
        Interpolation::Bicubic => Filter::Bicubic,
    }
}
