#![no_main]
//! Any bytes: a manifest is refused or, written again, says the same.
use unsplit::format::manifest::{manifest_bytes, parse_manifest};
use unsplit::model::salvage::Manifest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // As it would stand in a file, and, because nobody guesses a digest, as it would stand inside the seal.
    let inside = serde_json::from_slice::<Manifest>(data).ok().and_then(|m| manifest_bytes(&m).ok());
    for bytes in [Some(data.to_vec()), inside].into_iter().flatten() {
        if let Ok(manifest) = parse_manifest(&bytes) {
            let again = manifest_bytes(&manifest).expect("what was read can be written");
            assert_eq!(parse_manifest(&again).expect("what was written can be read"), manifest);
        }
    }
});
