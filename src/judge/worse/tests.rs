//! Advice judged again: what is proposed, or done without asking, never leads to a stand that is worse.

use super::*;
use crate::judge::lineage::compare;
use crate::judge::policy::{Case, Clues, DeltaSummary, decide};
use crate::model::drbd::{MetadataFormat, Role};
use crate::model::id::NodeName;
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, Keep, RrConflict, SalvageRule};
use crate::model::verdict::Verdict;
use proptest::prelude::*;
use proptest::sample::select;

const A: u64 = 0xAAAA_AAAA_AAAA_AAA0;
const B: u64 = 0xBBBB_BBBB_BBBB_BBB0;
const C: u64 = 0xCCCC_CCCC_CCCC_CCC0;

fn lineage(format: MetadataFormat, current: u64, bitmap: u64) -> Lineage {
    Lineage {
        format,
        current: GenerationUuid(current),
        bitmap: GenerationUuid(bitmap),
        other_bitmaps: Vec::new(),
        history: vec![GenerationUuid::UNSET; 2],
        disk: DiskState::UpToDate,
        role: Role::Secondary,
        crashed_primary: false,
        primary_lost_quorum: false,
        quorate: None,
        dirty_bits: 0,
    }
}

/// A resync from `b` to `a` that only `a` took for finished; `b` came back Outdated, with marks.
fn outdated_source(format: MetadataFormat) -> Pair<Lineage> {
    let mut pair = Pair::new(lineage(format, A, 0), lineage(format, A, B));
    (pair.b.disk, pair.b.dirty_bits) = (DiskState::Outdated, 21);
    pair
}

fn case(lineages: &Pair<Lineage>, settings: &Settings, keep: Option<Side>, delta: DeltaSummary) -> Case {
    let name = |name: &str| NodeName::new(name).unwrap();
    let comparison = compare(&lineages.a, &lineages.b, settings).unwrap();
    let names = Pair::new(name("a"), name("b"));
    Case { names, lineages: lineages.clone(), comparison, delta, clues: Clues::default(), keep }
}

/// Whatever the verdict says for somebody to read.
fn said(verdict: &Verdict) -> String {
    let words = |reason: &crate::model::verdict::Reason| {
        format!("{} [{}] {}\n", reason.rule, reason.evidence, reason.conclusion)
    };
    verdict.trace().reasons().iter().map(words).collect()
}

#[test]
fn connecting_an_outdated_source_is_worse_in_both_generations() {
    let net = Settings::drbd_defaults();
    let connect = Deed::Connect { discard: None };
    // 9 skips the resync and connects with what is marked.
    let stand = Stand::apart(outdated_source(MetadataFormat::V09));
    assert_eq!(stand.plight(&net), Ok(Plight::Silent));
    assert_eq!(stand.after(connect, &net).unwrap().plight(&net), Ok(Plight::SilentConnected));
    // With the Outdated side giving up its data it is what `resolve --keep` does, without the copy.
    let discarding = stand.after(Deed::Connect { discard: Some(Side::B) }, &net).unwrap();
    assert_eq!(discarding.plight(&net), Ok(Plight::Settled));
    // 8.4 overwrites the better disk.
    let stand = Stand::apart(outdated_source(MetadataFormat::V08));
    assert_eq!(stand.plight(&net), Ok(Plight::Reversed));
    assert_eq!(stand.after(connect, &net).unwrap().plight(&net), Ok(Plight::Lost));
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let stand = Stand::apart(outdated_source(format));
        let healed = stand.after(Deed::Heal { survivor: Side::A }, &net).unwrap();
        assert_eq!(healed.plight(&net), Ok(Plight::Settled));
        let back = stand.after(Deed::Heal { survivor: Side::B }, &net).unwrap();
        assert_eq!(back.plight(&net), Ok(Plight::WentBack));
        let found = compare(&stand.lineages.a, &stand.lineages.b, &net).unwrap();
        assert_eq!(keepable(stand.disks(), &found), [Side::A]);
    }
}

