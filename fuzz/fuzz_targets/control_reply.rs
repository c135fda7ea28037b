#![no_main]
//! Any bytes as a peer's reply to each kind of request: what is believed of it could have been read from a disk here, and
//! reckoning with it does not panic.
//!
//! The input is a byte that chooses the request, then the reply: length, document, bytes beside.

use unsplit::format::drbdmeta::create::{Wanted, create};
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::format::wire::believe::Known;
use unsplit::format::wire::control::{Courtesy, Opened, Reply, Request};
use unsplit::format::wire::reply::read_reply;
use unsplit::judge::aftermath::after_resync;
use unsplit::model::drbd::{MetadataFormat, Superblock};
use unsplit::model::evidence::{MetadataPlace, Source, Trust};
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;

const SIZE: u64 = 64 << 20;

fn opening() -> Request {
    Request::Open {
        name: NodeName::new("b").expect("a name"),
        data: "/srv/b".to_owned(),
        metadata: None,
        place: None,
        role: None,
        write: false,
        trust: unsplit::model::evidence::Trust::Checked,
        courtesy: Courtesy::default(),
    }
}

/// A replica that an honest agent opened.
fn honest() -> (Superblock, Known) {
    let wanted = Wanted { max_peers: 2, ..Wanted::internal(MetadataFormat::V09, SIZE) };
    let fresh = create(&wanted, false).expect("a shape that fits");
    let source = Source {
        data: "/srv/b".to_owned(),
        data_size: SIZE,
        metadata: "/srv/b".to_owned(),
        metadata_size: SIZE,
        place: MetadataPlace::Internal,
        superblock_at: fresh.geometry.superblock_at,
        on: None,
        trust: Trust::default(),
        grown_to: None,
    };
    let opened = Opened {
        thing: 0,
        data: "/srv/b".to_owned(),
        size: fresh.geometry.data_size,
        identity: "file 1:2".to_owned(),
        source: Some(source),
        superblock: Some(Box::new(fresh.superblock.clone())),
    };
    let known = Known::of(&opened, &opening()).expect("an honest agent is believed").expect("a replica");
    (fresh.superblock, known)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let (own, known) = honest();
    let request = match kind % 6 {
        0 => opening(),
        1 => Request::Observe { thing: 0, peer: Box::new(own.clone()), now: Stamp(1) },
        2 => Request::Superblock { thing: 0 },
        3 => Request::Report,
        4 => Request::Log,
        _ => Request::Users { minor: 0 },
    };
    let bounds = request.reply_bounds(Some(known.geometry()));
    let Ok((reply, beside)) = read_reply(bytes.to_vec(), bounds) else { return };
    assert!(beside.len() < bytes.len());
    match reply {
        Reply::Opened(opened) => {
            if let Ok(Some(theirs)) = Known::of(&opened, &request) {
                let (source, superblock) =
                    (opened.source.expect("checked"), opened.superblock.expect("checked"));
                let Source { place, superblock_at, metadata_size, data_size, .. } = source;
                let geometry = Geometry::of(&superblock, place, superblock_at, metadata_size, data_size);
                assert_eq!(geometry.as_ref(), Ok(theirs.geometry()));
                let _ = after_resync(&own, &superblock);
            }
        }
        Reply::Evidence(seen) => {
            if known.evidence(&seen, &own, None).is_ok() {
                let size = known.geometry().data_size;
                assert!(seen.marks.candidates(size).end() <= size);
                let _ = after_resync(&own, &seen.superblock);
            }
        }
        Reply::Superblock(superblock) => {
            if known.superblock(&superblock).is_ok() {
                let _ = after_resync(&superblock, &own);
            }
        }
        Reply::Extents(blocks) => {
            if known.blocks(&blocks).is_ok() {
                assert!(blocks.end() <= SIZE);
            }
        }
        _ => {}
    }
});
