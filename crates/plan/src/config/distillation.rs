//! `[distillation]`: a teacher whose answers a model learns as well.

use super::Activations;
use crate::schema::{Kind, choice, section};

choice! {
    /// How a teacher's answers are used.
    pub enum DistillationKind {
        /// There is no teacher; the other keys of the section are ignored.
        None = "none",
        /// Its first class is a label.
        Hard = "hard",
        /// Its distribution is a target.
        Soft = "soft",
    }
}

section! {
    /// `[distillation]`: a frozen teacher, as in DeiT. A distilled model's second head learns from it, else the only head does.
    ///
    /// The teacher sees the images that the model sees, mixed ones too. The optional keys after `tau` are as in `[model]`.
    pub struct Distillation {
        /// How the teacher's answers are used: not at all, its first class as a label ("hard"), or its distribution as a target ("soft").
        kind: DistillationKind = DistillationKind::None, Kind::OneOf { what: "a kind", names: DistillationKind::names };
        /// timm's name of the teacher.
        teacher: Option<String> = None, Kind::OneOf { what: "a model", names: crate::models::names };
        /// Its weights, a safetensors file with timm's names, for the classes of the data.
        weights: Option<String> = None, Kind::Path;
        /// The share of the teacher in the loss.
        alpha: f64 = 0.5, Kind::Number { min: 0.0, max: 1.0 };
        /// For soft: the temperature by which both logits are divided; default 1.
        tau: Option<f64> = None, Kind::Positive { max: 1000.0 };
        /// Height and width of the teacher's input, in pixels; default: its own. Images of another size are taken as they are.
        image_size: Option<usize> = None, Kind::Whole { min: 1, max: 8192 };
        /// Height and width of its patches, in pixels; default: its own.
        patch_size: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Width of its tokens; default: its own.
        embed_dim: Option<usize> = None, Kind::Whole { min: 1, max: 65536 };
        /// Its number of blocks; default: its own.
        depth: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Its attention heads of a block; default: its own.
        num_heads: Option<usize> = None, Kind::Whole { min: 1, max: 1024 };
        /// Its activation, as `model.activation`; default: its own.
        activation: Option<Activations> = None, Kind::Activation;
    }
}

impl Distillation {
    /// The teacher in the terms of `[model]`; `None` where there is none.
    pub fn model(&self) -> Option<super::Model> {
        let name = self.teacher.clone().filter(|_| self.kind != DistillationKind::None)?;
        Some(super::Model {
            name,
            image_size: self.image_size,
            patch_size: self.patch_size,
            embed_dim: self.embed_dim,
            depth: self.depth,
            num_heads: self.num_heads,
            activation: self.activation.clone(),
            ..super::Model::default()
        })
    }
}