/// The report from the field: a cluster policy kept the Outdated node of an unfinished resync, unattended.
#[test]
fn an_outdated_source_is_held_with_a_hint_and_the_better_side_is_kept_without_a_warning() {
    let settings = Settings {
        after_sb_0pri: AfterSb0pri::DiscardZeroChanges,
        after_sb_1pri: AfterSb1pri::DiscardSecondary,
        keep: Some(Keep::Quorate),
        auto: true,
        ..Settings::drbd_defaults()
    };
    let delta = DeltaSummary { only_b: 21 * 4096, marks_complete: true, ..DeltaSummary::default() };
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let pair = outdated_source(format);
        for (lineages, better, delta) in
            [(pair.clone(), Side::A, delta), (pair.swapped(), Side::B, delta.mirrored())]
        {
            let found = compare(&lineages.a, &lineages.b, &settings).unwrap();
            assert_eq!(found.relation, Relation::InSync, "equal generations are never older");
            assert_eq!(found.source, Some(better.other()));
            let quirk =
                if format == MetadataFormat::V08 { "8.4 asks only for the rule" } else { "DRBD 9 skips" };
            assert!(found.quirks.iter().any(|text| text.contains(quirk)), "{:?}", found.quirks);
            let verdict = decide(&settings, &case(&lineages, &settings, None, delta));
            assert!(matches!(verdict, Verdict::Hold { .. }), "{verdict:#?}");
            assert!(said(&verdict).contains(&format!("--keep {better} keeps it")), "{}", said(&verdict));
            let verdict = decide(&settings, &case(&lineages, &settings, Some(better), delta));
            assert!(matches!(verdict, Verdict::Heal { survivor, .. } if survivor == better), "{verdict:#?}");
            assert!(!said(&verdict).contains("THIS "), "{}", said(&verdict));
            let verdict = decide(&settings, &case(&lineages, &settings, Some(better.other()), delta));
            assert!(said(&verdict).contains("THIS KEEPS THE POORER DISK"), "{}", said(&verdict));
        }
    }
}

/// A good source of an unfinished resync is followed, as DRBD does; what nobody marked is not decided by that.
#[test]
fn a_good_source_of_an_unfinished_resync_is_kept_and_unmarked_differences_are_not_decided() {
    let settings = Settings { auto: true, ..Settings::drbd_defaults() };
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let mut pair = outdated_source(format);
        pair.b.disk = DiskState::UpToDate;
        let delta = DeltaSummary { only_b: 4096, marks_complete: true, ..DeltaSummary::default() };
        let verdict = decide(&settings, &case(&pair, &settings, None, delta));
        assert!(matches!(verdict, Verdict::Heal { survivor: Side::B, auto: true, .. }), "{verdict:#?}");
        let more = DeltaSummary { unmarked: 4096, ..delta };
        let verdict = decide(&settings, &case(&pair, &settings, None, more));
        assert!(matches!(verdict, Verdict::Hold { .. }), "{verdict:#?}");
    }
}

fn any_lineage(format: MetadataFormat) -> impl Strategy<Value = Lineage> {
    let uuid = || select(vec![0u64, 4, A, A | 1, B, B | 1, C, A + GenerationUuid::NEW_BM_OFFSET]);
    // Fresh metadata says 4; a current generation that is not set at all is in no metadata that was ever written.
    let current = select(vec![4u64, A, A | 1, B, B | 1, C, A + GenerationUuid::NEW_BM_OFFSET]);
    let disk = select(vec![
        DiskState::Inconsistent,
        DiskState::Outdated,
        DiskState::Outdated,
        DiskState::Consistent,
        DiskState::UpToDate,
        DiskState::UpToDate,
    ]);
    let flags = any::<(bool, bool, bool)>();
    let quorate = select(vec![None, Some(true), Some(false)]);
    (
        current,
        uuid(),
        prop::collection::vec(uuid(), 2),
        uuid(),
        disk,
        flags,
        quorate,
        select(vec![0u64, 0, 3, 7]),
    )
        .prop_map(move |(current, bitmap, history, other, disk, flags, quorate, dirty_bits)| Lineage {
            other_bitmaps: match format {
                MetadataFormat::V09 if other != 0 => vec![GenerationUuid(other)],
                _ => Vec::new(),
            },
            history: history.into_iter().map(GenerationUuid).collect(),
            disk,
            role: if flags.0 { Role::Primary } else { Role::Secondary },
            crashed_primary: flags.1,
            primary_lost_quorum: flags.2,
            quorate,
            dirty_bits,
            ..lineage(format, current, bitmap)
        })
}

