#![no_main]
//! Any bytes as a kept comparison: refused, or exactly what keeping it writes.
use unsplit::format::comparison::{decode, encode};
use unsplit::model::id::Digest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // As it would stand in a file, and, because nobody guesses a digest, sealed.
    let sealed = [data, blake3::hash(data).as_bytes()].concat();
    let key =
        data.get(20..).and_then(|rest| rest.first_chunk::<32>()).map_or(Digest([0; 32]), |key| Digest(*key));
    for bytes in [data, &sealed] {
        if let Ok(kept) = decode(&key, bytes) {
            assert_eq!(encode(&key, &kept), bytes);
            assert!(kept.differs.end() <= kept.size);
        }
    }
});
