//! The journal: what was appended is there after anything, what is there is what was appended, and what
//! cannot be understood is never taken for less than it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "journal/incident.rs"]
mod incident;
mod world;

use proptest::prelude::*;
use std::error::Error as _;
use std::sync::Arc;
use unsplit::edge::state_dir::{StateDir, StateDirError};
use unsplit::engine::journal::{Cause, Cursor, FILE, Journal, JournalError, Ready, Recorded};
use unsplit::format::journal::{Damage, Flaw, HEADER, Link, MAX_LINE, Tail, encode, header, parse};
use unsplit::judge::incident::{IncidentState, Rule};
use unsplit::model::id::{Digest, IncidentId, PlanId, ResourceName};
use unsplit::model::record::{Consent, Event, Outcome, Record};
use unsplit::model::seen::{End, Stamp, Why};
use unsplit::model::stage::{Stage, StepName};
use unsplit::ports::store::Store;
use world::World;
use world::faults::{Fault, Faults, is_power_cut};

fn id(text: &str) -> IncidentId {
    IncidentId::new(text).unwrap()
}

fn opened() -> Event {
    Event::Opened {
        resource: ResourceName::new("r0").unwrap(),
        plan: PlanId(Digest([1; 32])),
        consent: Consent::Operator,
    }
}

fn quiesce() -> StepName {
    StepName::new("quiesce", Stage::Quiesce)
}

/// The events of one incident that is healed in two steps.
fn story() -> Vec<Event> {
    vec![
        opened(),
        Event::Intent { step: 0, name: quiesce() },
        Event::Ended { step: 0, end: End::Done },
        Event::Parked { why: Why::from("a second look is needed"), next: "unsplit resolve r0".into() },
        Event::Resumed,
        Event::Intent { step: 1, name: StepName::new("overwrite", Stage::Overwrite) },
        Event::Ended { step: 1, end: End::AlreadySo },
        Event::Closed { outcome: Outcome::Healed },
    ]
}

fn records(events: Vec<Event>) -> Vec<Record> {
    (1..)
        .zip(events)
        .map(|(seq, event)| Record { seq, at: Stamp(1000), incident: Some(id("i1")), event })
        .collect()
}

/// A journal's bytes, and where each record begins.
fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header();
    let mut link = Link::start();
    let mut starts = Vec::new();
    for record in records {
        starts.push(bytes.len());
        let (line, next) = encode(record, &link).unwrap();
        bytes.extend(line);
        link = next;
    }
    (bytes, starts)
}

fn open(world: &World) -> Result<Journal, JournalError> {
    Journal::open(world.store.clone(), world.clock.clone())
}

fn quiet() -> World {
    World::new(&[], &[], Faults::none())
}

fn damage(bytes: &[u8]) -> Damage {
    parse(bytes).expect_err("this is damage")
}

// ---- the framing ----

fn any_event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        Just(End::Done),
        Just(End::AlreadySo),
        ".{0,40}".prop_map(|text| End::NotDone(Why(text))),
        ".{0,40}".prop_map(|text| End::Unknown(Why(text))),
    ];
    prop_oneof![
        Just(opened()),
        Just(Event::Resumed),
        (any::<usize>(), "\\PC{0,30}|[\\x00-\\x20\"\\\\]{0,10}")
            .prop_map(|(step, word)| Event::Intent { step, name: StepName::new(&word, Stage::Fence) }),
        (any::<usize>(), end).prop_map(|(step, end)| Event::Ended { step, end }),
        (".{0,60}", ".{0,60}").prop_map(|(why, next)| Event::Parked { why: Why(why), next }),
        Just(Event::Closed { outcome: Outcome::Undone }),
        (any::<u64>(), ".{0,20}").prop_map(|(bytes, kept_as)| Event::TornTailCut { bytes, kept_as }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        events in prop::collection::vec((any_event(), any::<i64>(), any::<bool>()), 0..12)
    ) {
        let records: Vec<Record> = (1..).zip(events).map(|(seq, (event, at, named))| Record {
            seq, at: Stamp(at), incident: named.then(|| id("i1")), event,
        }).collect();
        let (bytes, _) = written(&records);
        let replay = parse(&bytes).unwrap();
        prop_assert_eq!(replay.tail, Tail::Clean);
        prop_assert_eq!(replay.records, records);
    }

    /// Anything instead of the last record is torn or damage, never a record.
    #[test]
    fn garbage_at_the_end_is_never_a_record(garbage in prop::collection::vec(any::<u8>(), 1..300)) {
        let (mut bytes, _) = written(&records(story()));
        bytes.extend(garbage);
        if let Ok(replay) = parse(&bytes) {
            prop_assert_eq!(replay.records, records(story()));
            prop_assert_ne!(replay.tail, Tail::Clean);
        }
    }
}

