#![no_main]
//! The journal's parser never panics; what it accepts, it accepts again after being written anew.
//! The input is tried as it is, and as texts that are framed properly, to get past the checks.

use unsplit::format::journal::{Link, Tail, encode, header, parse};
use unsplit::model::id::IncidentId;
use unsplit::model::record::{Event, Record};
use unsplit::model::seen::Stamp;
use unsplit::model::stage::{Stage, StepName};

fn check(bytes: &[u8]) -> usize {
    let Ok(replay) = parse(bytes) else { return 0 };
    let mut again = header();
    let mut link = Link::start();
    for record in &replay.records {
        let (line, next) = encode(record, &link).expect("a record that was read can be written");
        again.extend_from_slice(&line);
        link = next;
    }
    let replayed = parse(&again).expect("what encode writes, parse reads");
    assert_eq!(replayed.records, replay.records);
    assert_eq!(replayed.tail, Tail::Clean);
    replay.records.len()
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    check(data);
    let mut framed = header();
    framed.extend_from_slice(data);
    check(&framed);

    // The input as the texts of records, with its last bytes standing loose at the end.
    let (texts, loose) = data.split_at(data.len() - data.len() / 4);
    let mut bytes = header();
    let mut link = Link::start();
    let mut written = 0;
    for (index, text) in texts.split(|byte| *byte == 0).enumerate().take(50) {
        let word = String::from_utf8_lossy(text).into_owned();
        let record = Record {
            seq: link.seq + 1,
            at: Stamp(index as i64),
            incident: IncidentId::new(&word).ok(),
            event: Event::Intent { step: index, name: StepName::new(&word, Stage::Quiesce) },
        };
        if let Ok((line, next)) = encode(&record, &link) {
            bytes.extend_from_slice(&line);
            link = next;
            written += 1;
        }
    }
    assert_eq!(check(&bytes), written);
    bytes.extend_from_slice(loose);
    if let Ok(replay) = parse(&bytes) {
        assert_eq!(replay.records.len(), written, "loose bytes are no record");
    }
});
