//! Trained networks at work: found on disk, exported, asked about single images, scored on sets of them, looked into.

mod description;
mod export;
mod inspection;
mod prediction;
mod saved;
mod scoring;

pub use description::Description;
pub use export::to_timm;
pub use inspection::inspect;
pub use prediction::{Answer, Predictor};
pub use saved::{Changes, Saved};
pub use scoring::{Scored, score};
