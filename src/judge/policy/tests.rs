//! Decisions in a mirror, and the promises every verdict keeps.

use super::{Case, Clues, DeltaSummary, decide, decide_running};
use crate::judge::lineage::{Handshake, compare_in};
use crate::model::delta::{Delta, Scope, Unreadable};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{Digest, NodeName};
use crate::model::lineage::{Lineage, Relation};
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, Keep, RrConflict, SalvageRule, Settings};
use crate::model::seen::Stamp;
use crate::model::side::{Pair, Side};
use crate::model::verdict::Verdict;
use proptest::prelude::*;
use proptest::sample::select;

fn any_lineage(format: MetadataFormat) -> impl Strategy<Value = Lineage> {
    let uuid = || select(vec![0u64, 0, 4, 0xA0, 0xA0, 0xA1, 0xB0, 0xC0, 0xD0]).prop_map(GenerationUuid);
    let disk =
        select(vec![DiskState::Inconsistent, DiskState::Outdated, DiskState::UpToDate, DiskState::UpToDate]);
    (
        uuid(),
        uuid(),
        prop::collection::vec(uuid(), 2),
        disk,
        any::<(bool, bool, bool)>(),
        select(vec![None, Some(true), Some(false)]),
        select(vec![0u64, 0, 3, 7]),
    )
        .prop_map(move |(current, bitmap, history, disk, flags, quorate, dirty_bits)| Lineage {
            format,
            current,
            bitmap,
            other_bitmaps: Vec::new(),
            history,
            disk,
            role: if flags.0 { Role::Primary } else { Role::Secondary },
            crashed_primary: flags.1,
            primary_lost_quorum: flags.2,
            quorate,
            dirty_bits,
        })
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn any_settings() -> impl Strategy<Value = Settings> {
    use AfterSb0pri as Zero;
    let zero = vec![
        Zero::Disconnect,
        Zero::DiscardYoungerPrimary,
        Zero::DiscardOlderPrimary,
        Zero::DiscardZeroChanges,
        Zero::DiscardLeastChanges,
        Zero::DiscardLocal,
        Zero::DiscardRemote,
        Zero::DiscardNode(node("node1")),
        Zero::DiscardNode(node("node3")),
    ];
    let one = vec![
        AfterSb1pri::Disconnect,
        AfterSb1pri::Consensus,
        AfterSb1pri::ViolentlyAs0p,
        AfterSb1pri::DiscardSecondary,
        AfterSb1pri::CallPriLostAfterSb,
    ];
    let two = vec![AfterSb2pri::Disconnect, AfterSb2pri::ViolentlyAs0p, AfterSb2pri::CallPriLostAfterSb];
    let rr = vec![
        RrConflict::Disconnect,
        RrConflict::CallPriLost,
        RrConflict::Violently,
        RrConflict::RetryConnect,
        RrConflict::AutoDiscard,
    ];
    let keep = vec![
        None,
        Some(Keep::MostChanges),
        Some(Keep::Newest),
        Some(Keep::Quorate),
        Some(Keep::RunningGuest),
        Some(Keep::Node(node("node2"))),
    ];
    (
        (select(zero), select(one), select(two), select(rr)),
        any::<(bool, bool)>(),
        (select(keep), select(vec![SalvageRule::Required, SalvageRule::Off])),
        select(vec![None, Some(0), Some(8192), Some(1 << 40)]),
    )
        .prop_map(
            |((zero, one, two, rr_conflict), (always_asbp, auto), (keep, salvage), max_discard)| Settings {
                after_sb_0pri: zero,
                after_sb_1pri: one,
                after_sb_2pri: two,
                rr_conflict,
                always_asbp,
                auto,
                keep,
                salvage,
                max_discard,
                ..Settings::drbd_defaults()
            },
        )
}

fn any_delta() -> impl Strategy<Value = DeltaSummary> {
    let bytes = || select(vec![0u64, 0, 4096, 8192, u64::MAX]);
    let holes = || select(vec![0u64, 0, 0, 4096]);
    (bytes(), bytes(), bytes(), bytes(), any::<bool>(), holes(), holes(), (holes(), holes())).prop_map(
        |(only_a, only_b, both, unmarked, marks_complete, unreadable_a, unreadable_b, doubt)| DeltaSummary {
            doubt_a: doubt.0,
            doubt_b: doubt.1,
            only_a,
            only_b,
            both,
            unmarked,
            marks_complete,
            unreadable_a,
            unreadable_b,
            ..DeltaSummary::default()
        },
    )
}

fn any_clues() -> impl Strategy<Value = Clues> {
    let flags = || prop::option::of(any::<(bool, bool)>().prop_map(|(a, b)| Pair::new(a, b)));
    let write = prop::option::of((0i64..3, 0i64..3).prop_map(|(a, b)| Pair::new(Stamp(a), Stamp(b))));
    (write, flags(), flags()).prop_map(|(last_write, running_guest, quorate)| Clues {
        last_write,
        running_guest,
        quorate,
    })
}

fn any_case() -> impl Strategy<Value = (Settings, Case)> {
    let sides = select(vec![MetadataFormat::V08, MetadataFormat::V09])
        .prop_flat_map(|format| (any_lineage(format), any_lineage(format)));
    let keep = select(vec![None, None, Some(Side::A), Some(Side::B)]);
    (any_settings(), sides, any_delta(), any_clues(), keep).prop_map(
        |(settings, (a, b), delta, clues, keep)| {
            let names = Pair::new(node("node1"), node("node2"));
            let case = made(&settings, Pair::new(a, b), names, delta, clues, keep);
            (settings, case)
        },
    )
}

fn made(
    settings: &Settings,
    lineages: Pair<Lineage>,
    names: Pair<NodeName>,
    delta: DeltaSummary,
    clues: Clues,
    keep: Option<Side>,
) -> Case {
    let with = Handshake::newest(lineages.a.format);
    let words = names.as_ref().map(NodeName::as_str);
    let comparison = compare_in(lineages.as_ref(), words, settings, &with).unwrap();
    Case { names, lineages, comparison, delta, clues, keep }
}

fn mirrored(settings: &Settings, case: &Case) -> (Settings, Case) {
    let after_sb_0pri = match &settings.after_sb_0pri {
        AfterSb0pri::DiscardLocal => AfterSb0pri::DiscardRemote,
        AfterSb0pri::DiscardRemote => AfterSb0pri::DiscardLocal,
        same => same.clone(),
    };
    let settings = Settings { after_sb_0pri, ..settings.clone() };
    let case = made(
        &settings,
        case.lineages.clone().swapped(),
        case.names.clone().swapped(),
        case.delta.mirrored(),
        case.clues.mirrored(),
        case.keep.map(Side::other),
    );
    (settings, case)
}

fn deed(verdict: &Verdict) -> (&'static str, Option<Side>, bool) {
    match verdict {
        Verdict::Agree { .. } => ("agree", None, false),
        Verdict::Heal { survivor, auto, .. } => ("heal", Some(*survivor), *auto),
        Verdict::Hold { .. } => ("hold", None, false),
        Verdict::Refuse { .. } => ("refuse", None, false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn seen_from_the_other_side_the_verdict_is_the_same((settings, case) in any_case()) {
        let here = decide(&settings, &case);
        let (there_settings, there_case) = mirrored(&settings, &case);
        let there = decide(&there_settings, &there_case);
        let (word, survivor, auto) = deed(&here);
        prop_assert_eq!(deed(&there), (word, survivor.map(Side::other), auto), "\n{:#?}\n{:#?}", here, there);
        prop_assert_eq!(here.trace().reasons().len(), there.trace().reasons().len());
    }

    #[test]
    fn guards_hold_whatever_the_policy_says((settings, case) in any_case()) {
        let verdict = decide(&settings, &case);
        prop_assert!(verdict.trace().reasons().iter().all(|reason| !reason.conclusion.is_empty()));
        if let Verdict::Heal { survivor, auto, .. } = verdict {
            let victim = survivor.other();
            prop_assert!(case.comparison.relation != Relation::Unrelated);
            prop_assert!(case.lineages[survivor].disk > DiskState::Inconsistent);
            prop_assert_eq!(case.delta.unreadable(survivor), 0);
            prop_assert!(case.keep.is_none_or(|named| named == survivor));
            if auto {
                prop_assert!(settings.auto && case.keep.is_none());
                prop_assert!(settings.max_discard.is_none_or(|limit| case.delta.discarded(victim) <= limit));
                prop_assert!(case.delta.unreadable(victim) == 0 || settings.salvage == SalvageRule::Off);
                prop_assert!(
                    case.comparison.relation != Relation::Diverged
                        || case.comparison.common_base
                        || settings.always_asbp
                        || case.comparison.format == MetadataFormat::V08
                );
            }
        }
        if let Verdict::Agree { .. } = decide(&settings, &case) {
            prop_assert_eq!(case.comparison.relation, Relation::InSync);
            prop_assert_eq!(case.delta.differs(), 0);
        }
    }
}

#[test]
fn a_summary_counts_by_class() {
    let extent = |start: u64, blocks: u64| Extent { start: start * 4096, len: blocks * 4096 };
    let set = |list: &[Extent]| list.iter().copied().collect::<ExtentSet>();
    let delta = Delta {
        size: 100 * 4096,
        scope: Scope::Candidates,
        marked: Pair::new(set(&[extent(0, 10)]), set(&[extent(5, 10)])),
        doubt: Pair::new(set(&[extent(12, 1)]), set(&[extent(4, 1), extent(20, 1)])),
        marks_complete: true,
        differs: set(&[extent(3, 4), extent(12, 1), extent(50, 2)]),
        content: Pair::new(Digest([0; 32]), Digest([1; 32])),
        unreadable: vec![Unreadable { side: Side::B, extent: extent(60, 3), why: "I/O error".into() }],
        compared: 0,
    };
    let summary = DeltaSummary::of(&delta);
    let blocks = |bytes: u64| bytes / 4096;
    assert_eq!([summary.only_a, summary.only_b, summary.both, summary.unmarked].map(blocks), [2, 1, 2, 2]);
    assert_eq!((summary.unreadable_a, blocks(summary.unreadable_b)), (0, 3));
    // A hot log keeps what the other side marked in doubt, where it differs.
    assert_eq!([summary.doubt_a, summary.doubt_b].map(blocks), [1, 1]);
    assert_eq!(blocks(summary.discarded(Side::A)), 7);
    assert_eq!(blocks(summary.discarded(Side::B)), 6);
    let unknown = DeltaSummary { marks_complete: false, ..summary };
    assert_eq!(blocks(unknown.discarded(Side::A)), 7);
}

/// A plan for a resource that runs makes nobody Primary: what it says of fencing must not read as if it waited for that.
#[test]
fn a_healing_that_runs_says_when_fencing_is_asked_for() {
    let settings = Settings::drbd_defaults();
    let lineage = |current: u64| Lineage {
        format: MetadataFormat::V09,
        current: GenerationUuid(current),
        bitmap: GenerationUuid(0x1000),
        other_bitmaps: Vec::new(),
        history: vec![GenerationUuid::UNSET; 2],
        disk: DiskState::UpToDate,
        role: Role::Secondary,
        crashed_primary: false,
        primary_lost_quorum: false,
        quorate: None,
        dirty_bits: 1,
    };
    let names = Pair::new(node("node1"), node("node2"));
    let delta = DeltaSummary::default();
    let pair = Pair::new(lineage(0x2000), lineage(0x3000));
    let case = made(&settings, pair, names, delta, Clues::default(), Some(Side::A));
    let fence = |verdict: Verdict| {
        let Verdict::Heal { trace, .. } = verdict else { panic!("{verdict:?}") };
        let found = trace.reasons().iter().find(|reason| reason.rule.starts_with("fence = ")).cloned();
        found.expect("a plan says what its fence rule means")
    };
    let devices = fence(decide(&settings, &case));
    assert!(devices.conclusion.starts_with("before node1 may be primary alone"), "{devices:?}");
    let running = fence(decide_running(&settings, &case));
    assert!(
        running.conclusion.starts_with("not asked for this: the plan makes nobody Primary"),
        "{running:?}"
    );
    assert!(
        running.conclusion.contains("Once node1 is to become Primary while node2 is silent: a fence agent"),
        "{running:?}"
    );
    assert!(running.evidence.contains("node2 must show itself Secondary"), "{running:?}");
}
