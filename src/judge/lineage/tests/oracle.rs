//! The kernels' own words: what they logged must be what the tables give, on both sides.

use super::super::{Handshake, compare_in};
use super::{settings, uuids};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::lineage::{Lineage, Reconnect, Relation};
use crate::model::side::Pair;

struct Seen {
    lineage: Lineage,
    reconnect: bool,
}

/// `self U:U:U:U bits:N flags:F`, wherever it stands in the line.
fn side(format: MetadataFormat, line: &str) -> Seen {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "self" || *word == "peer").unwrap();
    let uuid: Vec<u64> = words[at + 1].split(':').map(|hex| u64::from_str_radix(hex, 16).unwrap()).collect();
    let bits = words[at + 2].strip_prefix("bits:").unwrap().parse().unwrap();
    let flags = u64::from_str_radix(words[at + 3].strip_prefix("flags:").unwrap(), 16).unwrap();
    let lineage = Lineage {
        format,
        current: GenerationUuid(uuid[0]),
        bitmap: GenerationUuid(uuid[1]),
        other_bitmaps: Vec::new(),
        history: uuids(&uuid[2..]),
        disk: DiskState::UpToDate,
        role: Role::Secondary,
        crashed_primary: flags & 2 != 0,
        primary_lost_quorum: flags & 0x400 != 0,
        quorate: None,
        dirty_bits: bits,
    };
    Seen { lineage, reconnect: flags & 0x100 != 0 }
}

/// Number of handshakes checked.
fn check(format: MetadataFormat, text: &str) -> usize {
    let (mut mine, mut theirs, mut checked) = (None, None, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.contains("self ") {
            mine = Some(side(format, line));
        } else if line.contains("peer ") {
            theirs = Some(side(format, line));
        } else if let Some((_, said)) = line.split_once("uuid_compare()=") {
            let (me, peer) = (mine.take().unwrap(), theirs.take().unwrap());
            let (result, rule) = said.split_once(" by rule").unwrap();
            let with =
                Handshake { reconnect: Pair::new(me.reconnect, peer.reconnect), ..Handshake::newest(format) };
            let net = settings();
            let names = Pair::new("a", "b");
            let found = compare_in(Pair::new(&me.lineage, &peer.lineage), names, &net, &with).unwrap();
            assert_eq!(found.result, result, "{line}");
            match format {
                MetadataFormat::V08 => {
                    assert_eq!(found.rule.unwrap().to_string(), rule.trim(), "{line}");
                }
                MetadataFormat::V09 => assert_eq!(found.name, rule.trim_start_matches('='), "{line}"),
            }
            let back =
                compare_in(Pair::new(&peer.lineage, &me.lineage), names, &net, &with.swapped()).unwrap();
            assert_eq!(back.relation, found.relation.mirrored(), "{line}");
            checked += 1;
        }
    }
    checked
}

#[test]
fn drbd84_kernels_agree() {
    assert_eq!(
        check(MetadataFormat::V08, include_str!("../../../../tests/data/lineage/drbd84-node1.txt")),
        2
    );
    assert_eq!(
        check(MetadataFormat::V08, include_str!("../../../../tests/data/lineage/drbd84-node2.txt")),
        2
    );
}

#[test]
fn drbd9_kernels_agree() {
    assert_eq!(check(MetadataFormat::V09, include_str!("../../../../tests/data/lineage/drbd9-node1.txt")), 2);
    assert_eq!(check(MetadataFormat::V09, include_str!("../../../../tests/data/lineage/drbd9-node2.txt")), 2);
}

/// Of the same pair after `unsplit resolve`, after interruptions of it anywhere, and after undo.
#[test]
fn kernels_agree_on_what_healing_and_its_interruptions_leave() {
    let healed84 = include_str!("../../../../tests/data/lineage/drbd84-healed.txt");
    assert_eq!(check(MetadataFormat::V08, healed84), 18);
    let healed9 = include_str!("../../../../tests/data/lineage/drbd9-healed.txt");
    assert_eq!(check(MetadataFormat::V09, healed9), 15);
}

#[test]
fn made_lines_agree() {
    assert_eq!(check(MetadataFormat::V08, include_str!("../../../../tests/data/lineage/made84.txt")), 18);
    assert_eq!(check(MetadataFormat::V09, include_str!("../../../../tests/data/lineage/made9.txt")), 14);
}

/// The second handshake of each capture: the split brain itself, with nothing but DRBD's defaults.
#[test]
fn the_captured_split_brain_is_seen_whole() {
    for (format, text, rule, name) in [
        (
            MetadataFormat::V08,
            include_str!("../../../../tests/data/lineage/drbd84-node1.txt"),
            Some(90),
            "bitmap-both",
        ),
        (
            MetadataFormat::V09,
            include_str!("../../../../tests/data/lineage/drbd9-node2.txt"),
            None,
            "bitmap-both",
        ),
    ] {
        let lines: Vec<&str> = text.lines().collect();
        let find = |word: &str| lines.iter().rfind(|line| line.contains(word)).unwrap();
        let (mut a, mut b) = (side(format, find("self ")).lineage, side(format, find("peer ")).lineage);
        (a.role, b.role) = (Role::Primary, Role::Primary);
        let found = super::super::compare(&a, &b, &settings()).unwrap();
        assert_eq!((found.rule, found.name.as_str()), (rule, name));
        assert_eq!(found.relation, Relation::Diverged);
        assert!(found.common_base);
        assert_eq!(
            found.reconnect,
            Reconnect::Disconnect {
                because: "Split-Brain detected but unresolved, dropping connection!".to_owned()
            }
        );
        assert!(found.quirks.iter().any(|quirk| quirk.contains("Both sides are Primary")));
    }
}
