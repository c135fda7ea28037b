//! The audit of plans for resources that run: a sound plan passes, and each thing that can be wrong with one is found, by its rule.

use crate::cluster::{Apart, CONFIGURED, Shape};
use crate::healing::Scene;
use std::sync::Arc;
use unsplit::engine::incident::{Ending, Obstacle};
use unsplit::engine::plans::{self, PlanError};
use unsplit::judge::audit::{SealedPlan, Seen, seal, seal_undo, unseal_stored};
use unsplit::judge::planner::drbd::draw_undo;
use unsplit::model::delta::{Delta, Unreadable};
use unsplit::model::drbd::device_flag;
use unsplit::model::drbd_live::Generation;
use unsplit::model::evidence::Evidence;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, IncidentId, PlanId, ResourceName};
use unsplit::model::node::AfterSb;
use unsplit::model::plan::drbd::{self, Reach, Step, VolumeGround};
use unsplit::model::plan::{Ground, Plan, Purpose};
use unsplit::model::record::Outcome;
use unsplit::model::seen::Why;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::store::Store;

fn plan(generation: Generation, volumes: &[Apart]) -> Plan {
    let shape = Shape {
        generation,
        survivor: Side::A,
        volumes: volumes.to_vec(),
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    };
    Scene::new(&shape).plan().unwrap().plan().clone()
}

fn rules(plan: Plan) -> Vec<&'static str> {
    unseal_stored(plan, Digest([7; 32]))
        .err()
        .unwrap_or_default()
        .iter()
        .map(|finding| finding.rule)
        .collect()
}

/// A plan written into the state directory by somebody else, its id recomputed; as it is read back.
pub fn stored_as(store: &dyn Store, plan: &Plan) -> Result<SealedPlan, PlanError> {
    let mut text = serde_json::to_vec(plan).unwrap();
    text.push(b'\n');
    let id = PlanId(Digest(*blake3::hash(&text).as_bytes()));
    let name = format!("plans/{}.json", id.0);
    store.create_dir("plans").unwrap();
    store.create(&name).unwrap();
    store.write_at(&name, 0, &text).unwrap();
    plans::load(store, id)
}

/// What only a plan for a resource that runs knows.
pub fn ground(plan: &mut Plan) -> &mut drbd::Ground {
    match &mut plan.ground {
        Ground::Drbd(ground) => ground,
        Ground::Images(_) | Ground::Memory(_) | Ground::Fence(_) => {
            panic!("not a plan for a resource that runs")
        }
    }
}

/// The same of one volume.
fn of(plan: &mut Plan, volume: usize) -> &mut VolumeGround {
    &mut ground(plan).volumes[volume]
}

/// What of the victim must be as it was.
fn guarded(plan: &Plan, volume: usize) -> ExtentSet {
    plan.drbd().unwrap().volumes().nth(volume).unwrap().guarded()
}

type Spoil = fn(&mut Plan);

