//! The audit against wrong plans: one drawn from a real split brain passes, and each way of spoiling it is
//! found by the rule that is there for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod captures;

use captures::Capture;
use std::sync::Arc;
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::edge::clock::SystemClock;
use unsplit::edge::drbd::offline::OfflineReplica;
use unsplit::edge::layout::read_layout_within;
use unsplit::engine::inquiry::{Sight, diff, look};
use unsplit::judge::audit::images::against_basis;
use unsplit::judge::audit::{Finding, Seen, seal, seal_undo, unseal_of_version_1, unseal_stored};
use unsplit::judge::planner::images::{Inputs, draw, draw_undo};
use unsplit::judge::units::{attribute, losses};
use unsplit::model::delta::Delta;
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, Superblock, device_flag};
use unsplit::model::evidence::{Elsewhere, Source};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, IncidentId, NodeName, ResourceName};
use unsplit::model::plan::images::{self, Step};
use unsplit::model::plan::{Ground, Plan, Purpose, VolumePlan};
use unsplit::model::policy::Settings;
use unsplit::model::side::{Pair, Side};
use unsplit::model::verdict::{Reason, Trace};
use unsplit::ports::progress::Silent;
use unsplit::ports::replica::Replica;

struct World {
    sight: Sight,
    delta: Delta,
    plan: Plan,
    _folder: tempfile::TempDir,
}

/// The digest of a plan's canonical form, which is JSON on one line.
fn plan_digest(plan: &Plan) -> Digest {
    let mut line = serde_json::to_vec(plan).unwrap();
    line.push(b'\n');
    Digest(*blake3::hash(&line).as_bytes())
}

fn world(capture: Capture, survivor: Side) -> World {
    let folder = tempfile::tempdir().unwrap();
    let images = capture.unpack(folder.path());
    let open = |at: usize, name: &str| {
        let file = Arc::new(BlockFile::open(&images[at], Mode::ReadOnly).unwrap());
        OfflineReplica::open(NodeName::new(name).unwrap(), file, None, None, None).unwrap()
    };
    let sides = Pair::new(open(0, "node1"), open(1, "node2"));
    let replicas = sides.as_ref().map(|side| side as &dyn Replica);
    let sight = look(replicas, &Settings::drbd_defaults(), &SystemClock).unwrap();
    let delta = diff(replicas, &sight, false, 2, &Silent).unwrap();
    let layouts = Pair::from_fn(|side| read_layout_within(replicas[side].data(), delta.size));
    let plan = draw(Inputs {
        resource: ResourceName::new("r0").unwrap(),
        evidence: &sight.evidence,
        superblocks: sight.superblocks.clone(),
        delta: &delta,
        survivor,
        salvage: true,
        full: false,
        losses: losses(&attribute(&delta, &layouts), survivor),
        trace: Trace::new(Reason { rule: "test".into(), evidence: String::new(), conclusion: String::new() }),
    })
    .unwrap();
    World { sight, delta, plan, _folder: folder }
}

fn findings(world: &World, plan: Plan) -> Vec<Finding> {
    let digest = plan_digest(&plan);
    let seen = Seen::of_replicas(&world.sight.evidence, &world.delta);
    seal(plan, digest, &[seen]).err().unwrap_or_default()
}

#[test]
fn plans_from_real_split_brains_pass() {
    for capture in Capture::ALL {
        for survivor in Side::BOTH {
            let world = world(capture, survivor);
            assert_eq!(findings(&world, world.plan.clone()), [], "{capture:?} {survivor}");
            let digest = plan_digest(&world.plan);
            assert!(unseal_stored(world.plan.clone(), digest).is_ok());
            let incident = IncidentId::new("i1").unwrap();
            let undo = draw_undo(
                world.plan.images().unwrap(),
                incident,
                world.sight.superblocks.clone(),
                Pair::new(Digest([0; 32]), Digest([0; 32])),
            );
            let digest = plan_digest(&undo);
            assert_eq!(seal_undo(undo.clone(), digest, &world.plan).err(), None);
            assert_eq!(unseal_stored(undo, digest).err(), None);
        }
    }
}

