//! Honest replies with one thing changed.

use crate::fake::{Disks, Out, Talk, alone, talk};
use crate::world::pair::Spec;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use unsplit::edge::peer::disk::RemoteDisk;
use unsplit::edge::peer::{RemoteNode, RemoteReplica};
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::format::wire::control::{Courtesy, Reply, Request};
use unsplit::judge::aftermath::after_resync;
use unsplit::model::drbd::{MetadataFormat, Superblock};
use unsplit::model::evidence::Source;
use unsplit::model::extent::ExtentSet;
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;
use unsplit::ports::node::Node;
use unsplit::ports::replica::{Replica, WritableReplica};

/// The word that a reply's document begins with.
fn word(request: &Request) -> String {
    let document = serde_json::to_value(request).unwrap();
    match document {
        Value::String(word) => word,
        Value::Object(map) => map.keys().next().unwrap().clone(),
        _ => panic!("{document}"),
    }
}

/// Where something can be changed: the way there, as keys and numbers.
fn places(value: &Value, way: &str, out: &mut Vec<String>) {
    out.push(way.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{way}/{key}"), out)),
        // The first ones stand for the others.
        Value::Array(all) => {
            for (at, value) in all.iter().enumerate().take(2) {
                places(value, &format!("{way}/{at}"), out);
            }
        }
        _ => {}
    }
}

/// What may stand in its place.
fn instead(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let one = number.as_i64().unwrap_or(0);
            let mut others = vec![
                json!(0),
                json!(-1),
                json!(one.wrapping_add(1)),
                json!(one.wrapping_sub(1)),
                json!(u32::MAX),
                json!(i32::MIN),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(1e300),
            ];
            others.retain(|other| other != value);
            others
        }
        Value::String(_) => {
            vec![
                json!(""),
                json!("\u{1b}[2J\n"),
                json!("x".repeat(5000)),
                json!("FFFFFFFFFFFFFFFF"),
                Value::Null,
            ]
        }
        Value::Array(all) => vec![
            json!([]),
            Value::Array([all.clone(), all.clone()].concat()),
            Value::Array(all.iter().rev().cloned().collect()),
            json!([[0, u64::MAX]]),
            json!([[u64::MAX, 1]]),
        ],
        Value::Bool(flag) => vec![json!(!flag)],
        _ => vec![json!({}), Value::Null, json!([]), json!(7)],
    }
}

/// One lie: at the `nth` request of that word, this place holds that.
struct Lie {
    word: String,
    way: String,
    value: Value,
}

fn told(reply: &Reply, lie: &Lie) -> Value {
    let mut document = serde_json::to_value(reply).unwrap();
    if let Some(place) = document.pointer_mut(&lie.way) {
        *place = lie.value.clone();
    }
    document
}

fn send(out: &mut Out, id: u32, document: &Value, beside: &[u8]) -> bool {
    let text = serde_json::to_vec(document).unwrap();
    let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(text);
    bytes.extend_from_slice(beside);
    out.reply(id, &bytes)
}

/// Everything that is asked of a replica without proofs.
fn ask_all(replica: &RemoteReplica, own: &Superblock, claim: bool) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let is_sound = |superblock: &Superblock, source: &Source| {
        superblock.check().unwrap();
        let Source { place, superblock_at, metadata_size, data_size, .. } = *source;
        Geometry::of(superblock, place, superblock_at, metadata_size, data_size).unwrap();
    };
    let source = replica.source();
    let superblock = replica.superblock().map_err(|error| said(&error))?;
    is_sound(&superblock, &source);
    replica.superblock_block().map_err(|error| said(&error))?;
    replica.area_digest().map_err(|error| said(&error))?;
    let seen = replica.observe(own, Stamp(5)).map_err(|error| said(&error))?;
    is_sound(&seen.superblock, &source);
    assert_eq!((seen.taken_at, seen.name.as_str(), &seen.source), (Stamp(5), "b", &source));
    assert!(seen.marks.candidates(replica.size()).end() <= replica.size());
    // What a plan reckons with next: a number of slots that no disk has ended the process here.
    let aftermath = after_resync(own, &seen.superblock);
    assert!(aftermath.victim.mark_slots.len() <= 32);
    let change = after_resync(own, &superblock).victim;
    let whole = ExtentSet::whole(replica.size());
    let blocks = replica.changed_blocks(&change, &whole).map_err(|error| said(&error))?;
    assert!(blocks.end() <= source.metadata_size);
    let left = replica.area_left(&change, &whole, replica.metadata(), &blocks);
    left.map_err(|error| said(&error))?;
    let mut bytes = vec![0; 4096];
    replica.data().read_at(0, &mut bytes).map_err(|error| said(&error))?;
    let _ = replica.data().stretch(0);
    replica.digest_there(&whole, 1).unwrap().map_err(|error| said(&error))?;
    if !claim {
        return Ok(());
    }
    let hold = replica.hold().map_err(|error| said(&error))?;
    hold.still_ours()?;
    assert!(!hold.how().contains(char::is_control));
    Ok(())
}

