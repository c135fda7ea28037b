//! Replies without end, and replies that are small on the way and large in memory.

use crate::fake::{Disks, Out, alone, honest, memory_of, talk};
use crate::world::pair::Spec;
use std::sync::Arc;
use unsplit::edge::peer::RemoteNode;
use unsplit::format::wire::control::{LONGEST_READ, Reply, Request};
use unsplit::format::wire::frame::Kind;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::id::NodeName;
use unsplit::ports::node::Node;
use unsplit::ports::replica::Replica;

/// More than any reply of this side's may be, in documents and in memory.
const ENOUGH: usize = 600 << 20;

/// A document of about that many bytes: a head, the same again and again, and whatever.
fn padded(head: &str, again: &str, bytes: usize) -> Vec<u8> {
    let text = format!("{head}{}", again.repeat(bytes / again.len()));
    let mut document = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    document.extend(text.as_bytes());
    document
}

fn parts_without_end(out: &mut Out, id: u32) -> bool {
    let part = vec![b' '; LONGEST_READ as usize];
    (0..ENOUGH / part.len()).all(|_| out.frame(Kind::Part, id, &part)) && out.frame(Kind::Reply, id, b" ")
}

/// A short question was worth a gigabyte.
#[test]
fn a_reply_without_end_is_cut_short() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V09, 3));
    // Each of these, asked of a replica of 256 KiB.
    for at in 0..6 {
        let enemy = move |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| match request {
            Request::Open { .. } if at > 0 => honest(out, id, request, answer),
            _ => parts_without_end(out, id),
        };
        let talk = talk(enemy);
        let (failed, took) = memory_of(|| match disks.open(&talk, 1) {
            Err(error) => error,
            Ok(replica) => match at {
                1 => replica.superblock().unwrap_err().to_string(),
                2 => replica.superblock_block().unwrap_err().to_string(),
                3 => replica.area_digest().unwrap_err().to_string(),
                4 => replica.data().read_at(0, &mut [0; 512]).unwrap_err().to_string(),
                _ => unsplit::ports::replica::WritableReplica::hold(&replica).err().unwrap().to_string(),
            },
        });
        assert!(took < 16 << 20, "{at}: {took} bytes; {failed}");
        let lost = talk.session().lost().unwrap().to_string();
        assert!(lost.contains("bytes that can come here"), "{at}: {lost}");
    }
}

/// What a node tells may be long, and still has an end.
#[test]
fn a_node_that_tells_too_much_is_cut_short() {
    let _alone = alone();
    let most = 31 << 20;
    let floods: [(&str, Vec<u8>); 7] = [
        ("users", padded("{\"users\":[", "{\"who\":\"\"},", most)),
        ("log", padded("{\"log\":{\"Ok\":[", "{\"at\":0,\"text\":\"\"},", most)),
        ("deep", padded("", "[", most)),
        ("objects", padded("{\"report\":", "{\"state\":", most)),
        ("lists", padded("{\"users\":[", "[],", most)),
        ("text", padded("{\"users\":[{\"who\":\"", "\\u001b", most)),
        ("nothing", vec![b' '; most]),
    ];
    for (name, document) in floods {
        let (sent, document) = (document.len() as u64, Arc::new(document));
        let talk = talk(move |out: &mut Out, id, _: &Request, _| out.reply(id, &document));
        let node = RemoteNode::new(Arc::clone(talk.session()), NodeName::new("b").unwrap());
        let (end, took) = memory_of(|| node.users(0));
        assert!(end.is_err(), "{name}");
        // The reply itself, as it grows, and once more while it is taken apart.
        assert!(took < 4 * sent + (64 << 20), "{name}: {took} bytes for {sent}");
    }
    let talk = talk(|out: &mut Out, id, _: &Request, _| parts_without_end(out, id));
    let node = RemoteNode::new(Arc::clone(talk.session()), NodeName::new("b").unwrap());
    let (end, took) = memory_of(|| node.report());
    assert!(end.is_err() && took < 128 << 20, "{took} bytes");
}

/// Frames that belong to nothing that was asked.
#[test]
fn what_was_not_asked_ends_the_talk() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let (big, small) = (vec![b'x'; LONGEST_READ as usize], 7u32.to_le_bytes());
    let frames: Vec<(&str, Kind, u32, &[u8])> = vec![
        ("a reply to nothing", Kind::Reply, 4711, b"{}"),
        ("a part of nothing asked", Kind::Part, 4711, &big),
        ("an empty part", Kind::Part, 1, b""),
        ("a question", Kind::Request, 1, b"{}"),
        ("alive without a number", Kind::Alive, 0, b""),
        ("alive with too much", Kind::Alive, 0, &[0; 9]),
    ];
    for (name, kind, number, payload) in frames {
        let payload = payload.to_vec();
        let enemy = move |out: &mut Out, _: u32, _: &Request, _: (Reply, Vec<u8>)| {
            // A hundred megabytes, if they are taken.
            (0..100).all(|_| out.frame(kind, number, &payload))
        };
        let talk = talk(enemy);
        let (end, took) = memory_of(|| disks.open(&talk, 1).err());
        assert!(end.is_some() && talk.session().lost().is_some(), "{name}");
        assert!(took < 16 << 20, "{name}: {took} bytes");
    }
    // Messages, room and ends for channels that nobody opened are nothing.
    let enemy = move |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| {
        let nothing = (0..50).all(|_| {
            out.frame(Kind::Message, 4711, &big)
                && out.frame(Kind::Credit, 4711, &small)
                && out.frame(Kind::End, 4711, b"")
        });
        nothing && honest(out, id, request, answer)
    };
    let talk = talk(enemy);
    let (end, took) = memory_of(|| disks.open(&talk, 1).map(|_| ()));
    assert_eq!(end, Ok(()));
    assert!(took < 16 << 20, "{took} bytes");
}
