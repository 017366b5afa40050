//! Fuzzes: JPEGs in every way, ours against libjpeg-turbo's entropy decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jpeg::fuzzing::decode(data));
