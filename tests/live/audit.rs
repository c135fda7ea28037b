//! The audit of live plans: a sound plan passes, and each thing that can be wrong with one is found, by its rule.

use crate::cluster::{Apart, CONFIGURED, Shape};
use crate::healing::Scene;
use unsplit::engine::executor::Ending;
use unsplit::judge::live_plan::seal;
use unsplit::model::drbd_live::Generation;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, IncidentId, ResourceName};
use unsplit::model::live_plan::{LivePlan, LiveStep, Reach};
use unsplit::model::node::AfterSb;
use unsplit::model::plan::Purpose;
use unsplit::model::record::Outcome;
use unsplit::model::side::Side;

fn plan(generation: Generation, volumes: &[Apart]) -> LivePlan {
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

fn rules(plan: LivePlan) -> Vec<&'static str> {
    seal(plan, Digest([7; 32])).err().unwrap_or_default().iter().map(|finding| finding.rule).collect()
}

type Spoil = fn(&mut LivePlan);

#[test]
fn each_flaw_is_found() {
    fn drop_step(plan: &mut LivePlan, word: &str) {
        plan.steps.retain(|step| step.word() != word);
    }
    fn to_end(plan: &mut LivePlan, word: &str) {
        let at = plan.steps.iter().position(|step| step.word() == word).unwrap();
        let step = plan.steps.remove(at);
        let end = plan.steps.len() - 1;
        plan.steps.insert(end, step);
    }
    let flaws: Vec<(&str, Spoil)> = vec![
        ("schema", |plan| plan.version = 2),
        ("two-sides", |plan| plan.names.b = plan.names.a.clone()),
        ("two-sides", |plan| plan.machines.b = plan.machines.a.clone()),
        ("volumes", |plan| plan.volumes.clear()),
        ("volumes", |plan| plan.volumes.push(plan.volumes[0].clone())),
        ("volumes", |plan| plan.volumes.reverse()),
        ("connection", |plan| plan.toward.a.peer = None),
        ("connection", |plan| plan.toward.b.resource = ResourceName::new("other").unwrap()),
        ("inside", |plan| {
            let outside = Extent { start: plan.volumes[0].size, len: 4096 };
            plan.volumes[0].overwrite = plan.volumes[0].overwrite.union(&[outside].into_iter().collect());
        }),
        ("inside", |plan| {
            let outside = Extent { start: plan.volumes[0].size, len: 4096 };
            plan.volumes[0].victim_marks = [outside].into_iter().collect::<ExtentSet>();
        }),
        ("inside", |plan| plan.volumes[0].sources.b.data_size = 4096),
        ("reach", |plan| plan.volumes[0].reach = Reach::Invalidate),
        ("reach", |plan| plan.steps.insert(4, LiveStep::Invalidate)),
        ("exactly-once", |plan| drop_step(plan, "isolate")),
        ("exactly-once", |plan| drop_step(plan, "demote")),
        ("exactly-once", |plan| drop_step(plan, "check-basis")),
        ("exactly-once", |plan| drop_step(plan, "preserve")),
        ("exactly-once", |plan| drop_step(plan, "reconnect")),
        ("exactly-once", |plan| drop_step(plan, "resync")),
        ("exactly-once", |plan| drop_step(plan, "verify-relation")),
        ("exactly-once", |plan| drop_step(plan, "verify-content")),
        ("exactly-once", |plan| drop_step(plan, "record")),
        ("exactly-once", |plan| plan.steps.insert(0, LiveStep::Isolate)),
        ("purpose", |plan| plan.steps.insert(0, LiveStep::Promote)),
        ("stale-evidence", |plan| to_end(plan, "check-basis")),
        ("discard-before-preserve", |plan| to_end(plan, "preserve")),
        ("quiesce-first", |plan| to_end(plan, "isolate")),
        ("quiesce-first", |plan| to_end(plan, "demote")),
        ("verify-last", |plan| to_end(plan, "reconnect")),
        ("record-last", |plan| plan.steps.push(LiveStep::RestorePolicies)),
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
        let before = scene.plan().unwrap().plan().policies;
        // 8.4's StandAlone has no options: the files decide in any case.
        assert_eq!(before.b, (generation == Generation::V9).then_some(CONFIGURED));
        for side in Side::BOTH {
            scene.cluster.lock().hosts[side].policies = AfterSb::DISCONNECT;
        }
        let sealed = scene.plan().unwrap();
        assert_eq!(sealed.plan().policies, before);
        scene.resolve(sealed.id()).unwrap();
        scene.healed().unwrap();
    }
}

#[test]
fn without_a_common_base_8_4_invalidates_and_9_does_not() {
    let old = plan(Generation::V84, &[Apart::History]);
    assert!(old.steps.contains(&LiveStep::Invalidate));
    let mut spoiled = old.clone();
    spoiled.steps.retain(|step| *step != LiveStep::Invalidate);
    assert!(rules(spoiled).contains(&"reach"));
    let mut spoiled = old.clone();
    spoiled.volumes[0].reach = Reach::Everything;
    assert!(rules(spoiled).contains(&"reach"));
    let mut spoiled = old;
    let at = spoiled.steps.iter().position(|step| *step == LiveStep::Invalidate).unwrap();
    spoiled.steps.swap(at, at + 1);
    assert!(rules(spoiled).contains(&"reach"));
    assert!(!plan(Generation::V9, &[Apart::History]).steps.contains(&LiveStep::Invalidate));
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