/// Own superblock, and all that is asked in one talk without a lie: the replies by the request's word, first of each.
fn honestly(disks: &Disks) -> (Superblock, BTreeMap<String, Value>) {
    let heard: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let keep = Arc::clone(&heard);
    let talk = talk(move |out: &mut Out, id, request: &Request, (reply, beside)| {
        keep.lock().unwrap().entry(word(request)).or_insert_with(|| serde_json::to_value(&reply).unwrap());
        out.say(id, &reply, &beside)
    });
    let own = disks.open(&talk, 0).unwrap().superblock().unwrap();
    ask_all(&disks.open(&talk, 1).unwrap(), &own, true).unwrap();
    drop(talk);
    (own, Arc::into_inner(heard).unwrap().into_inner().unwrap())
}

fn with_lie(lie: Lie) -> (Talk, Arc<AtomicBool>) {
    let lied = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&lied);
    let talk = talk(move |out: &mut Out, id, request: &Request, (reply, beside)| {
        if word(request) == lie.word {
            note.store(true, Ordering::SeqCst);
            send(out, id, &told(&reply, &lie), &beside)
        } else {
            out.say(id, &reply, &beside)
        }
    });
    (talk, lied)
}

fn every_lie_of(spec: &Spec) {
    let _alone = alone();
    let disks = Disks::of(spec);
    let (own, replies) = honestly(&disks);
    let expected = [
        "open",
        "superblock",
        "superblock-block",
        "area-digest",
        "observe",
        "changed-blocks",
        "area-left",
        "read",
        "stretch",
        "content-digest",
        "hold",
        "still-ours",
    ];
    let missing: Vec<_> = expected.iter().filter(|word| !replies.contains_key(**word)).collect();
    assert!(missing.is_empty(), "not asked: {missing:?}");
    let (mut lies, mut refused) = (0, 0);
    for (word, reply) in &replies {
        let mut ways = Vec::new();
        places(reply, "", &mut ways);
        let released = word == "release";
        for way in ways.into_iter().filter(|_| !released) {
            for value in instead(reply.pointer(&way).unwrap()) {
                let shown = format!("{word}{way} = {value}");
                // Claiming looks at every process of the machine.
                let claim = ["hold", "still-ours"].contains(&word.as_str());
                let (talk, lied) = with_lie(Lie { word: word.clone(), way: way.clone(), value });
                let (end, took) = crate::fake::memory_of(|| {
                    disks.open(&talk, 1).and_then(|replica| ask_all(&replica, &own, claim))
                });
                assert!(lied.load(Ordering::SeqCst), "{shown}");
                assert!(took < 64 << 20, "{shown}: {took} bytes");
                if let Err(words) = end {
                    refused += 1;
                    assert!(!words.contains(char::is_control), "{shown}: {words:?}");
                }
                lies += 1;
            }
        }
    }
    eprintln!("{lies} lies, {refused} refused");
    assert!(lies > 500 && refused > 300, "{lies} lies, {refused} refused");
}

#[test]
fn a_lying_replica_of_v08() {
    every_lie_of(&Spec::plain(MetadataFormat::V08, 3));
}

#[test]
fn a_lying_replica_of_v09() {
    every_lie_of(&Spec { slots: 2, ..Spec::plain(MetadataFormat::V09, 3) });
}

#[test]
fn a_lying_plain_disk() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    for (place, value) in [
        ("/opened/size", json!(u64::MAX)),
        ("/opened/size", json!(0)),
        ("/opened/data", json!("")),
        ("/opened/identity", json!("x".repeat(5000))),
        ("/opened/source", json!({ "data": "/x" })),
    ] {
        let lie = Lie { word: "open-disk".to_owned(), way: place.to_owned(), value: value.clone() };
        let (talk, _) = with_lie(lie);
        let opened = RemoteDisk::open(talk.session(), &disks.path(0), Courtesy::default());
        assert!(opened.is_err(), "{place} {value}");
    }
}

/// What a node tells goes to screens and journals, and is reckoned with by nobody before it is judged.
#[test]
fn a_lying_node() {
    let _alone = alone();
    let report = json!({
        "state": {
            "host": "n2", "machine": null, "boot": null, "taken_at": 5,
            "drbd": { "drbd": "unreadable", "told": "no" }
        },
        "configured": { "Ok": [{
            "resource": "r0",
            "volumes": [{ "volume": 0, "minor": 0, "disk": "/dev/vg/r0", "meta_disk": "internal" }],
            "peers": ["n1"],
            "net": [{ "name": "after-sb-0pri", "value": "disconnect" }]
        }] },
        "log": { "Ok": [{ "at": 1, "text": "drbd r0: hello" }] }
    });
    let mut ways = Vec::new();
    places(&report, "", &mut ways);
    let (mut lies, mut understood) = (0, 0);
    for way in ways {
        for value in instead(report.pointer(&way).unwrap()) {
            let mut lie = report.clone();
            *lie.pointer_mut(&way).unwrap() = value;
            let shown = lie.clone();
            let talk =
                talk(move |out: &mut Out, id, _: &Request, _| send(out, id, &json!({ "report": lie }), b""));
            let node = RemoteNode::new(Arc::clone(talk.session()), NodeName::new("b").unwrap());
            let (read, took) = crate::fake::memory_of(|| node.report());
            assert!(took < 64 << 20, "{shown}: {took} bytes");
            lies += 1;
            if let Ok(read) = read {
                understood += 1;
                let text = format!("{read:?}");
                assert!(!text.contains("\\u{1b}") && !text.contains("\\n"), "{shown}: {text}");
            }
        }
    }
    assert!(lies > 60 && understood > 10, "{lies} {understood}");
}