#[test]
fn the_first_version_reads_the_same_for_ever() {
    // Golden bytes: what version 1 wrote on the day it was made. Its steps do not tell their stages.
    let first = r#"unsplit-journal 1
1 dbec92d8 7352c75e7cbdb152e462fdd42d21f845 {"seq":1,"at":1000,"incident":"i1","event":"opened","resource":"r0","plan":"0101010101010101010101010101010101010101010101010101010101010101","consent":"operator"}
2 0442ce06 688a382f72bdc0e0ef2491494e56eb1d {"seq":2,"at":1000,"incident":"i1","event":"intent","step":0,"word":"quiesce"}
3 273f28d9 dc0a74c549909f919d86ab1b315d92e4 {"seq":3,"at":1000,"incident":"i1","event":"ended","step":0,"end":{"end":"done"}}
"#;
    assert_eq!(parse(first.as_bytes()).unwrap().records, records(story())[..3]);
    // What is written now.
    let (bytes, _) = written(&records(story())[..3]);
    let text = String::from_utf8(bytes).unwrap();
    insta::assert_snapshot!(text, @r#"
    unsplit-journal 1
    1 dbec92d8 7352c75e7cbdb152e462fdd42d21f845 {"seq":1,"at":1000,"incident":"i1","event":"opened","resource":"r0","plan":"0101010101010101010101010101010101010101010101010101010101010101","consent":"operator"}
    2 f0421a1c 93803d99b9c88c47df7a7d80b0fd0d54 {"seq":2,"at":1000,"incident":"i1","event":"intent","step":0,"word":"quiesce","stage":"quiesce"}
    3 f1885fd7 94e77a80bf6631f6da429944741e6fba {"seq":3,"at":1000,"incident":"i1","event":"ended","step":0,"end":{"end":"done"}}
    "#);
}

#[test]
fn a_last_record_torn_anywhere_is_cut_and_the_others_stay() {
    let all = records(story());
    let (bytes, starts) = written(&all);
    let from = *starts.last().unwrap();
    for end in from + 1..bytes.len() {
        let replay = parse(&bytes[..end]).unwrap();
        assert_eq!(replay.records, all[..all.len() - 1], "cut at {end}");
        assert_eq!(replay.tail, Tail::Torn { from: from as u64, bytes: (end - from) as u64 });
        assert_eq!(replay.link.seq, 7);

        // The length was durable, the bytes were not.
        let mut zeros = bytes.clone();
        zeros[end..].fill(0);
        assert_eq!(parse(&zeros).unwrap().records, all[..all.len() - 1], "zeros from {end}");
        // Something else stands in its middle.
        let mut garbage = bytes.clone();
        garbage[end - 1] ^= 0x5a;
        assert_eq!(parse(&garbage).unwrap().records, all[..all.len() - 1], "garbage at {end}");
    }
    assert_eq!(parse(&bytes[..from]).unwrap().tail, Tail::Clean);
}

#[test]
fn every_bit_of_an_earlier_record_counts() {
    let all = records(story());
    let (bytes, starts) = written(&all);
    let last = *starts.last().unwrap();
    for at in 0..last {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let found = damage(&changed);
            let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(found.line, line, "bit {bit} of byte {at}: {found}");
        }
    }
    for at in last..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let replay = parse(&changed).unwrap();
            assert_eq!(replay.records, all[..all.len() - 1]);
            assert_eq!(replay.tail, Tail::Torn { from: last as u64, bytes: (bytes.len() - last) as u64 });
        }
    }
}