/// What only a plan for two images knows.
fn ground(plan: &mut Plan) -> &mut images::Ground {
    match &mut plan.ground {
        Ground::Images(ground) => ground,
        Ground::Drbd(_) | Ground::Memory(_) | Ground::Fence(_) => panic!("not a plan for two images"),
    }
}

fn swap(plan: &mut Plan, one: impl Fn(&Step) -> bool, other: impl Fn(&Step) -> bool) {
    let steps = &mut ground(plan).steps;
    let (one, other) = (steps.iter().position(one).unwrap(), steps.iter().position(other).unwrap());
    steps.swap(one, other);
}

fn is_preserve(step: &Step) -> bool {
    matches!(step, Step::Preserve { .. })
}

fn is_mark(step: &Step) -> bool {
    matches!(step, Step::MarkInconsistent { .. })
}

fn is_content(step: &Step) -> bool {
    matches!(step, Step::VerifyContent { .. })
}

fn is_overwrite(step: &Step) -> bool {
    matches!(step, Step::Overwrite { .. })
}

/// A way of spoiling a plan, and the rule that must notice.
type Spoiler = (&'static str, fn(&mut Plan));

const SPOILERS: &[Spoiler] = &[
    ("schema", |plan| plan.version = 1),
    ("two-sides", |plan| plan.names.b = plan.names.a.clone()),
    ("two-sides", |plan| plan.volumes[0].at.b.data = plan.volumes[0].at.a.data.clone()),
    ("inside", |plan| plan.volumes[0].overwrite = ExtentSet::whole(plan.volumes[0].size + 4096)),
    ("inside", |plan| plan.volumes[0].size += 4096),
    ("exactly-once", |plan| ground(plan).steps.retain(|step| !is_preserve(step))),
    ("exactly-once", |plan| ground(plan).steps.retain(|step| *step != Step::CheckBasis)),
    ("exactly-once", |plan| ground(plan).steps.retain(|step| *step != Step::Quiesce)),
    ("exactly-once", |plan| ground(plan).steps.retain(|step| !is_mark(step))),
    ("exactly-once", |plan| ground(plan).steps.retain(|step| *step != Step::VerifyRelation)),
    ("exactly-once", |plan| ground(plan).steps.push(Step::Record)),
    ("discard-before-preserve", |plan| swap(plan, is_preserve, is_mark)),
    ("half-written-unmarked", |plan| swap(plan, is_mark, is_overwrite)),
    ("stale-evidence", |plan| swap(plan, |s| *s == Step::CheckBasis, is_preserve)),
    ("stale-evidence", |plan| swap(plan, |s| *s == Step::CheckBasis, is_mark)),
    ("quiesce-first", |plan| swap(plan, |s| *s == Step::Quiesce, |s| *s == Step::CheckBasis)),
    ("verify-last", |plan| swap(plan, is_overwrite, |s| matches!(s, Step::VerifyContent { .. }))),
    ("proven-before-said", |plan| {
        let victim = plan.victim();
        swap(plan, is_content, |s| *s == Step::SettleMetadata { side: victim });
    }),
    ("verify-last", |plan| {
        let survivor = plan.survivor;
        swap(plan, |s| *s == Step::VerifyRelation, |s| *s == Step::SettleMetadata { side: survivor });
    }),
    ("everything-compared", |plan| ground(plan).compared = None),
    ("everything-compared", |plan| {
        let first: ExtentSet = plan.volumes[0].overwrite.iter().take(1).collect();
        let compared = &mut ground(plan).compared;
        *compared = compared.as_ref().map(|compared| compared.subtract(&first));
    }),
    ("everything-compared", |plan| {
        for step in &mut ground(plan).steps {
            if let Step::VerifyContent { full } = step {
                *full = true;
            }
        }
    }),
    ("inside", |plan| {
        ground(plan).compared = Some(ExtentSet::whole(plan.volumes[0].size + 4096));
    }),
    ("record-last", |plan| swap(plan, |s| *s == Step::Record, |s| matches!(s, Step::VerifyContent { .. }))),
    ("settle", |plan| {
        let (survivor, victim) = (plan.survivor, plan.victim());
        swap(
            plan,
            |s| *s == Step::SettleMetadata { side: survivor },
            |s| *s == Step::SettleMetadata { side: victim },
        );
    }),
    ("settle", |plan| {
        let victim = plan.victim();
        swap(plan, is_overwrite, |s| *s == Step::SettleMetadata { side: victim });
    }),
    ("survivor-untouched", |plan| {
        let survivor = plan.survivor;
        for step in &mut ground(plan).steps {
            if let Step::Overwrite { side, .. } = step {
                *side = survivor;
            }
        }
    }),
    ("survivor-untouched", |plan| {
        let survivor = plan.survivor;
        let change = &mut ground(plan).metadata[survivor];
        change.during = Some(change.after.clone());
    }),
    ("numbers", |plan| {
        for step in &mut ground(plan).steps {
            if let Step::Preserve { bytes } = step {
                *bytes -= 1;
            }
        }
    }),
    ("numbers", |plan| {
        for step in &mut ground(plan).steps {
            if let Step::Overwrite { bytes, .. } = step {
                *bytes += 4096;
            }
        }
    }),
    ("same-generation", |plan| {
        let victim = plan.victim();
        ground(plan).metadata[victim].after.current = GenerationUuid(0x1234);
    }),
    ("same-generation", |plan| {
        ground(plan).metadata.a.after.current = GenerationUuid(0x1234);
        ground(plan).metadata.b.after.current = GenerationUuid(0x1234);
    }),
    ("nothing-left", |plan| {
        for side in Side::BOTH {
            let after = &mut ground(plan).metadata[side].after;
            after.bitmap = GenerationUuid(6);
            after.peers.iter_mut().for_each(|slot| slot.bitmap_uuid = GenerationUuid(6));
        }
    }),
    ("nothing-left", |plan| ground(plan).metadata.a.after.flags |= device_flag::CRASHED_PRIMARY),
    ("nothing-left", |plan| ground(plan).metadata.b.after.flags |= device_flag::PRIMARY_IND),
    ("nothing-left", |plan| ground(plan).metadata.a.clear_slots.clear()),
    ("third-peers", |plan| ground(plan).metadata.a.clear_slots.push(7)),
    ("up-to-date", |plan| ground(plan).metadata.b.after.flags &= !device_flag::WAS_UP_TO_DATE),
    ("half-written-unmarked", |plan| {
        let victim = plan.victim();
        ground(plan).metadata[victim].during = None;
    }),
    ("half-written-unmarked", |plan| {
        let victim = plan.victim();
        ground(plan).metadata[victim].during.as_mut().unwrap().flags |= device_flag::CONSISTENT;
    }),
    ("geometry", |plan| ground(plan).metadata.a.after.effective_size -= 8),
    ("geometry", |plan| ground(plan).metadata.b.after.bm_offset -= 8),
    ("geometry", |plan| ground(plan).metadata.b.after.device_uuid ^= 1),
    ("everything-that-differs", |plan| {
        let first = plan.volumes[0].overwrite.iter().next().unwrap();
        plan.volumes[0].overwrite = plan.volumes[0]
            .overwrite
            .subtract(&[Extent { start: first.start, len: 4096 }].into_iter().collect());
    }),
    ("everything-that-differs", |plan| {
        plan.volumes[0].overwrite =
            plan.volumes[0].overwrite.union(&[Extent { start: 0, len: 4096 }].into_iter().collect());
    }),
    ("basis", |plan| ground(plan).basis.a.content = Digest([1; 32])),
    ("basis", |plan| ground(plan).basis.b.area = Digest([1; 32])),
    ("basis", |plan| plan.volumes[0].at.b.data.push('x')),
    ("names", |plan| plan.names.a = NodeName::new("other").unwrap()),
    ("losses", |plan| plan.volumes[0].losses.iter_mut().for_each(|unit| unit.both += 1)),
    ("losses", |plan| plan.volumes[0].losses.clear()),
];

#[test]
fn every_spoiled_plan_is_found_out_by_its_rule() {
    for capture in [Capture::Drbd84Down, Capture::Drbd9Attached] {
        let world = world(capture, Side::A);
        for (at, (rule, spoil)) in SPOILERS.iter().enumerate() {
            let mut plan = world.plan.clone();
            spoil(&mut plan);
            assert_ne!(plan, world.plan, "spoiler {at} ({rule}) must change something");
            let found = findings(&world, plan);
            assert!(
                found.iter().any(|finding| finding.rule == *rule),
                "{capture:?}: spoiler {at} ({rule}) is not found: {found:?}"
            );
        }
    }
}

/// Ways of spoiling a plan that show in the plan itself: a stored one is refused, whoever computed its id.
const STORED: &[Spoiler] = &[
    ("proven-before-said", |plan| {
        let victim = plan.victim();
        swap(plan, is_content, |s| *s == Step::SettleMetadata { side: victim });
    }),
    ("proven-before-said", |plan| {
        let steps = &mut ground(plan).steps;
        let content = steps.iter().position(is_content).unwrap();
        let step = steps.remove(content);
        steps.insert(content + 2, step);
    }),
    ("slots", |plan| ground(plan).metadata.b.mark_slots.push(0)),
    ("slots", |plan| ground(plan).metadata.a.mark_hot_slots.push(0)),
    ("slots", |plan| ground(plan).metadata.b.clear_slots.push(0)),
    ("slots", |plan| ground(plan).metadata.b.mark_slots.push(32)),
    ("slots", |plan| ground(plan).metadata.b.mark_slots.push(u32::MAX)),
    ("slots", |plan| ground(plan).metadata.a.mark_hot_slots.push(32)),
    ("slots", |plan| ground(plan).metadata.a.clear_slots.push(32)),
    ("third-peers", |plan| {
        // Room for one more, which is neither cleared nor marked.
        let victim = plan.victim();
        let change = &mut ground(plan).metadata[victim];
        change.after.format = MetadataFormat::V09;
        change.after.max_peers += 1;
    }),
    ("survivor-untouched", |plan| {
        let survivor = plan.survivor;
        ground(plan).metadata[survivor].mark_slots.push(0);
    }),
    ("log", |plan| ground(plan).metadata.a.reset_log = false),
    ("log", |plan| ground(plan).metadata.b.reset_log = false),
    ("common-base", |plan| {
        let compared = plan.volumes[0].overwrite.clone();
        ground(plan).compared = Some(compared);
        ground(plan).common_base = false;
    }),
];

#[test]
fn a_stored_plan_that_was_edited_is_found_out_by_its_rule() {
    for capture in [Capture::Drbd84Down, Capture::Drbd9Attached] {
        let world = world(capture, Side::A);
        for (at, (rule, spoil)) in STORED.iter().enumerate() {
            let mut plan = world.plan.clone();
            spoil(&mut plan);
            assert_ne!(plan, world.plan, "spoiler {at} ({rule}) must change something");
            let found = unseal_stored(plan, Digest([1; 32])).err().unwrap_or_default();
            assert!(
                found.iter().any(|finding| finding.rule == *rule),
                "{capture:?}: spoiler {at} ({rule}) is not found: {found:?}"
            );
        }
    }
}

/// What a spoiler does to one superblock that the plan would write.
type SuperblockSpoiler = (&'static str, fn(&mut Superblock));

/// Found out as soon as somebody reads the superblocks that the plan was drawn from.
const SUPERBLOCKS: &[SuperblockSpoiler] = &[
    ("geometry", |sb| sb.max_peers += 1),
    ("geometry", |sb| sb.bm_bytes_per_bit *= 2),
    ("geometry", |sb| sb.device_uuid ^= 1),
    ("geometry", |sb| sb.md_size += 8),
    ("geometry", |sb| sb.al_offset += 8),
    ("geometry", |sb| sb.bm_offset -= 8),
    ("geometry", |sb| sb.al_stripes += 1),
    ("geometry", |sb| sb.al_stripe_size_4k += 1),
    ("geometry", |sb| sb.al_extents += 1),
    ("geometry", |sb| sb.la_peer_max_bio_size += 512),
    ("geometry", |sb| sb.effective_size -= 8),
    ("geometry", |sb| sb.node_id += 1),
];

/// The same, of the superblock that stands in the end only.
const AFTERWARDS: &[SuperblockSpoiler] = &[
    ("flags", |sb| sb.flags ^= device_flag::AL_DISABLED),
    ("flags", |sb| sb.flags ^= 1 << 30),
    ("generations", |sb| sb.history[0] = GenerationUuid(0x1234_5678)),
    ("same-generation", |sb| sb.current = GenerationUuid(0x1234_5678)),
];

#[test]
fn what_no_resync_leaves_is_found_out_by_the_superblocks_of_the_basis() {
    for capture in Capture::ALL {
        for survivor in Side::BOTH {
            let world = world(capture, survivor);
            let before = world.sight.evidence.as_ref().map(|seen| &seen.superblock);
            let check = |plan: &Plan, rule: &str, at: usize| {
                let found = against_basis(plan.images().unwrap(), before).err().unwrap_or_default();
                assert!(
                    found.iter().any(|finding| finding.rule == rule),
                    "{capture:?} {survivor}: spoiler {at} ({rule}) is not found: {found:?}"
                );
            };
            assert_eq!(against_basis(world.plan.images().unwrap(), before), Ok(()));
            let victim = survivor.other();
            for (at, (rule, spoil)) in SUPERBLOCKS.iter().enumerate() {
                for side in Side::BOTH {
                    let mut plan = world.plan.clone();
                    spoil(&mut ground(&mut plan).metadata[side].after);
                    check(&plan, rule, at);
                }
                let mut plan = world.plan.clone();
                spoil(ground(&mut plan).metadata[victim].during.as_mut().unwrap());
                check(&plan, rule, at);
            }
            for (at, (rule, spoil)) in AFTERWARDS.iter().enumerate() {
                let mut plan = world.plan.clone();
                spoil(&mut ground(&mut plan).metadata[victim].after);
                check(&plan, rule, at);
            }
        }
    }
}

#[test]
fn an_inconsistent_survivor_is_refused() {
    let mut world = world(Capture::Drbd84Down, Side::B);
    world.sight.evidence.b.superblock.flags &= !device_flag::CONSISTENT;
    let found = findings(&world, world.plan.clone());
    assert!(found.iter().any(|finding| finding.rule == "survivor-consistent"), "{found:?}");
}

#[test]
fn a_partial_comparison_without_a_common_base_is_refused() {
    let mut world = world(Capture::Drbd84Down, Side::B);
    world.delta.marks_complete = false;
    let found = findings(&world, world.plan.clone());
    assert!(found.iter().any(|finding| finding.rule == "common-base"), "{found:?}");
}

/// Plans that are kept from earlier versions verify contents last, and do not say what was compared. They can be taken up
/// again (whoever runs them verifies before it settles), but none is drawn any more.
#[test]
fn the_order_of_earlier_versions_is_read_and_not_drawn() {
    let world = world(Capture::Drbd9Attached, Side::A);
    let incident = IncidentId::new("i1").unwrap();
    let areas = Pair::new(Digest([0; 32]), Digest([0; 32]));
    let undo = draw_undo(world.plan.images().unwrap(), incident, world.sight.superblocks.clone(), areas);
    for drawn in [world.plan.clone(), undo] {
        let mut plan = drawn;
        let heal = plan.purpose == Purpose::Heal;
        let old = ground(&mut plan);
        old.compared = None;
        let content = old.steps.iter().position(is_content).unwrap();
        let content = old.steps.remove(content);
        old.steps.insert(old.steps.len() - 1, content);
        if !heal {
            old.steps.retain(|step| *step != Step::VerifyRelation);
        }
        let digest = plan_digest(&plan);
        assert!(!serde_json::to_string(&plan).unwrap().contains("compared"));
        assert_eq!(unseal_of_version_1(plan.clone(), digest).err(), None);
        let drawn = if heal {
            findings(&world, plan.clone())
        } else {
            seal_undo(plan.clone(), digest, &world.plan).err().unwrap_or_default()
        };
        let stored = unseal_stored(plan, digest).err().unwrap_or_default();
        for found in [drawn, stored] {
            let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
            assert!(
                rules.contains(&"proven-before-said") && rules.contains(&"everything-compared"),
                "{found:?}"
            );
        }
    }
}

/// What was compared and found equal must be looked at to the end, too.
#[test]
fn a_plan_that_leaves_out_what_was_equal_is_refused() {
    let mut found_any = false;
    for capture in Capture::ALL {
        let world = world(capture, Side::A);
        let mut plan = world.plan.clone();
        let overwrite = plan.volumes[0].overwrite.clone();
        ground(&mut plan).compared = Some(overwrite);
        if plan == world.plan {
            continue;
        }
        found_any = true;
        let found = findings(&world, plan);
        assert!(found.iter().any(|finding| finding.rule == "everything-compared"), "{capture:?}: {found:?}");
    }
    assert!(found_any, "in no capture anything marked is equal");
}

/// `/dev/vg/r0` here and `/dev/vg/r0` on the peer are two devices.
#[test]
fn one_path_on_two_machines_is_two_sides() {
    let world = world(Capture::Drbd9Attached, Side::A);
    let mut plan = world.plan.clone();
    let a = plan.volumes[0].at.a.clone();
    plan.volumes[0].at.b = Source {
        superblock_at: a.superblock_at,
        data: a.data,
        metadata: a.metadata,
        ..plan.volumes[0].at.b.clone()
    };
    let is_one = |plan: &Plan| findings(&world, plan.clone()).iter().any(|found| found.rule == "two-sides");
    assert!(is_one(&plan));
    plan.volumes[0].at.b.on =
        Some(Elsewhere { peer: "ssh:node2".into(), host: "node2".into(), machine: None });
    assert!(!is_one(&plan));
}

/// The undo of a healing is about that healing, and puts all of it back: as for a running resource.
#[test]
fn an_undo_of_something_else_is_refused() {
    let flaws: [Spoiler; 5] = [
        ("undoes-that", |plan| plan.survivor = plan.survivor.other()),
        ("undoes-that", |plan| plan.names.a = NodeName::new("other").unwrap()),
        ("undoes-that", |plan| plan.volumes[0].at.a.data.push('x')),
        ("undoes-that", |plan| ground(plan).metadata.a.clear_slots.push(7)),
        ("puts-all-back", |plan| {
            let first = plan.volumes[0].overwrite.iter().next().unwrap();
            plan.volumes[0].overwrite = plan.volumes[0].overwrite.subtract(&[first].into_iter().collect());
        }),
    ];
    let world = world(Capture::Drbd9Attached, Side::A);
    let areas = Pair::new(Digest([0; 32]), Digest([0; 32]));
    let incident = IncidentId::new("i1").unwrap();
    let undo = draw_undo(world.plan.images().unwrap(), incident, world.sight.superblocks.clone(), areas);
    for (at, (rule, spoil)) in flaws.into_iter().enumerate() {
        let mut plan = undo.clone();
        spoil(&mut plan);
        let digest = plan_digest(&plan);
        let found = seal_undo(plan, digest, &world.plan).err().unwrap_or_default();
        assert!(found.iter().any(|finding| finding.rule == rule), "flaw {at} ({rule}): {found:?}");
    }
}

/// What a backend knows of each volume is of as many volumes as the plan has.
#[test]
fn a_ground_of_other_volumes_is_refused() {
    let world = world(Capture::Drbd9Attached, Side::A);
    let flaws: [fn(&mut Plan); 3] = [
        |plan| plan.volumes.clear(),
        |plan| plan.volumes.push(VolumePlan { number: 1, ..plan.volumes[0].clone() }),
        |plan| plan.volumes[0].number = 1,
    ];
    for (at, spoil) in flaws.into_iter().enumerate() {
        let mut plan = world.plan.clone();
        spoil(&mut plan);
        let stored = unseal_stored(plan.clone(), Digest([1; 32])).err().unwrap_or_default();
        for found in [stored, findings(&world, plan)] {
            assert!(found.iter().any(|finding| finding.rule == "volumes"), "flaw {at}: {found:?}");
        }
    }
}
