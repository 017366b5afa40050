//! Fuzzes: The index of a packed split, its records, and the crops that they lead to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dataloader::fuzzing::shard_index(data));
