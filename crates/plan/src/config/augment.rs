//! `[augment]`: how an image becomes an input, in training and in evaluation.

use crate::schema::{Kind, NumberOrder, choice, section};

choice! {
    /// How a training image is brought to the size of the model.
    pub enum Crop {
        /// A random part of it, resized: torchvision's `RandomResizedCrop`.
        RandomResized = "random-resized",
        /// The whole of it, resized.
        Resize = "resize",
    }
}

choice! {
    /// How pixels are interpolated, with antialiasing as in Pillow.
    pub enum Interpolation {
        /// A triangle filter.
        Bilinear = "bilinear",
        /// A cubic filter with a = −0.5.
        Bicubic = "bicubic",
    }
}

choice! {
    /// What shares one choice between mixup and CutMix, and one weight.
    pub enum MixMode {
        /// A group of `mix_group` samples.
        Batch = "batch",
        /// A sample and its partner.
        Pair = "pair",
        /// Nothing: each sample has its own.
        Elem = "elem",
    }
}

section! {
    /// `[augment]`: how an image becomes an input, in training and in evaluation.
    pub struct Augment {
        /// How a training image is brought to the size of the model.
        crop: Crop = Crop::RandomResized, Kind::OneOf { what: "a crop", names: Crop::names };
        /// The share of the image's area that a random crop has, from and to.
        scale: [f64; 2] = [0.08, 1.0], Kind::Numbers { count: 2, min: 1e-4, max: 1.0, order: NumberOrder::Rising };
        /// Width over height of a random crop, from and to.
        ratio: [f64; 2] = [0.75, 4.0 / 3.0], Kind::Numbers { count: 2, min: 0.01, max: 100.0, order: NumberOrder::Rising };
        /// The probability of a horizontal flip.
        flip: f64 = 0.5, Kind::Number { min: 0.0, max: 1.0 };
        /// Interpolation of training images.
        interpolation: Interpolation = Interpolation::Bilinear,
            Kind::OneOf { what: "an interpolation", names: Interpolation::names };
        /// Interpolation of evaluated images.
        eval_interpolation: Interpolation = Interpolation::Bilinear,
            Kind::OneOf { what: "an interpolation", names: Interpolation::names };
        /// Side of the central crop over the shorter side of the resized image, in evaluation (timm's `crop_pct`).
        eval_crop_pct: f64 = 0.875, Kind::Number { min: 0.05, max: 1.0 };
        /// Mean of red, green and blue that is subtracted, on the scale 0 to 1; default: ImageNet's.
        mean: [f64; 3] = [0.485, 0.456, 0.406], Kind::Numbers { count: 3, min: 0.0, max: 1.0, order: NumberOrder::Any };
        /// Standard deviation of red, green and blue that is divided by, on the scale 0 to 1; default: ImageNet's.
        std: [f64; 3] = [0.229, 0.224, 0.225], Kind::Numbers { count: 3, min: 1e-3, max: 10.0, order: NumberOrder::Any };
        /// Mixup: α of the Beta distribution of its weights (timm's `mixup`); 0 = off.
        mixup: f64 = 0.0, Kind::Number { min: 0.0, max: 1000.0 };
        /// CutMix: α of the Beta distribution of its weights (timm's `cutmix`); 0 = off.
        cutmix: f64 = 0.0, Kind::Number { min: 0.0, max: 1000.0 };
        /// Sides of CutMix's boxes over the side of the image, from and to, in place of `cutmix` (timm's `cutmix_minmax`);
        /// default: none.
        cutmix_minmax: Option<[f64; 2]> = None, Kind::Numbers { count: 2, min: 0.0, max: 1.0, order: NumberOrder::Rising };
        /// The probability that anything is mixed, where mixup or CutMix is on (timm's `mixup_prob`).
        mix_prob: f64 = 1.0, Kind::Number { min: 0.0, max: 1.0 };
        /// The probability of CutMix in place of mixup, where both are on (timm's `mixup_switch_prob`).
        mix_switch_prob: f64 = 0.5, Kind::Number { min: 0.0, max: 1.0 };
        /// What shares one choice and one weight: a group, a pair of samples, or none (timm's `mixup_mode`).
        mix_mode: MixMode = MixMode::Batch, Kind::OneOf { what: "a mode", names: MixMode::names };
        /// Samples that are mixed among themselves, each with its mirror image in the group; even, and a divisor of the
        /// micro-batch of any number of ranks that is to train on the same mixtures.
        mix_group: usize = 8, Kind::Whole { min: 2, max: 65536 };
        /// Repeated augmentation: how often an image comes in a row, each time augmented anew; an epoch keeps its length.
        repeats: usize = 1, Kind::Whole { min: 1, max: 1024 };
        /// Progressive resizing: pairs of an epoch and the side of training images from then on, such as
        /// `[[0, 160], [10, 192], [14, 224]]`; evaluation keeps the size of the model. Empty = always the size of the model.
        sizes: Vec<(u64, u32)> = Vec::new(), Kind::Stages { what: "a side", min: 1, max: 8192 };
    }
}

impl Augment {
    /// Whether training images are ever mixed.
    pub fn mixes(&self) -> bool {
        self.mix_prob > 0.0 && (self.mixup > 0.0 || self.cutmix > 0.0 || self.cutmix_minmax.is_some())
    }

    /// The largest side of a training image, for a model whose own side is `model`.
    pub fn largest_size(&self, model: usize) -> usize {
        self.sizes.iter().map(|&(_, side)| side as usize).max().unwrap_or(model)
    }
}
