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
    }
}
