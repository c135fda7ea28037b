//! What unsplit leaves, against what DRBD's own resync left of the same split brain (tests/data/drbd/*.superblock).
//!
//! Every field must be equal, but for those that a test names with the reason why unsplit departs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use unsplit::format::drbdmeta::superblock;
use unsplit::judge::aftermath::after_resync;
use unsplit::model::drbd::{GenerationUuid, Superblock, device_flag};

/// The last 4 KiB of a capture.
fn captured(name: &str) -> Superblock {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drbd").join(name);
    let bytes = std::fs::read(path).unwrap();
    superblock::parse(&bytes[bytes.len() - 4096..]).unwrap()
}

/// What unsplit would leave on node 1 and node 2.
fn ours(before: [&Superblock; 2], victim: usize) -> [Superblock; 2] {
    let survivor = 1 - victim;
    let after = after_resync(before[survivor], before[victim]);
    let mut both = [after.survivor.after, after.victim.after];
    if victim == 0 {
        both.reverse();
    }
    both
}

#[test]
fn drbd_84_left_the_same_but_for_the_uuid_of_its_transfer() {
    const BASE: GenerationUuid = GenerationUuid(0x3C18_2E48_AF04_C0E1);
    for state in ["down", "attached"] {
        let before = [1, 2].map(|node| captured(&format!("v08-node{node}-{state}.tail")));
        for victim in [0, 1] {
            let after = ours([&before[0], &before[1]], victim);
            for (node, ours) in (1..).zip(after) {
                let real = captured(&format!("v08-node{node}-resync-victim{}.superblock", victim + 1));
                // The kernel writes the "unclean" magic always and AL_CLEAN never; `drbdmeta apply-al`, which is run
                // before every attach, made of this very superblock the ones that we write.
                assert!(real.unclean_magic && !real.has(device_flag::AL_CLEAN));
                // It names each transfer by a UUID of its own, base + UUID_NEW_BM_OFFSET, which takes one of two places
                // in the history. There was no such transfer, and the place is kept for a generation that was.
                let transfer = GenerationUuid(BASE.0 + GenerationUuid::NEW_BM_OFFSET);
                assert!(real.history[0].same(transfer) && real.history[1] == BASE, "{:?}", real.history);
                let expected = Superblock {
                    unclean_magic: false,
                    flags: real.flags | device_flag::AL_CLEAN,
                    history: vec![BASE, GenerationUuid::UNSET],
                    ..real
                };
                assert_eq!(ours, expected, "{state}, node{node}, victim node{}", victim + 1);
            }
        }
    }
}

#[test]
fn drbd_9_left_the_same_but_for_who_was_there_last() {
    for (before, resync) in [("attached.tail", "resync"), ("orderly.superblock", "orderly-resync")] {
        let before = [1, 2].map(|node| captured(&format!("v09-node{node}-{before}")));
        for victim in [0, 1] {
            let after = ours([&before[0], &before[1]], victim);
            for (node, ours) in (1..).zip(after) {
                let real = captured(&format!("v09-node{node}-{resync}-victim{}.superblock", victim + 1));
                // `drbdmeta apply-al`, which is run before every attach, sets the flag.
                assert!(!real.has(device_flag::AL_CLEAN));
                // `down` disconnects in order, so that each was alone in the end. A node that attaches with that and
                // HAVE_QUORUM takes its quorum up again on its own; we do not give it that right.
                assert_eq!(real.members, 1 << (node - 1));
                let expected =
                    Superblock { flags: real.flags | device_flag::AL_CLEAN, members: 0b11, ..real };
                assert_eq!(ours, expected, "{resync}, node{node}, victim node{}", victim + 1);
            }
        }
    }
}