#[test]
fn two_altered_records_at_the_end_are_not_one_torn_one() {
    let (bytes, starts) = written(&records(story()));
    for cut in starts[7] + 1..=bytes.len() {
        let mut changed = bytes[..cut].to_vec();
        changed[starts[6] + 30] ^= 1;
        if cut > starts[7] + 60 {
            changed[starts[7] + 60] ^= 1;
        }
        let found = damage(&changed);
        assert_eq!((found.line, found.flaw), (8, Flaw::Altered { follower: 9 }), "cut at {cut}");
    }
}

#[test]
fn removed_repeated_exchanged_and_foreign_lines_are_noticed() {
    let all = records(story());
    let (bytes, starts) = written(&all);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| format!("{}\n", lines.join("\n"));
    assert_eq!(starts.len(), 8);

    for gone in 1..lines.len() - 1 {
        let mut fewer = lines.clone();
        fewer.remove(gone);
        let found = damage(joined(&fewer).as_bytes());
        assert_eq!(found.line, gone as u64 + 1);
        assert!(matches!(found.flaw, Flaw::OutOfSequence { .. }), "{found}");
    }
    for again in 1..lines.len() {
        let mut more = lines.clone();
        more.insert(again, lines[again]);
        assert_eq!(damage(joined(&more).as_bytes()).line, again as u64 + 2);
    }
    for first in 1..lines.len() - 1 {
        let mut swapped = lines.clone();
        swapped.swap(first, first + 1);
        assert_eq!(damage(joined(&swapped).as_bytes()).line, first as u64 + 1);
    }
    // The same sequence numbers from another journal.
    let mut other = all;
    other[2].at = Stamp(7);
    let (bytes, _) = written(&other);
    let foreign = String::from_utf8(bytes).unwrap();
    let foreign: Vec<&str> = foreign.lines().collect();
    for mixed in 4..lines.len() {
        let mut lines = lines.clone();
        lines[mixed] = foreign[mixed];
        let found = damage(joined(&lines).as_bytes());
        assert_eq!((found.line, found.flaw), (mixed as u64 + 1, Flaw::Chain));
    }
}

#[test]
fn wrong_beginnings_say_what_they_are() {
    for bytes in ["", "unsplit", HEADER, "hello\n", "\0\0\0\0", "\n1 2 3 4\n"] {
        let found = damage(bytes.as_bytes());
        assert_eq!(found, Damage { line: 1, offset: 0, flaw: Flaw::NotAJournal }, "{bytes:?}");
    }
    let found = damage(b"unsplit-journal 2\n1 00 11 {}\n");
    assert_eq!(found.flaw, Flaw::Version { found: "2".into() });
    assert!(found.to_string().contains("use the unsplit that wrote it"), "{found}");
}

#[test]
fn an_intact_record_that_is_not_understood_is_damage_even_at_the_end() {
    let (bytes, starts) = written(&records(story())[..2]);
    let json = r#"{"seq":2,"at":1,"incident":"i1","event":"teleported"}"#;
    // Framed by hand, as a later version would.
    let mut hasher = blake3::Hasher::new();
    let chain_of_first =
        std::str::from_utf8(&bytes[starts[0]..]).unwrap().split(' ').nth(2).unwrap().to_owned();
    let chain: Vec<u8> =
        (0..16).map(|i| u8::from_str_radix(&chain_of_first[2 * i..2 * i + 2], 16).unwrap()).collect();
    hasher.update(&chain).update(&2u64.to_le_bytes()).update(json.as_bytes());
    let chain = &hasher.finalize().to_hex()[..32];
    let check = crc32c::crc32c(format!("2 {chain} {json}").as_bytes());
    let mut changed = bytes[..starts[1]].to_vec();
    changed.extend(format!("2 {check:08x} {chain} {json}\n").into_bytes());
    let found = damage(&changed);
    assert_eq!(found.line, 3);
    assert!(matches!(&found.flaw, Flaw::NotUnderstood { why } if why.contains("teleported")), "{found}");
}

