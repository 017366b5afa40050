//! Fuzzes: The index of a JPEG's restart segments.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jpeg::fuzzing::segment_index(data));