fn any_pair() -> impl Strategy<Value = Pair<Lineage>> {
    let formats = select(vec![MetadataFormat::V08, MetadataFormat::V09]);
    let free =
        formats.clone().prop_flat_map(|format| (any_lineage(format), any_lineage(format), any::<bool>()));
    free.prop_map(|(a, mut b, equal)| {
        // Half of them of one generation: that is where the rules are finest.
        if equal {
            b.current = a.current;
        }
        Pair::new(a, b)
    })
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
    ];
    let one = vec![
        AfterSb1pri::Disconnect,
        AfterSb1pri::Consensus,
        AfterSb1pri::ViolentlyAs0p,
        AfterSb1pri::DiscardSecondary,
        AfterSb1pri::CallPriLostAfterSb,
    ];
    let two = vec![AfterSb2pri::Disconnect, AfterSb2pri::ViolentlyAs0p, AfterSb2pri::CallPriLostAfterSb];
    let rr = vec![RrConflict::Disconnect, RrConflict::Violently, RrConflict::AutoDiscard];
    let keep = vec![None, Some(Keep::MostChanges), Some(Keep::Quorate)];
    (select(zero), select(one), select(two), select(rr), any::<bool>(), select(keep)).prop_map(
        |(zero, one, two, rr_conflict, always_asbp, keep)| Settings {
            after_sb_0pri: zero,
            after_sb_1pri: one,
            after_sb_2pri: two,
            rr_conflict,
            always_asbp,
            keep,
            auto: true,
            salvage: SalvageRule::Required,
            ..Settings::drbd_defaults()
        },
    )
}