#[test]
fn long_lines_are_refused_both_ways() {
    let long = |len: usize| Record {
        seq: 1,
        at: Stamp(0),
        incident: Some(id("i1")),
        event: Event::Parked { why: Why("x".repeat(len)), next: String::new() },
    };
    let overhead = encode(&long(0), &Link::start()).unwrap().0.len();
    let (line, _) = encode(&long(MAX_LINE - overhead), &Link::start()).unwrap();
    assert_eq!(line.len(), MAX_LINE);
    assert_eq!(parse(&[header(), line].concat()).unwrap().records.len(), 1);
    encode(&long(MAX_LINE - overhead + 1), &Link::start()).unwrap_err();

    let (bytes, _) = written(&records(story()));
    let found = damage(&[bytes.clone(), vec![b'x'; MAX_LINE + 1]].concat());
    assert_eq!((found.line, found.offset, found.flaw), (10, bytes.len() as u64, Flaw::TooLong));
    parse(&[bytes, vec![0; MAX_LINE]].concat()).unwrap();
}

// ---- the journal over a store ----

/// Appends the story; how many records were acknowledged, and the first error.
fn append_all(journal: &Journal, events: &[Event]) -> (usize, Option<JournalError>) {
    for (index, event) in events.iter().enumerate() {
        if let Err(error) = journal.append(Some(id("i1")), event.clone()) {
            return (index, Some(error));
        }
    }
    (events.len(), None)
}

/// The events of a journal's one incident.
fn events_in(journal: &Journal) -> Vec<Event> {
    let incidents = journal.incidents();
    assert!(incidents.len() < 2);
    let history = incidents.first().map_or(&[][..], |incident| &incident.history);
    history.iter().map(|record| record.event.clone()).collect()
}

/// All records of the world's journal, its own included.
fn records_in(world: &World) -> Vec<Record> {
    Journal::read(world.store.as_ref()).unwrap().unwrap().records
}

/// Runs the story with `faults`, cuts the power, opens again: every acknowledged record is there, in order,
/// and nothing else but perhaps the one that was being written. Then the story goes on to its end.
fn survives(faults: Faults, seed: u64) -> u64 {
    let world = World::new(&[], &[], faults);
    let story = story();
    let mut acknowledged = 0;
    if let Ok(journal) = open(&world) {
        let (many, error) = append_all(&journal, &story);
        acknowledged = many;
        if error.is_some() {
            let again = journal.append(Some(id("i1")), Event::Resumed).unwrap_err();
            assert!(matches!(again, JournalError::Latched { .. }), "{again}");
        }
    }
    let operations = world.faults.count();
    world.power_cut(seed);
    for round in 0..3 {
        // Power goes again while the journal is being mended.
        world
            .faults
            .go_on([(u64::from(round == 0) * (seed % 16), Fault::Cut)].into_iter().filter(|_| round < 2));
        match open(&world) {
            Ok(journal) => {
                let found = events_in(&journal);
                let in_flight = acknowledged + 1;
                assert!(
                    found == story[..acknowledged]
                        || (acknowledged < story.len() && found == story[..in_flight]),
                    "{acknowledged} acknowledged, found {found:#?}\n{}",
                    world.faults.log().join("\n")
                );
                // What was read once is there for good.
                acknowledged = found.len();
            }
            Err(error) => assert!(is_power_cut(&error), "{error}: {:?}", error.source()),
        }
        world.power_cut(seed ^ (round + 1));
    }
    let journal = open(&world).unwrap();
    let (_, error) = append_all(&journal, &story[acknowledged..]);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events_in(&open(&world).unwrap()), story);
    operations
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged() {
    let operations = survives(Faults::none(), 0);
    assert!(operations > 30, "{operations}");
    for op in 0..operations {
        for seed in 0..30 {
            survives(Faults::schedule(seed, [(op, Fault::Cut)]), seed);
        }
    }
}

