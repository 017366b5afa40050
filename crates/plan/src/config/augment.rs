//! `[augment]`: how an image becomes an input, in training and in evaluation.

use crate::schema::{Kind, NumberOrder, choice, section};

choice! {
    /// How a training image is brought to the size of the model.
    pub enum Crop {
        /// A random part of it, resized: torchvision's `RandomResizedCrop`.
        RandomResized = "random-resized",
        /// The whole of it, resized.
        Resize = "resize",
        /// The shorter side resized, then a random square after 4 mirrored pixels were added: DeiT III's simple random crop.
        Simple = "simple",
        /// The same with 4 black pixels: the usual crop of CIFAR, torchvision's `RandomCrop(32, padding=4)`.
        Pad = "pad",
    }
}

choice! {
    /// How pixels of training images are interpolated, with antialiasing as in Pillow.
    pub enum TrainInterpolation {
        /// A triangle filter.
        Bilinear = "bilinear",
        /// A cubic filter with a = −0.5.
        Bicubic = "bicubic",
        /// One of the two, drawn for each image (timm's `random`).
        Random = "random",
    }
}

choice! {
    /// What an evaluated image becomes where it is no square: timm's `crop_mode`.
    pub enum EvalCropMode {
        /// The shorter side is resized, the central square kept.
        Center = "center",
        /// Both sides are resized to the same.
        Squash = "squash",
        /// The longer side is resized, and what lacks of the square has the mean colour.
        Border = "border",
    }
}

choice! {
    /// What stands in an erased rectangle, after normalisation (timm's `re_mode`).
    pub enum EraseMode {
        /// 0: the mean colour.
        Const = "const",
        /// One standard normal colour.
        Rand = "rand",
        /// A standard normal number for each pixel and channel.
        Pixel = "pixel",
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
        interpolation: TrainInterpolation = TrainInterpolation::Bilinear,
            Kind::OneOf { what: "an interpolation", names: TrainInterpolation::names };
        /// Operations drawn for each training image: "none", RandAugment in timm's grammar ("rand-m9-mstd0.5-inc1"), timm's
        /// AutoAugment ("original", "originalr", "v0", "v0r"), AugMix ("augmix-m5-w4-d2"), "3-augment" (DeiT III) or
        /// "trivial-wide" (torchvision).
        policy: String = "none".to_owned(), Kind::Text { what: "an augmentation policy" };
        /// How much brightness, contrast and saturation change, each by a factor from 1 − this to 1 + this, after the
        /// policy (torchvision's `ColorJitter`). timm leaves it out beside a policy unless forced; here it is done.
        color_jitter: f64 = 0.0, Kind::Number { min: 0.0, max: 1.0 };
        /// The probability that a training image becomes grey.
        grayscale: f64 = 0.0, Kind::Number { min: 0.0, max: 1.0 };
        /// The probability of a Gaussian blur of radius 0.1 to 2 pixels (Pillow's).
        blur: f64 = 0.0, Kind::Number { min: 0.0, max: 1.0 };
        /// The probability that bright values (from 128) are inverted.
        solarise: f64 = 0.0, Kind::Number { min: 0.0, max: 1.0 };
        /// The probability that rectangles of 2 % to a third of the normalised image are erased (timm's `RandomErasing`).
        erase: f64 = 0.0, Kind::Number { min: 0.0, max: 1.0 };
        /// What stands in an erased rectangle: 0, one normal colour, or normal noise.
        erase_mode: EraseMode = EraseMode::Pixel, Kind::OneOf { what: "a way to erase", names: EraseMode::names };
        /// The most rectangles that are erased; the area is shared among them.
        erase_count: usize = 1, Kind::Whole { min: 1, max: 1024 };
        /// Interpolation of evaluated images.
        eval_interpolation: Interpolation = Interpolation::Bilinear,
            Kind::OneOf { what: "an interpolation", names: Interpolation::names };
        /// Side of the central crop over the shorter side of the resized image, in evaluation (timm's `crop_pct`).
        eval_crop_pct: f64 = 0.875, Kind::Number { min: 0.05, max: 1.0 };
        /// What an evaluated image becomes where it is no square (timm's `crop_mode`).
        eval_crop_mode: EvalCropMode = EvalCropMode::Center,
            Kind::OneOf { what: "a way to crop", names: EvalCropMode::names };
        /// Mean of red, green and blue that is subtracted, on the scale 0 to 1; default: ImageNet's.
        mean: [f64; 3] = [0.485, 0.456, 0.406], Kind::Numbers { count: 3, min: 0.0, max: 1.0, order: NumberOrder::Any };
        /// Standard deviation of red, green and blue that is divided by, on the scale 0 to 1; default: ImageNet's.
        std: [f64; 3] = [0.229, 0.224, 0.225], Kind::Numbers { count: 3, min: 1e-3, max: 10.0, order: NumberOrder::Any };
    }
}