fn any_delta() -> impl Strategy<Value = DeltaSummary> {
    let bytes = || select(vec![0u64, 4096, 8192]);
    (bytes(), bytes(), bytes(), bytes()).prop_map(|(only_a, only_b, both, unmarked)| DeltaSummary {
        only_a,
        only_b,
        both,
        unmarked,
        marks_complete: true,
        ..DeltaSummary::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    /// P11 for `--keep`, in both generations and every class of lineage: what is proposed is taken up without a warning or
    /// a refusal, ends settled, and is never worse than before.
    #[test]
    fn what_is_proposed_to_be_kept_never_makes_it_worse(
        pair in any_pair(), net in any_settings(), delta in any_delta(),
    ) {
        let stand = Stand::apart(pair);
        let before = stand.plight(&net).unwrap();
        let found = compare(&stand.lineages.a, &stand.lineages.b, &net).unwrap();
        let sides = keepable(stand.disks(), &found);
        for side in &sides {
            let after = stand.after(Deed::Heal { survivor: *side }, &net).unwrap().plight(&net).unwrap();
            prop_assert!(after <= before && after == Plight::Settled, "{before:?} became {after:?}: {found:#?}");
            let verdict = decide(&net, &case(&stand.lineages, &net, Some(*side), delta));
            let both_broken = Side::BOTH.iter().all(|side| stand.lineages[*side].disk == DiskState::Inconsistent);
            prop_assert!(!both_broken);
            prop_assert!(
                matches!(&verdict, Verdict::Heal { survivor, .. } if survivor == side)
                    || matches!(&verdict, Verdict::Agree { .. }),
                "{verdict:#?}"
            );
            // Where the newer side is half written the way out leads back, and is called so.
            let half_written = stand.lineages[side.other()].disk <= DiskState::Inconsistent;
            prop_assert!(half_written || !said(&verdict).contains("THIS "), "{}", said(&verdict));
        }
        // Two whole sides of a split brain are both offered: there a person chooses.
        if found.relation == Relation::Diverged
            && stand.lineages.iter().all(|(_, side)| side.disk == DiskState::UpToDate)
        {
            prop_assert_eq!(sides.len(), 2);
        }
    }

    /// What a policy does without asking ends settled and never goes back: not to an older generation, not to a poorer disk.
    #[test]
    fn what_runs_unattended_never_makes_it_worse(
        pair in any_pair(), net in any_settings(), delta in any_delta(),
    ) {
        let stand = Stand::apart(pair);
        if let Verdict::Heal { survivor, auto, .. } = decide(&net, &case(&stand.lineages, &net, None, delta)) {
            prop_assert!(auto);
            let before = stand.plight(&net).unwrap();
            let after = stand.after(Deed::Heal { survivor }, &net).unwrap().plight(&net).unwrap();
            prop_assert!(after <= before && after == Plight::Settled, "{before:?} became {after:?}: {stand:#?}");
        }
    }

    /// One ranking: whatever comes of a connection is worse exactly where the outlook says so; and of two sides that are not equally
    /// good one can always be kept, unless neither is whole.
    #[test]
    fn the_outlook_and_what_comes_of_it_agree(pair in any_pair(), net in any_settings()) {
        let stand = Stand::apart(pair);
        let found = compare(&stand.lineages.a, &stand.lineages.b, &net).unwrap();
        let outlook = connecting(stand.disks(), &found, &found.reconnect);
        let after = stand.after(Deed::Connect { discard: None }, &net).unwrap();
        let (before, after) = (stand.plight(&net).unwrap(), after.plight(&net).unwrap());
        match outlook {
            Outlook::Well => prop_assert!(after <= before, "{before:?} became {after:?}: {found:#?}"),
            Outlook::Refused => prop_assert_eq!(after, before),
            Outlook::Silent => prop_assert_eq!(after, Plight::SilentConnected),
            Outlook::Chance | Outlook::Reversed { .. } | Outlook::Discards { .. } => {
                prop_assert_eq!(after, Plight::Lost);
            }
            Outlook::Unknown => prop_assert!(false, "both sides are known"),
        }
        let back = Side::BOTH.map(|side| goes_back(stand.disks(), &found, side));
        // A newer side that is Outdated by its own word: neither can be kept without going back.
        let outdated = match found.relation {
            Relation::Ahead => stand.lineages.a.disk == DiskState::Outdated,
            Relation::Behind => stand.lineages.b.disk == DiskState::Outdated,
            _ => false,
        };
        prop_assert!(outdated || !(back[0] && back[1]), "{found:#?}");
        let whole = stand.lineages.iter().any(|(_, side)| side.disk > DiskState::Inconsistent);
        let one_at_least = whole && found.relation != Relation::Unrelated;
        let nothing = keepable(stand.disks(), &found).is_empty();
        prop_assert!(nothing != one_at_least || (nothing && outdated), "{found:#?}");
    }

    /// Both sides see the same.
    #[test]
    fn seen_from_the_other_side_it_is_as_bad(pair in any_pair()) {
        let net = Settings::drbd_defaults();
        let (here, there) = (Stand::apart(pair.clone()), Stand::apart(pair.swapped()));
        prop_assert_eq!(here.plight(&net), there.plight(&net));
        for discard in [None, Some(Side::A), Some(Side::B)] {
            let mirrored = Deed::Connect { discard: discard.map(Side::other) };
            let (here, there) =
                (here.after(Deed::Connect { discard }, &net).unwrap(), there.after(mirrored, &net).unwrap());
            prop_assert_eq!(here.plight(&net), there.plight(&net));
        }
    }
}
