//! Fuzzes: Tars, tars in tars, shards of a WebDataset, and the cached index of their members.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dataloader::fuzzing::tar(data));