#[test]
fn each_flaw_is_found() {
    fn drop_step(plan: &mut Plan, word: &str) {
        ground(plan).steps.retain(|step| step.word() != word);
    }
    fn to_end(plan: &mut Plan, word: &str) {
        let steps = &mut ground(plan).steps;
        let at = steps.iter().position(|step| step.word() == word).unwrap();
        let step = steps.remove(at);
        let end = steps.len() - 1;
        steps.insert(end, step);
    }
    let flaws: Vec<(&str, Spoil)> = vec![
        ("schema", |plan| plan.version = 1),
        ("two-sides", |plan| plan.names.b = plan.names.a.clone()),
        ("two-sides", |plan| ground(plan).machines.b = ground(plan).machines.a.clone()),
        ("volumes", |plan| plan.volumes.clear()),
        ("volumes", |plan| {
            plan.volumes.push(plan.volumes[0].clone());
            let again = of(plan, 0).clone();
            ground(plan).volumes.push(again);
        }),
        ("volumes", |plan| drop(ground(plan).volumes.pop())),
        ("volumes", |plan| plan.volumes.reverse()),
        ("connection", |plan| ground(plan).toward.a.peer = None),
        ("connection", |plan| ground(plan).toward.b.resource = ResourceName::new("other").unwrap()),
        ("inside", |plan| {
            let outside = Extent { start: plan.volumes[0].size, len: 4096 };
            plan.volumes[0].overwrite = plan.volumes[0].overwrite.union(&[outside].into_iter().collect());
        }),
        ("inside", |plan| {
            let outside = Extent { start: plan.volumes[0].size, len: 4096 };
            of(plan, 0).victim_marks = [outside].into_iter().collect::<ExtentSet>();
        }),
        ("inside", |plan| plan.volumes[0].at.b.data_size = 4096),
        ("reach", |plan| of(plan, 0).reach = Reach::Invalidate),
        ("reach", |plan| ground(plan).steps.insert(4, Step::Invalidate)),
        ("exactly-once", |plan| drop_step(plan, "isolate")),
        ("exactly-once", |plan| drop_step(plan, "demote")),
        ("exactly-once", |plan| drop_step(plan, "check-basis")),
        ("exactly-once", |plan| drop_step(plan, "preserve")),
        ("exactly-once", |plan| drop_step(plan, "reconnect")),
        ("exactly-once", |plan| drop_step(plan, "resync")),
        ("exactly-once", |plan| drop_step(plan, "verify-relation")),
        ("exactly-once", |plan| drop_step(plan, "verify-content")),
        ("exactly-once", |plan| drop_step(plan, "record")),
        ("exactly-once", |plan| ground(plan).steps.insert(0, Step::Isolate)),
        ("purpose", |plan| ground(plan).steps.insert(0, Step::Promote)),
        ("stale-evidence", |plan| to_end(plan, "check-basis")),
        ("discard-before-preserve", |plan| to_end(plan, "preserve")),
        ("quiesce-first", |plan| to_end(plan, "isolate")),
        ("quiesce-first", |plan| to_end(plan, "demote")),
        ("verify-last", |plan| to_end(plan, "reconnect")),
        ("record-last", |plan| ground(plan).steps.push(Step::RestorePolicies)),
        ("exactly-once", |plan| drop_step(plan, "restore-policies")),
        ("order", |plan| {
            let steps = &mut ground(plan).steps;
            let at = steps.iter().position(|step| *step == Step::Resync).unwrap();
            steps.swap(at, at + 1);
        }),
        ("verify-last", |plan| to_end(plan, "resync")),
        ("numbers", |plan| ground(plan).steps[3] = Step::Preserve { bytes: 1 }),
        ("numbers", |plan| plan.volumes.iter_mut().for_each(|one| one.overwrite = ExtentSet::empty())),
        ("losses", |plan| plan.volumes[0].losses.clear()),
        ("losses", |plan| plan.volumes[0].losses[0].both += 1),
        ("losses", |plan| plan.volumes[0].losses[0].unmarked = u64::MAX),
        ("losses", |plan| plan.volumes[1].doubtful = u64::MAX),
        ("purpose", |plan| plan.purpose = Purpose::Undo { incident: IncidentId::new("i1").unwrap() }),
    ];
    let sound = plan(Generation::V9, &[Apart::Diverged, Apart::Diverged]);
    assert_eq!(rules(sound.clone()), Vec::<&str>::new());
    for (number, (rule, spoil)) in flaws.into_iter().enumerate() {
        let mut spoiled = sound.clone();
        spoil(&mut spoiled);
        assert!(rules(spoiled.clone()).contains(&rule), "flaw {number} ({rule}): {:?}", rules(spoiled));
    }
}

/// A healing that was given up leaves `disconnect`. The next one puts back what the files say, not that.
#[test]
fn policies_that_an_earlier_healing_left_are_not_taken_for_the_configured_ones() {
    for generation in [Generation::V84, Generation::V9] {
        let shape = Shape {
            generation,
            volumes: vec![Apart::Diverged],
            survivor: Side::A,
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 3,
        };
        let mut scene = Scene::new(&shape);
        let before = ground(&mut scene.plan().unwrap().plan().clone()).policies;
        // 8.4's StandAlone has no options: the files decide in any case.
        assert_eq!(before.b, (generation == Generation::V9).then_some(CONFIGURED));
        for side in Side::BOTH {
            scene.cluster.lock().hosts[side].policies = AfterSb::DISCONNECT;
        }
        let sealed = scene.plan().unwrap();
        assert_eq!(sealed.plan().drbd().unwrap().ground.policies, before);
        scene.resolve(sealed.id()).unwrap();
        scene.healed().unwrap();
    }
}

#[test]
fn without_a_common_base_8_4_invalidates_and_9_does_not() {
    let steps = |mut plan: Plan| ground(&mut plan).steps.clone();
    let old = plan(Generation::V84, &[Apart::History]);
    assert!(steps(old.clone()).contains(&Step::Invalidate));
    let mut spoiled = old.clone();
    ground(&mut spoiled).steps.retain(|step| *step != Step::Invalidate);
    assert!(rules(spoiled).contains(&"reach"));
    let mut spoiled = old.clone();
    of(&mut spoiled, 0).reach = Reach::Everything;
    assert!(rules(spoiled).contains(&"reach"));
    let mut spoiled = old;
    let steps_now = &mut ground(&mut spoiled).steps;
    let at = steps_now.iter().position(|step| *step == Step::Invalidate).unwrap();
    steps_now.swap(at, at + 1);
    assert!(rules(spoiled).contains(&"reach"));
    assert!(!steps(plan(Generation::V9, &[Apart::History])).contains(&Step::Invalidate));
}

