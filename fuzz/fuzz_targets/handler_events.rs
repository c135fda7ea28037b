#![no_main]
//! Handlers: any events file is read as far as it is whole, and what is read can be written again; any environment is a call; any answer of
//! a peer proves something or nothing.
use std::collections::BTreeMap;
use unsplit::format::events::{encode, parse};
use unsplit::format::{handler_call, outdated};
use unsplit::model::handled::Handled;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // As it would stand in a file, and, because nobody guesses a checksum, as it would stand behind one.
    let inside = serde_json::from_slice::<Handled>(data).ok().and_then(|event| encode(&event).ok());
    for bytes in [Some(data.to_vec()), inside].into_iter().flatten() {
        let found = parse(&bytes);
        let again: Vec<u8> = found.events.iter().filter_map(|event| encode(event).ok()).flatten().collect();
        let second = parse(&again);
        assert_eq!((second.torn, second.unknown), (0, 0));
        // What was read may grow by an escape or two beyond the longest line, no more.
        assert!(second.events.len() <= found.events.len());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let variables: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let call = handler_call::call(&variables);
    let _ = outdated::parse(text, call.peer.as_deref(), Some("boot"));
});
