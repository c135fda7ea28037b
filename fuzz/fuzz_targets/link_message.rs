#![no_main]
//! Any bytes as a message of a comparison across a link: reading never panics, and what was understood is written and read
//! as the same.

use unsplit::format::wire::reconcile::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::decode(data) {
        let again = message.encode();
        assert!(Message::decode(&again) == Ok(message), "a message changes on its way through its bytes");
    }
});
