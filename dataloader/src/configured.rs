//! Turns the sections `[data]` and `[augment]` of a config into what the loader is asked for.

use plan::config::{self, Config, Interpolation, Source};

use crate::{BadPolicy, Crop, DatasetSpec, Decode, Filter, Order, Pixels, SourceKind, Transform};

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

impl Order {
    /// The order that the config asks for in training.
    pub fn configured(config: &Config) -> Order {
        match config.data.order {
            config::Order::Shuffle => Order::Shuffled,
            config::Order::Window => Order::Windowed { shards: config.data.window_shards as u64 },
            config::Order::Balanced => Order::Balanced,
        }
    }
}

impl BadPolicy {
    /// What the config makes of bad training images.
    pub fn training(config: &Config) -> BadPolicy {
        match config.data.bad {
            config::Bad::Replace => BadPolicy::Replace,
            config::Bad::Skip => BadPolicy::Skip,
            config::Bad::Fail => BadPolicy::Fail,
        }
    }

    /// What the config makes of bad images of an evaluation: one that is replaced would count another one twice, so they
    /// are left out.
    pub fn evaluation(config: &Config) -> BadPolicy {
        match BadPolicy::training(config) {
            BadPolicy::Replace | BadPolicy::Skip => BadPolicy::Skip,
            BadPolicy::Fail => BadPolicy::Fail,
        }
    }
}

impl Decode {
    /// How much of a JPEG the config wants to be looked at.
    pub fn configured(config: &Config) -> Decode {
        match config.data.decode {
            config::Decode::Region => Decode::Region,
            config::Decode::Strict => Decode::Strict,
        }
    }
}

fn filter(interpolation: Interpolation) -> Filter {
    match interpolation {
        Interpolation::Bilinear => Filter::Bilinear,
        Interpolation::Bicubic => Filter::Bicubic,
    }
}
