#![no_main]
//! Any bytes: a manifest is refused or, written again, says the same.
use unsplit::format::manifest::{manifest_bytes, parse_manifest};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = parse_manifest(data) {
        let again = manifest_bytes(&manifest).expect("what was read can be written");
        assert_eq!(parse_manifest(&again).expect("what was written can be read"), manifest);
    }
});