#[test]
fn any_fault_at_any_operation_loses_nothing_that_was_acknowledged() {
    let operations = survives(Faults::none(), 0);
    for op in 0..operations {
        for fault in [Fault::Io, Fault::Short, Fault::NoSpace] {
            for seed in 0..10 {
                survives(Faults::schedule(seed, [(op, fault)]), seed);
            }
        }
    }
    for seed in 0..300 {
        survives(Faults::from_seed(seed, operations, 4), seed);
    }
}

#[test]
fn the_first_failure_latches_wherever_it_happens() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let before = world.faults.count();
    journal.append(Some(id("i1")), opened()).unwrap();
    let each = world.faults.count() - before;
    assert_eq!(each, 3, "length, write, sync");

    for op in 0..each {
        let world = quiet();
        let journal = open(&world).unwrap();
        journal.append(Some(id("i1")), opened()).unwrap();
        world.faults.go_on([(op, Fault::Io)]);
        let first = journal.append(Some(id("i1")), Event::Resumed).unwrap_err();
        assert!(
            matches!(&first, JournalError::Failed(cause) if matches!(**cause, Cause::Store(_))),
            "{first}"
        );
        assert_eq!(events_in(&journal).len(), 1, "what is not acknowledged is not believed");
        let operations = world.faults.count();
        for _ in 0..3 {
            let error = journal.append(Some(id("i1")), Event::Resumed).unwrap_err();
            assert!(matches!(error, JournalError::Latched { .. }), "{error}");
            let chain = format!("{:?}", error.source().unwrap());
            assert!(chain.contains("/state/journal"), "names the first cause: {chain}");
        }
        assert_eq!(world.faults.count(), operations, "a latched journal touches nothing");
        let found = events_in(&open(&world).unwrap()).len();
        assert!((1..=2).contains(&found));
    }
}

#[test]
fn a_torn_tail_is_kept_and_recorded_and_never_written_over() {
    let world = quiet();
    let (bytes, _) = written(&records(story())[..2]);
    let torn = |text: &str| [bytes.as_slice(), text.as_bytes()].concat();
    world.store.plant(FILE, &torn("3 0000"));
    world.store.plant("journal.torn-3", b"of another day");
    let story = Journal::read(world.store.as_ref()).unwrap().unwrap();
    assert_eq!(story.tail, Tail::Torn { from: bytes.len() as u64, bytes: 6 });
    assert_eq!(world.store.content(FILE).unwrap(), torn("3 0000"), "reading changes nothing");

    let journal = open(&world).unwrap();
    assert_eq!(world.store.content("journal.torn-3").unwrap(), b"of another day");
    assert_eq!(world.store.content("journal.torn-3.2").unwrap(), b"3 0000");
    let cut = Event::TornTailCut { bytes: 6, kept_as: "journal.torn-3.2".into() };
    drop(journal);
    let last = records_in(&world).pop().unwrap();
    assert_eq!((last.seq, last.incident, last.event), (3, None, cut));
    drop(open(&world).unwrap());
    assert_eq!(records_in(&world).len(), 3);
}

#[test]
fn a_power_cut_while_mending_never_loses_the_torn_bytes() {
    let (bytes, _) = written(&records(story())[..2]);
    let torn: Vec<u8> = (0..1500u32).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect();
    let whole = [bytes.as_slice(), torn.as_slice()].concat();
    let mut cuts = 0;
    for op in 0..20 {
        for seed in 0..40 {
            let world = World::new(&[], &[], Faults::schedule(seed, [(op, Fault::Cut)]));
            world.store.plant(FILE, &whole);
            cuts += u64::from(open(&world).is_err());
            world.power_cut(seed);
            let journal = world.store.content(FILE).unwrap();
            let kept: Vec<Vec<u8>> = world
                .store
                .paths()
                .iter()
                .filter(|path| path.starts_with("journal.torn-"))
                .map(|path| world.store.content(path).unwrap())
                .collect();
            assert!(journal == whole || kept.contains(&torn), "op {op}, seed {seed}");
            let mended = open(&world).unwrap();
            assert_eq!(events_in(&mended), story()[..2]);
        }
    }
    assert!(cuts > 400, "{cuts}");
}

