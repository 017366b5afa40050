//! Turns the sections `[data]` and `[augment]` of a config into what the loader is asked for.

use plan::config::{self, Config, Interpolation, Source};

use crate::{Crop, DatasetSpec, Filter, MixMode, Mixing, Pixels, SourceKind, Transform};

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

impl Mixing {
    /// How the config mixes training samples; `None` where it never does.
    pub fn configured(config: &Config) -> Option<Mixing> {
        let augment = &config.augment;
        augment.mixes().then_some(Mixing {
            seed: config.seed,
            mixup_alpha: augment.mixup,
            cutmix_alpha: augment.cutmix,
            cutmix_minmax: augment.cutmix_minmax,
            probability: augment.mix_prob,
            switch_probability: augment.mix_switch_prob,
            mode: match augment.mix_mode {
                config::MixMode::Batch => MixMode::Batch,
                config::MixMode::Pair => MixMode::Pair,
                config::MixMode::Elem => MixMode::Elem,
            },
            group: augment.mix_group,
        })
    }
}

fn filter(interpolation: Interpolation) -> Filter {
    match interpolation {
        Interpolation::Bilinear => Filter::Bilinear,
        Interpolation::Bicubic => Filter::Bicubic,
    }
}
