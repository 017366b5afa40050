//! Fuzzes: Small JPEGs put together from restart segments, by an index that may lie.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jpeg::fuzzing::assemble(data));