/// Were the cut not durable before the next append, stale bytes of the tail could stand right behind a
/// record whose newline begins a sector: that is no torn record, and would be refused for ever.
#[test]
fn a_power_cut_after_mending_leaves_no_stale_bytes_behind_a_record() {
    let mut wrong_before = 0;
    for pad in 0..512 {
        let mut records = records(story())[..2].to_vec();
        records[1].event = Event::Intent { step: 0, name: StepName::new(&"w".repeat(pad), Stage::Tidy) };
        let (bytes, _) = written(&records);
        let whole = [bytes.as_slice(), &[b'x'; 1500]].concat();
        for (op, seed) in [(10, 1), (10, 2), (10, 3), (11, 4), (11, 5)] {
            let world = World::new(&[], &[], Faults::schedule(seed, [(op, Fault::Cut)]));
            world.store.plant(FILE, &whole);
            wrong_before += u64::from(open(&world).is_err());
            world.power_cut(seed * 1000 + pad as u64);
            open(&world).unwrap_or_else(|error| {
                panic!("pad {pad}, op {op}: {error}: {:?}\n{}", error.source(), world.faults.log().join("\n"))
            });
        }
    }
    assert_eq!(wrong_before, 512 * 5, "the power goes before the mending is through");
}

#[test]
fn unreadable_is_not_empty() {
    let world = quiet();
    let journal = open(&world).unwrap();
    journal.append(Some(id("i1")), opened()).unwrap();
    drop(journal);
    let before = world.store.content(FILE).unwrap();
    // Length, then content.
    for op in 0..2 {
        world.faults.go_on([(op, Fault::Io)]);
        let error = open(&world).unwrap_err();
        assert!(matches!(error, JournalError::Unavailable(_)), "{error}");
        world.faults.go_on([(op, Fault::Io)]);
        Journal::read(world.store.as_ref()).unwrap_err();
        assert_eq!(world.store.content(FILE).unwrap(), before);
    }

    let empty = quiet();
    empty.store.plant(FILE, b"");
    let error = open(&empty).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "emptied is not never there: {error}");

    let removed = quiet();
    removed.store.plant("journal.torn-3", b"x");
    let error = open(&removed).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");

    let fresh = quiet();
    assert_eq!(Journal::read(fresh.store.as_ref()).unwrap(), None);
    assert!(fresh.store.paths().is_empty(), "reading creates nothing");
}

#[test]
fn a_story_that_cannot_have_happened_is_refused_with_its_line() {
    let world = quiet();
    let mut events = story();
    events.insert(3, Event::Closed { outcome: Outcome::Healed });
    world.store.plant(FILE, &written(&records(events)).0);
    let error = open(&world).unwrap_err();
    let JournalError::Contradiction { line, source, .. } = &error else { panic!("{error}") };
    assert_eq!((*line, source.rule), (6, Rule::NothingAfterClosed));
    let text = source.to_string();
    assert!(text.contains("the parking") && text.contains("the closing (healed)"), "{text}");
}

#[test]
fn an_illegal_append_writes_nothing_and_does_not_latch() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let before = world.store.content(FILE).unwrap();
    let error = journal.append(Some(id("i1")), Event::Resumed).unwrap_err();
    assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    journal.append(Some(id("i1")), opened()).unwrap();
    let why = Why("x".repeat(MAX_LINE));
    let error = journal.append(Some(id("i1")), Event::Parked { why, next: String::new() }).unwrap_err();
    assert!(matches!(error, JournalError::Unwritable(_)), "{error}");
    journal.append(Some(id("i1")), Event::Resumed).unwrap();
    assert!(world.store.content(FILE).unwrap().starts_with(&before));
    assert_eq!(events_in(&open(&world).unwrap()).len(), 2);
}

#[test]
fn a_second_writer_is_noticed_before_its_records_are_written_over() {
    let world = quiet();
    let one = open(&world).unwrap();
    let two = open(&world).unwrap();
    two.append(Some(id("i2")), opened()).unwrap();
    let error = one.append(Some(id("i1")), opened()).unwrap_err();
    assert!(
        matches!(&error, JournalError::Failed(cause) if matches!(**cause, Cause::OtherWriter { .. })),
        "{error}"
    );
    assert!(matches!(one.append(None, opened()).unwrap_err(), JournalError::Latched { .. }));
    assert_eq!(open(&world).unwrap().incidents()[0].id, id("i2"));
}

