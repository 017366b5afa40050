//! `[loss]`: what training minimises.

use crate::schema::{Kind, choice, section};

choice! {
    /// How logits are compared with targets.
    pub enum LossName {
        /// The cross-entropy of the softmax over all classes.
        CrossEntropy = "cross-entropy",
        /// A binary cross-entropy for each class, as timm's `BinaryCrossEntropy`.
        Bce = "bce",
    }
}

section! {
    /// `[loss]`: how logits are compared with labels, and how targets are made of these.
    pub struct Loss {
        /// What is minimised.
        name: LossName = LossName::CrossEntropy, Kind::OneOf { what: "a loss", names: LossName::names };
        /// Label smoothing: this share of the target is spread evenly over all classes, as in PyTorch's `CrossEntropyLoss`.
        smoothing: f64 = 0.0, Kind::Number { min: 0.0, max: 0.99 };
        /// For bce: targets above this become 1, all others 0; 0 as in DeiT III; default: targets stay as they are.
        target_threshold: Option<f64> = None, Kind::Number { min: 0.0, max: 1.0 };
        /// For bce: sum over the classes rather than take their mean; default false.
        sum_classes: Option<bool> = None, Kind::Flag;
    }
}
