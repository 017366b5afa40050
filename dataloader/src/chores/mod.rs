//! What is done around data sets rather than with them: making a sample, looking at one, measuring the loader.

pub mod bench;
mod duplicates;
pub mod inspect;
pub mod sample;
mod scan;
pub mod show;
pub mod verify;
