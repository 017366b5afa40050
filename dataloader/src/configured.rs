//! Turns the sections `[data]` and `[augment]` of a config into what the loader is asked for.

use std::path::Path;
use std::time::Duration;

use plan::ConfigError;
use plan::config::{self, Config, EvalCropMode, Interpolation, Source, TrainInterpolation};

use crate::augment::{Augment, ColorJitter, EraseMode, Policy, RandomErasing, Sampling};
use crate::{
    BadPolicy, Border, Crop, DatasetSpec, Decode, Exif, Filter, LoaderSpec, MixMode, Mixing, Order, Pixels, SourceKind,
    StorageOptions, Transform,
};

impl DatasetSpec {
    /// The data set that the config names.
    pub fn configured(config: &Config) -> DatasetSpec {
        let data = &config.data;
        DatasetSpec {
            kind: data.source.into(),
            path: data.path.clone(),
            train_dir: data.train_dir.clone(),
            val_dir: data.val_dir.clone(),
            subset: data.subset,
            val_subset: data.val_subset,
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

impl From<Source> for SourceKind {
    fn from(source: Source) -> SourceKind {
        match source {
            Source::Folder => SourceKind::Folder,
            Source::Cifar10 => SourceKind::Cifar10,
            Source::Cifar100 => SourceKind::Cifar100,
            Source::Shards => SourceKind::Shards,
            Source::WebDataset => SourceKind::WebDataset,
            Source::ImageNet => SourceKind::ImageNet,
            Source::List => SourceKind::List,
        }
    }
}

impl Transform {
    /// How the config prepares images of `size` × `size` pixels for training.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when the augmentation policy is none, or the size too small for its crop.
    pub fn training(config: &Config, size: u32) -> Result<Transform, ConfigError> {
        let augment = &config.augment;
        if size <= 2 * PADDING && matches!(augment.crop, config::Crop::Simple | config::Crop::Pad) {
            let expected = format!("\"random-resized\" or \"resize\" for images of at most {} pixels", 2 * PADDING);
            return Err(config.bad_value("augment.crop", expected, format!("\"{}\"", augment.crop.name())));
        }
        Ok(Transform {
            crop: match augment.crop {
                config::Crop::RandomResized => Crop::RandomResized { scale: augment.scale, ratio: augment.ratio },
                config::Crop::Resize => Crop::Center { pct: 1.0 },
                config::Crop::Simple => Crop::Shifted { padding: PADDING, border: Border::Reflect },
                config::Crop::Pad => Crop::Shifted { padding: PADDING, border: Border::Colour([0; 3]) },
            },
            flip: augment.flip,
            filter: match augment.interpolation {
                TrainInterpolation::Bilinear => Filter::Bilinear,
                TrainInterpolation::Bicubic => Filter::Bicubic,
                TrainInterpolation::Random => Filter::Either,
            },
            augment: augmentation(config)?,
            ..Transform::evaluation(config, size)
        })
    }

    /// How the config prepares images of `size` × `size` pixels for evaluation.
    pub fn evaluation(config: &Config, size: u32) -> Transform {
        let config::Augment { eval_crop_pct: pct, eval_crop_mode, eval_interpolation, mean, std, .. } = config.augment;
        Transform {
            size,
            crop: match eval_crop_mode {
                EvalCropMode::Center => Crop::Center { pct },
                EvalCropMode::Squash => Crop::Squash { pct },
                EvalCropMode::Border => Crop::Border { pct, fill: mean_colour(config) },
            },
            flip: 0.0,
            filter: match eval_interpolation {
                Interpolation::Bilinear => Filter::Bilinear,
                Interpolation::Bicubic => Filter::Bicubic,
            },
            augment: Augment::default(),
            exif: if config.data.exif_orientation { Exif::Apply } else { Exif::Ignore },
            pixels: Pixels::F32 { mean: mean.map(|value| value as f32), std: std.map(|value| value as f32) },
        }
    }
}

impl LoaderSpec {
    /// The training stream of a config, for images of `size` × `size` pixels: of one process, from the first step on.
    ///
    /// # Errors
    /// When the config asks for an augmentation that there is not.
    pub fn training(config: &Config, size: u32, micro_batch: usize) -> Result<LoaderSpec, ConfigError> {
        Ok(LoaderSpec {
            order: Order::configured(config),
            repeats: config.augment.repeats,
            transform: Transform::training(config, size)?,
            sizes: config.augment.sizes.clone(),
            global_batch: config.train.batch_size,
            bad: BadPolicy::training(config),
            ..LoaderSpec::evaluation(config, size, micro_batch)
        })
    }

    /// The evaluation of a config, for images of `size` × `size` pixels: all of a split by one process.
    pub fn evaluation(config: &Config, size: u32, micro_batch: usize) -> LoaderSpec {
        LoaderSpec {
            seed: config.seed,
            workers: config.data.workers,
            pin_workers: config.data.pin_workers,
            readers: config.data.readers,
            decode: Decode::configured(config),
            bad: BadPolicy::evaluation(config),
            ..LoaderSpec::once(Transform::evaluation(config, size), micro_batch)
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
    /// How the config reads JPEGs.
    pub fn configured(config: &Config) -> Decode {
        match config.data.decode {
            config::Decode::Region => Decode::Region,
            config::Decode::Reduced => Decode::Reduced,
            config::Decode::Strict => Decode::Strict,
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

/// Pixels around an image that is cropped after that (DeiT III, and the usual augmentation of CIFAR).
const PADDING: u32 = 4;

fn augmentation(config: &Config) -> Result<Augment, ConfigError> {
    let augment = &config.augment;
    let sampling = match augment.interpolation {
        TrainInterpolation::Bilinear => Some(Sampling::Bilinear),
        TrainInterpolation::Bicubic => Some(Sampling::Bicubic),
        TrainInterpolation::Random => None,
    };
    let policy = Policy::parse(&augment.policy, mean_colour(config), sampling).map_err(|error| {
        let found = format!("\"{}\" ({error})", augment.policy);
        config.bad_value("augment.policy", "an augmentation policy".to_owned(), found)
    })?;
    let erasing = RandomErasing {
        count: [1, augment.erase_count as u32],
        ..RandomErasing::new(
            augment.erase,
            match augment.erase_mode {
                config::EraseMode::Const => EraseMode::Const,
                config::EraseMode::Rand => EraseMode::Rand,
                config::EraseMode::Pixel => EraseMode::Pixel,
            },
        )
    };
    Ok(Augment {
        policy,
        jitter: (augment.color_jitter > 0.0).then(|| ColorJitter::even(augment.color_jitter)),
        grayscale: augment.grayscale,
        blur: augment.blur,
        solarise: augment.solarise,
        erasing: (augment.erase > 0.0).then_some(erasing),
    })
}

/// The mean as a colour, rounded as timm does: halves to even.
fn mean_colour(config: &Config) -> [u8; 3] {
    config.augment.mean.map(|mean| (255.0 * mean).round_ties_even() as u8)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(augment: &str) -> Config {
        let text = format!("[data]\npath = \"x\"\n[model]\nname = \"vit_tiny_patch16_224\"\n[augment]\n{augment}");
        plan::parse(&text, Path::new("recipe.toml"), &[]).expect(augment)
    }

    #[test]
    fn a_recipe_becomes_what_it_says() {
        let recipe = "policy = \"rand-m9-mstd0.5-inc1\"\ncolor_jitter = 0.4\nerase = 0.25\nerase_count = 3
            interpolation = \"random\"\ncrop = \"simple\"\ngrayscale = 0.1\nblur = 0.2\nsolarise = 0.3
            eval_crop_mode = \"border\"\neval_crop_pct = 0.9";
        let recipe = config(recipe);
        let training = Transform::training(&recipe, 224).expect("a known policy");
        let Policy::Rand(policy) = &training.augment.policy else { panic!("{training:?}") };
        assert_eq!((policy.magnitude, policy.fill, policy.sampling), (9.0, [124, 116, 104], None));
        assert_eq!(training.augment.jitter, Some(ColorJitter::even(0.4)));
        assert_eq!(training.augment.probabilities().map(|(_, chance)| chance), [0.1, 0.2, 0.3, 0.25]);
        let erasing = training.augment.erasing.expect("0.25");
        assert_eq!((erasing.count, erasing.mode), ([1, 3], EraseMode::Pixel));
        assert_eq!(
            (training.filter, training.crop),
            (Filter::Either, Crop::Shifted { padding: 4, border: Border::Reflect })
        );
        let evaluation = Transform::evaluation(&recipe, 224);
        assert_eq!(evaluation.augment, Augment::default());
        assert_eq!(evaluation.crop, Crop::Border { pct: 0.9, fill: [124, 116, 104] });
        assert_eq!(Transform::training(&config(""), 224).expect("none").augment, Augment::default());
    }

    #[test]
    fn a_policy_that_is_none_is_told_with_its_line() {
        for (policy, hint) in [("rand-m9-mstd05-incr1", "nearest is inc"), ("randm9", "nearest is \"rand\"")] {
            let config = config(&format!("flip = 0.5\npolicy = \"{policy}\""));
            let error = Transform::training(&config, 224).expect_err(policy).to_string();
            assert!(error.contains("recipe.toml:7: `augment.policy`") && error.contains(hint), "{error}");
        }
    }
}