// ---- the cursor ----

fn run(mut at: Cursor<'_, Ready>, ends: &[End]) -> Result<(), JournalError> {
    for (step, end) in ends.iter().enumerate().skip(at.next_step()) {
        let performed = at.declare(step, quiesce())?.perform(|permit| {
            assert_eq!(permit.step(), step);
            end.clone()
        });
        match performed.record()? {
            Recorded::Well(ready) => at = ready,
            Recorded::Badly(stopped) => {
                assert_eq!((stopped.step(), stopped.end()), (step, end));
                return stopped.park("it says why", "unsplit resolve r0").map(|_| ());
            }
        }
    }
    at.close(Outcome::Healed).map(|_| ())
}

#[test]
fn an_executor_stops_parks_resumes_and_closes() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let name = id("i1");
    let plan = PlanId(Digest([1; 32]));
    let at = journal.begin(name.clone(), ResourceName::new("r0").unwrap(), plan, Consent::Policy).unwrap();
    run(at, &[End::Done, End::Unknown(Why::from("lost sight")), End::Done]).unwrap();

    let journal = open(&world).unwrap();
    let state = &journal.incident(&name).unwrap().state;
    assert!(matches!(state, IncidentState::Parked { next_step: 1, .. }), "{state:?}");
    let error = journal.ready(&name).unwrap_err();
    assert_eq!(error.to_string(), "incident i1 is parked: resume it first, if it is not closed");
    let at = journal.resume(&name).unwrap();
    assert_eq!(at.next_step(), 1);
    run(at, &[End::Done, End::AlreadySo, End::Done]).unwrap();
    assert!(journal.incident(&name).unwrap().is_closed());
    assert!(matches!(journal.resume(&name).unwrap_err(), JournalError::Illegal(_)));
    assert!(matches!(journal.resume(&id("i9")).unwrap_err(), JournalError::NotReady(_)));
}

#[test]
fn several_incidents_go_on_at_once_and_readers_wait_for_nobody() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let begin = |name: &str| {
        let plan = PlanId(Digest([1; 32]));
        journal.begin(id(name), ResourceName::new("r0").unwrap(), plan, Consent::Policy)
    };
    let (first, second) = (begin("i1").unwrap(), begin("i2").unwrap());
    let before = journal.incidents();
    // Neither waits for the other's step, and within each the incident can be read.
    let first = first.declare(0, quiesce()).unwrap();
    let second = second.declare(0, quiesce()).unwrap().perform(|_| {
        let state = |name: &str| journal.incident(&id(name)).unwrap().state;
        assert!(matches!(state("i1"), IncidentState::InStep { .. }), "{:?}", state("i1"));
        assert!(matches!(state("i2"), IncidentState::InStep { .. }), "{:?}", state("i2"));
        End::Done
    });
    assert!(before.iter().all(|one| one.history.len() == 1), "a look is of one moment");
    assert!(matches!(second.record().unwrap(), Recorded::Well(_)));
    assert!(matches!(first.perform(|_| End::Done).record().unwrap(), Recorded::Well(_)));

    // From many threads, each its own: every record is there, in one order.
    std::thread::scope(|scope| {
        for number in 3..11 {
            let at = begin(&format!("i{number}")).unwrap();
            scope.spawn(|| run(at, &[End::Done, End::AlreadySo]).unwrap());
        }
    });
    drop(journal);
    let journal = open(&world).unwrap();
    let ended = journal.incidents().iter().filter(|one| one.is_closed()).count();
    assert_eq!((ended, records_in(&world).len()), (8, 2 * 3 + 8 * 6));
}

