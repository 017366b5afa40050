//! What is done around data sets rather than with them: making a sample, measuring the loader.

pub mod bench;
pub mod sample;
