//! Trained networks at work: found on disk, exported, asked about single images, scored on sets of them.

mod description;
mod export;
mod prediction;
mod saved;
mod scoring;

pub use description::Description;
pub use export::to_timm;
pub use prediction::{Answer, Predictor};
pub use saved::{Changes, Saved};
pub use scoring::{Scored, score};