#[test]
fn an_incident_has_one_cursor_and_what_it_has_nobody_else_writes() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let plan = PlanId(Digest([1; 32]));
    let at = journal.begin(id("i1"), ResourceName::new("r0").unwrap(), plan, Consent::Policy).unwrap();
    let claimed = |error: JournalError| {
        assert_eq!(error.to_string(), "incident i1 is being carried out");
    };
    claimed(journal.ready(&id("i1")).unwrap_err());
    claimed(journal.resume(&id("i1")).unwrap_err());
    claimed(journal.append(Some(id("i1")), Event::Resumed).unwrap_err());
    claimed(journal.end(&id("i1"), "given up", Outcome::Abandoned).unwrap_err());
    let declared = at.declare(0, quiesce()).unwrap();
    claimed(journal.end(&id("i1"), "given up", Outcome::Abandoned).unwrap_err());
    assert_eq!(records_in(&world).len(), 2, "nothing was written");
    // Whoever drops it lets go of it, wherever it stands.
    drop(declared);
    journal.end(&id("i1"), "given up", Outcome::Abandoned).unwrap();
    assert!(journal.incident(&id("i1")).unwrap().is_closed());
    assert!(matches!(journal.resume(&id("i1")).unwrap_err(), JournalError::Illegal(_)));
    assert!(matches!(journal.resume(&id("i1")).unwrap_err(), JournalError::Illegal(_)));
}

#[test]
fn an_intent_without_an_end_is_unknown_after_reopening() {
    let world = quiet();
    let journal = open(&world).unwrap();
    let at = journal
        .begin(id("i1"), ResourceName::new("r0").unwrap(), PlanId(Digest([1; 32])), Consent::Policy)
        .unwrap();
    drop(at.declare(0, quiesce()).unwrap().perform(|_| End::Done));
    let journal = open(&world).unwrap();
    let state = &journal.incident(&id("i1")).unwrap().state;
    assert!(matches!(state, IncidentState::InStep { step: 0, next_step: 0, .. }), "{state:?}");
}

// ---- on a real directory ----

#[test]
fn people_can_read_it_and_two_processes_cannot_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(world::FakeClock::new());
    let root = folder.path().join("state");
    {
        let store = Arc::new(StateDir::open(&root).unwrap());
        let journal = Journal::open(store, clock.clone()).unwrap();
        assert!(append_all(&journal, &story()).1.is_none());
        let error = StateDir::open(&root).unwrap_err();
        let StateDirError::Locked { holder, .. } = &error else { panic!("{error}") };
        assert_eq!(*holder, Some(std::process::id()));

        let reader = StateDir::open_read_only(&root).unwrap();
        assert_eq!(Journal::read(&reader).unwrap().unwrap().records.len(), 8);
        assert!(reader.write_at(FILE, 0, b"x").is_err());
    }
    let text = std::fs::read_to_string(root.join(FILE)).unwrap();
    assert_eq!(text.lines().count(), 9);
    for line in text.lines().skip(1) {
        let json = &line[line.find('{').unwrap()..];
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(value["event"].is_string() && value["incident"] == "i1", "{line}");
    }
    let store = Arc::new(StateDir::open(&root).unwrap());
    assert_eq!(events_in(&Journal::open(store, clock).unwrap()), story());
}

#[test]
fn a_big_journal_is_read_in_reasonable_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = header();
    let mut link = Link::start();
    for seq in 1..=20_000u64 {
        let incident = Some(id(&format!("i{}", (seq - 1) / 4)));
        let event = match seq % 4 {
            1 => opened(),
            2 => Event::Intent { step: 0, name: quiesce() },
            3 => Event::Ended { step: 0, end: End::Done },
            _ => Event::Closed { outcome: Outcome::Healed },
        };
        let (line, next) = encode(&Record { seq, at: Stamp(0), incident, event }, &link).unwrap();
        bytes.extend(line);
        link = next;
    }
    assert!(bytes.len() > 2 << 20, "several chunks: {}", bytes.len());
    std::fs::write(folder.path().join(FILE), &bytes).unwrap();
    let store = StateDir::open_read_only(folder.path()).unwrap();
    let story = Journal::read(&store).unwrap().unwrap();
    assert_eq!(story.records.len(), 20_000);
    assert_eq!(story.incidents.as_slice().len(), 5_000);
}