/// Two volumes whose winners are opposite: 8.4 would overwrite the survivor's second volume, so no plan is drawn. 9 turns the
/// resync round, so what the victim alone wrote there is overwritten, and must be kept.
#[test]
fn opposite_winners_are_refused_on_8_4_and_kept_on_9() {
    for survivor in Side::BOTH {
        let shape = |generation: Generation| Shape {
            generation,
            survivor,
            volumes: vec![Apart::Diverged, Apart::VictimAhead],
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 5,
        };
        let why = Scene::new(&shape(Generation::V84)).plan().unwrap_err();
        assert!(why.contains("instead, whose data is to be kept"), "{why}");
        let mut scene = Scene::new(&shape(Generation::V9));
        let sealed = scene.plan().unwrap();
        assert!(!sealed.plan().volumes[1].overwrite.is_empty());
        assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)));
        scene.healed().unwrap();
    }
}

/// A plan that was just drawn is held against all that it was drawn from.
#[test]
fn a_plan_that_is_not_what_was_seen_is_not_sealed() {
    fn outside(plan: &Plan) -> ExtentSet {
        let free = ExtentSet::whole(plan.volumes[0].size).subtract(&guarded(plan, 0));
        let first = free.first().unwrap().start;
        [Extent { start: first, len: 4096 }].into_iter().collect()
    }
    fn told(plan: &mut Plan) {
        let all = plan.bytes();
        for volume in &mut plan.volumes {
            volume.losses[0].both = volume.overwrite.bytes();
        }
        ground(plan).steps.iter_mut().for_each(|step| {
            if let Step::Preserve { bytes } = step {
                *bytes = all;
            }
        });
    }
    let flaws: Vec<(&str, Spoil)> = vec![
        ("everything-that-differs", |plan| {
            let first = plan.volumes[0].overwrite.first().unwrap();
            plan.volumes[0].overwrite =
                plan.volumes[0].overwrite.subtract(&[Extent { len: 4096, ..first }].into_iter().collect());
            told(plan);
        }),
        ("everything-that-differs", |plan| {
            plan.volumes[0].overwrite = plan.volumes[0].overwrite.union(&outside(plan));
            told(plan);
        }),
        ("marks", |plan| {
            let outside = outside(plan);
            of(plan, 0).victim_marks = of(plan, 0).victim_marks.union(&outside);
        }),
        ("marks", |plan| of(plan, 0).victim_marks = ExtentSet::empty()),
        ("marks", |plan| of(plan, 1).survivor_marks = None),
        ("basis", |plan| of(plan, 0).shown = None),
        ("basis", |plan| plan.volumes[0].at.b.data = "/dev/other".to_owned()),
        ("basis", |plan| of(plan, 1).generations.a = of(plan, 1).generations.b.clone()),
        ("inside", |plan| plan.volumes[0].size -= 4096),
        ("common-base", |plan| of(plan, 0).reach = Reach::Everything),
        ("volumes", |plan| drop(plan.volumes.pop())),
        ("survivor-consistent", |_| {}),
        ("reach", |plan| {
            plan.volumes[0].overwrite = plan.volumes[0].overwrite.union(&outside(plan));
            told(plan);
        }),
    ];
    let shape = Shape {
        generation: Generation::V9,
        survivor: Side::A,
        volumes: vec![Apart::Diverged, Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    };
    let (sound, seen) = Scene::new(&shape).drawn().unwrap();
    let sealed = |plan: Plan, seen: &[(Pair<Evidence>, Delta)]| {
        let seen: Vec<Seen<'_>> =
            seen.iter().map(|(evidence, delta)| Seen::of_replicas(evidence, delta)).collect();
        let found = seal(plan, Digest([7; 32]), &seen).err().unwrap_or_default();
        found.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(sealed(sound.clone(), &seen), Vec::<&str>::new());
    for (number, (rule, spoil)) in flaws.into_iter().enumerate() {
        let (mut spoiled, mut seen) = (sound.clone(), seen.clone());
        spoil(&mut spoiled);
        if rule == "reach" {
            // Found by comparing everything.
            seen[0].1.differs = spoiled.volumes[0].overwrite.clone();
        }
        if rule == "survivor-consistent" {
            seen[0].0.a.superblock.flags &= !device_flag::CONSISTENT;
        }
        let found = sealed(spoiled, &seen);
        assert!(found.contains(&rule), "flaw {number} ({rule}): {found:?}");
    }
    // Nothing of that can be read off a stored plan: it is looked at when it runs.
    let mut partial = seen;
    partial[1].1.unreadable = vec![Unreadable {
        side: Side::B,
        extent: Extent { start: 0, len: 4096 },
        why: Why("broken".to_owned()),
    }];
    assert_eq!(sealed(sound, &partial), ["unreadable"]);
}

#[test]
fn an_undo_that_is_not_about_its_healing_is_not_sealed() {
    let healed = plan(Generation::V9, &[Apart::Diverged, Apart::Diverged]);
    let all = || {
        let volumes = healed.drbd().unwrap().volumes();
        volumes.map(|one| (one.overwrite.clone(), one.ground.content)).collect()
    };
    let undo = draw_undo(healed.drbd().unwrap(), IncidentId::new("i1").unwrap(), all());
    let found = |plan: Plan| {
        let found = seal_undo(plan, Digest([7; 32]), &healed).err().unwrap_or_default();
        found.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(found(undo.clone()), Vec::<&str>::new());
    let flaws: Vec<(&str, Spoil)> = vec![
        ("purpose", |plan| plan.purpose = Purpose::Heal),
        ("undoes-that", |plan| plan.resource = ResourceName::new("other").unwrap()),
        ("undoes-that", |plan| ground(plan).machines.a = Some("another".to_owned())),
        ("undoes-that", |plan| of(plan, 0).minors.a = 7),
        ("undoes-that", |plan| plan.survivor = Side::B),
        ("puts-all-back", |plan| plan.volumes[1].overwrite = ExtentSet::empty()),
        ("numbers", |plan| ground(plan).steps[3] = Step::WriteBack { bytes: 1 }),
        ("salvage", |plan| plan.salvage = false),
    ];
    for (number, (rule, spoil)) in flaws.into_iter().enumerate() {
        let mut spoiled = undo.clone();
        spoil(&mut spoiled);
        let found = found(spoiled);
        assert!(found.contains(&rule), "flaw {number} ({rule}): {found:?}");
    }
}

/// "Preserve 1 byte, overwrite nothing", its id recomputed: refused when it is read. A plan that was made to add up is refused when it
/// runs, before anything is kept or overwritten: it is held against what both nodes show.
#[test]
fn an_edited_stored_plan_does_not_run() {
    let generations = [Generation::V84, Generation::V9];
    // Without a common base, what the victim alone marked is no excuse for leaving it out either.
    let all = generations.map(|generation| [(generation, Apart::Diverged), (generation, Apart::History)]);
    for (generation, apart) in all.into_iter().flatten() {
        let shape = Shape {
            generation,
            survivor: Side::A,
            volumes: vec![apart],
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 3,
        };
        let nothing = |plan: &mut Plan, kept: u64| {
            let volume = &mut plan.volumes[0];
            volume.overwrite = ExtentSet::empty();
            volume.losses.clear();
            volume.doubtful = 0;
            ground(plan).steps[3] = Step::Preserve { bytes: kept };
        };
        let mut scene = Scene::new(&shape);
        let store = Arc::clone(&scene.cluster.store);
        let sound = scene.plan().unwrap().plan().clone();

        let mut edited = sound.clone();
        nothing(&mut edited, 1);
        let refused = stored_as(&*store, &edited).unwrap_err();
        assert!(
            matches!(&refused, PlanError::Unsound { findings } if findings[0].rule == "numbers"),
            "{refused:?}"
        );

        for told in [true, false] {
            let mut edited = sound.clone();
            nothing(&mut edited, 0);
            if !told {
                of(&mut edited, 0).shown = None;
            }
            of(&mut edited, 0).content = scene.content_of(Side::B, &guarded(&edited, 0));
            let stored = stored_as(&*store, &edited).unwrap();
            let before = scene.cluster.lock().hosts.b.volumes[0].data();
            let Ok(Ending::Abandoned { obstacle: Obstacle::Stale, why }) = scene.resolve(stored.id()) else {
                panic!("{generation}, {told}: {}", scene.log());
            };
            assert!(why.contains("the plan leaves out"), "{why}");
            assert_eq!(scene.cluster.lock().hosts.b.volumes[0].data(), before);
        }

        assert_eq!(
            scene.resolve(stored_as(&*store, &sound).unwrap().id()),
            Ok(Ending::Finished(Outcome::Healed))
        );
        scene.healed().unwrap();
    }
}
