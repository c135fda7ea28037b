#![no_main]
//! (in the making)
libfuzzer_sys::fuzz_target!(|_data: &[u8]| {});
