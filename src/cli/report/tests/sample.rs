//! A report as the captured incident would give it: 96 MiB of DRBD 8.4 with a volume group of three volumes, each node
//! having written to one of them and both to the third.

use crate::cli::report::*;
use crate::model::delta::{Delta, Scope};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::lineage::{Comparison, Reconnect, Relation};
use crate::model::side::Side;
use crate::model::size::BLOCK;
use crate::model::verdict::{Trace, Verdict};

/// Bytes of replicated data.
pub(super) const SIZE: u64 = 196_528 * 512;

/// Extents from (first block, number of blocks).
pub(super) fn blocks(list: &[(u64, u64)]) -> ExtentSet {
    list.iter().map(|(at, n)| Extent { start: at * BLOCK, len: n * BLOCK }).collect()
}

/// What a guest's small changes to its file system mark, from the volume's first block on.
fn guest(first: u64) -> Vec<(u64, u64)> {
    let touched = [(0, 1), (48, 4), (178, 1), (437, 1), (2208, 72), (2432, 1), (4096, 4)];
    touched.iter().map(|(at, n)| (first + at, *n)).collect()
}

/// The sample's delta. Side B's log has one hot extent without a write behind it.
pub(super) fn delta() -> Delta {
    let (mut a, mut b) = (guest(256), guest(6400));
    a.push((12_564, 40));
    b.push((12_584, 40));
    let written = blocks(&a).union(&blocks(&b));
    let unchanged = blocks(&[(6400 + 48, 4), (256 + 4096, 4)]);
    b.push((7168, 1024));
    let marked = Pair::new(blocks(&a), blocks(&b));
    let compared = marked.a.union(&marked.b).bytes();
    Delta {
        size: SIZE,
        scope: Scope::Candidates,
        marked,
        doubt: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        marks_complete: true,
        differs: written.subtract(&unchanged),
        content: Pair::new(Digest([1; 32]), Digest([2; 32])),
        unreadable: Vec::new(),
        compared,
    }
}

/// A unit of consecutive MiB.
pub(super) fn unit(
    name: &str,
    kind: UnitKind,
    content: Option<&str>,
    mib: (u64, u64),
    classes: &[ClassFacts],
) -> UnitRow {
    let extents: ExtentSet = std::iter::once(Extent { start: mib.0 << 20, len: mib.1 << 20 }).collect();
    UnitRow::new(name, kind, content.map(str::to_owned), extents.clip(SIZE), classes)
}

fn side(current: u64, bits: u64, after: u64, node: &str) -> SideFacts {
    SideFacts {
        data: format!("/var/tmp/incident-4711/{node}/vg0-r0.img"),
        data_size: 96 << 20,
        metadata: format!("/var/tmp/incident-4711/{node}/vg0-r0.img"),
        metadata_size: 96 << 20,
        format: MetadataFormat::V08,
        place: MetadataPlace::Internal,
        superblock_at: 100_659_200,
        current: GenerationUuid(current),
        bitmap: GenerationUuid(0x3C18_2E48_AF04_C0E1),
        history: vec![GenerationUuid::UNSET; 2],
        role: Role::Primary,
        disk: DiskState::UpToDate,
        crashed_primary: false,
        has_bitmap: true,
        bits,
        bits_after_replay: after,
        log: if bits == after { LogState::Clean } else { LogState::Hot },
        taken_at: "2026-11-21 11:34:09 UTC".to_owned(),
    }
}

/// The whole sample.
pub(super) fn report() -> ReportData {
    let names = Pair::new("node1".to_owned(), "node2".to_owned());
    let classes = ClassFacts::all(&delta());
    let comparison = Comparison {
        format: MetadataFormat::V08,
        rule: Some(90),
        name: "bitmap-both".to_owned(),
        result: "100".to_owned(),
        relation: Relation::Diverged,
        source: None,
        common_base: true,
        reconnect: Reconnect::Disconnect {
            because: "Split-Brain detected but unresolved, dropping connection!".to_owned(),
        },
        quirks: Vec::new(),
    };
    let lv = UnitKind::LogicalVolume;
    let units = vec![
        unit("LVM metadata", UnitKind::Structure, None, (0, 1), &classes),
        unit("drbdvg/vm-101-disk-0", lv, Some("ext4"), (1, 24), &classes),
        unit("drbdvg/vm-102-disk-0", lv, Some("ext4"), (25, 24), &classes),
        unit("drbdvg/shared", lv, None, (49, 8), &classes),
        unit("unclaimed", UnitKind::Unclaimed, None, (57, 39), &classes),
    ];
    let mut trace = Trace::new(crate::model::verdict::Reason {
        rule: "v08 rule 90".to_owned(),
        evidence: "bitmap UUID 3C182E48AF04C0E0 on both sides".to_owned(),
        conclusion: "split brain with a common base".to_owned(),
    });
    trace.push("after-sb-2pri = disconnect", "both sides were Primary", "no automatic choice");
    ReportData {
        schema: SCHEMA,
        version: VERSION,
        title: "r0".to_owned(),
        generated_at: "2026-11-21 11:40:00 UTC".to_owned(),
        comparison: Some(ComparisonFacts::new(&comparison, &names)),
        names,
        sides: Pair::new(
            side(0x3111_9376_60DD_29B3, 124, 124, "node1"),
            side(0x5108_F833_DB87_DA6B, 124, 1148, "node2"),
        ),
        scope: Scope::Candidates,
        size: SIZE,
        compared: delta().compared,
        marks_complete: true,
        if_keep: Pair::from_fn(|side: Side| Discard::new(side, &classes, &units)),
        classes,
        units,
        layout_notes: vec!["The volume group's metadata is the same on both sides.".to_owned()],
        unreadable: Vec::new(),
        verdict: Some(Verdict::Hold { trace }),
        incidents: None,
        next: vec![
            NextCommand::new(
                "Draw up a plan that keeps node1 (changes nothing yet):",
                "unsplit plan r0 --keep node1",
            ),
            NextCommand::new("Or one that keeps node2:", "unsplit plan r0 --keep node2"),
        ],
    }
}
