//! A peer is fenced while there is nothing to heal yet: the incident waits, and the plan that heals follows in it.

use crate::cluster::{Meddling, Nodes};
use crate::memory::World;
use crate::several::five;
use crate::world::faults::Fault;
use crate::world::rng::Rng;
use std::sync::Arc;
use unsplit::edge::clock::SystemClock;
use unsplit::engine::backend::Obstacle;
use unsplit::engine::fence;
use unsplit::engine::fence::answer::ByItsAnswer;
use unsplit::engine::incident::{Ending, begin, follow, resume};
use unsplit::engine::journal::{Journal, JournalError, NotReady};
use unsplit::engine::memory;
use unsplit::engine::plans;
use unsplit::engine::undone::{UndoError, healing_of};
use unsplit::judge::audit::{SealedPlan, seal_fence};
use unsplit::judge::incident::IncidentState;
use unsplit::judge::planner::fence::draw;
use unsplit::model::id::{Digest, IncidentId, ResourceName};
use unsplit::model::plan::fence::Step;
use unsplit::model::plan::{Ground, Plan, Purpose};
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::side::Side;
use unsplit::model::stage::Stage;
use unsplit::model::verdict::{Reason, Trace};
use unsplit::ports::progress::Silent;

fn plan_for(nodes: &Arc<Nodes>) -> Plan {
    let pair = nodes.both().look(&ResourceName::new("r3").unwrap()).unwrap();
    let [rule, evidence, conclusion] = ["fence", "a test", "prove it"].map(str::to_owned);
    let trace = Trace::new(Reason { rule, evidence, conclusion });
    let names = crate::driver::names("node1", "node2");
    draw(names, Side::A, ("ssh:node2".to_owned(), pair.toward.b), trace)
}

fn sealed(nodes: &Arc<Nodes>, world: &World) -> SealedPlan {
    let sealed = plans::seal_fence(plan_for(nodes)).unwrap();
    plans::keep(&*world.store, &sealed).unwrap();
    sealed
}

fn journal(world: &World) -> Journal {
    Journal::open(world.store.clone(), Arc::new(SystemClock)).unwrap()
}

/// Fences, or takes that up.
fn prove(
    nodes: &Arc<Nodes>,
    journal: &Journal,
    plan: &SealedPlan,
    id: &IncidentId,
) -> Result<Ending, JournalError> {
    let both = nodes.both();
    let fencer = ByItsAnswer { peer: both.asked().b };
    let work = fence::Work::new(&fencer, plan).unwrap();
    match journal.incident(id) {
        None => begin(journal, &work, id, Consent::Policy, None),
        Some(_) => resume(journal, &work, id, None),
    }
}

/// Heals in the incident that waits, or takes that up.
fn heal(
    world: &World,
    journal: &Journal,
    plan: &SealedPlan,
    id: &IncidentId,
) -> Result<Ending, JournalError> {
    let context = memory::Context {
        sides: world.replicas(),
        store: &*world.store,
        clock: &SystemClock,
        progress: &Silent,
        threads: 1,
    };
    let work = memory::Work::new(context, plan, None).unwrap();
    match journal.incident(id).unwrap().state {
        IncidentState::Fenced { .. } => follow(journal, &work, id, Consent::Operator, None),
        _ => resume(journal, &work, id, None),
    }
}

#[test]
fn a_fenced_peer_is_healed_in_the_same_incident_when_it_is_back() {
    let (nodes, world, id) = (five(), World::new(), IncidentId::new("i1").unwrap());
    let (plan, journal) = (sealed(&nodes, &world), journal(&world));
    assert_eq!(prove(&nodes, &journal, &plan, &id).unwrap(), Ending::Fenced);
    let waits = journal.incident(&id).unwrap();
    assert!(matches!(waits.state, IncidentState::Fenced { .. }), "{waits:?}");
    assert!(waits.reached(Stage::Fence) && !waits.touched() && !waits.is_closed());
    // There is nothing to undo of it.
    let nothing = healing_of(&journal, &*world.store, Some("i1"));
    assert!(matches!(nothing, Err(UndoError::NothingChanged { .. })), "{nothing:?}");
    assert!(matches!(healing_of(&journal, &*world.store, None), Err(UndoError::NothingHealed)));
    // It is proven again as often as somebody asks.
    assert_eq!(prove(&nodes, &journal, &plan, &id).unwrap(), Ending::Fenced);
    let healing = world.healing();
    assert_eq!(heal(&world, &journal, &healing, &id).unwrap(), Ending::Finished(Outcome::Healed));
    assert_eq!(world.content(Side::B), world.content(Side::A));
    let healed = journal.incident(&id).unwrap();
    assert_eq!((healed.plan, healed.consent), (healing.id(), Consent::Operator));
    assert!(healed.preserved() && healed.touched() && healed.reached(Stage::Fence));
    // And that can be undone.
    assert_eq!(healing_of(&journal, &*world.store, None).unwrap().0, id);
}

#[test]
fn a_peer_that_may_write_is_not_fenced() {
    let (nodes, world, id) = (five(), World::new(), IncidentId::new("i1").unwrap());
    let (plan, journal) = (sealed(&nodes, &world), journal(&world));
    nodes.cluster("r3").meddle(Meddling::Promote(Side::B));
    let given_up = prove(&nodes, &journal, &plan, &id).unwrap();
    let primary = |why: &str| why.contains("Primary on the peer");
    assert!(
        matches!(&given_up, Ending::Abandoned { obstacle: Obstacle::Busy, why } if primary(why)),
        "{given_up:?}"
    );
    // A healing does not follow what was not fenced.
    let healing = world.healing();
    let refused = heal(&world, &journal, &healing, &id).unwrap_err();
    assert!(matches!(refused, JournalError::Illegal(_)), "{refused:?}");
}

#[test]
fn only_a_healing_of_that_resource_follows() {
    let (nodes, world, id) = (five(), World::new(), IncidentId::new("i1").unwrap());
    let (plan, journal) = (sealed(&nodes, &world), journal(&world));
    assert_eq!(prove(&nodes, &journal, &plan, &id).unwrap(), Ending::Fenced);
    let both = nodes.both();
    let fencer = ByItsAnswer { peer: both.asked().b };
    let again = follow(&journal, &fence::Work::new(&fencer, &plan).unwrap(), &id, Consent::Policy, None);
    assert!(
        matches!(&again, Err(JournalError::NotReady(NotReady::OtherResource { .. }))),
        "a fence heals nothing: {again:?}"
    );
    let mut other = world.healing().plan().clone();
    other.resource = ResourceName::new("r9").unwrap();
    let other = unsplit::judge::audit::unseal_stored(other, Digest([1; 32])).unwrap();
    let refused = heal(&world, &journal, &other, &id);
    assert!(matches!(&refused, Err(JournalError::NotReady(NotReady::OtherResource { .. }))), "{refused:?}");
}

/// The power goes at every operation, from the first record to the last.
#[test]
fn cut_anywhere_it_goes_on_from_fencing_to_healed() {
    let held = World::new().content(Side::A);
    let mut cuts = 0;
    for cut in 0.. {
        let (nodes, world, id) = (five(), World::new(), IncidentId::new("i1").unwrap());
        let (plan, healing) = (sealed(&nodes, &world), world.healing());
        let line = || -> Option<Outcome> {
            let journal = Journal::open(world.store.clone(), Arc::new(SystemClock)).ok()?;
            let fences = |plan| plan == plan_id(&plan_for(&nodes));
            let known = journal.incident(&id);
            if known.as_ref().is_none_or(|known| !known.is_closed() && fences(known.plan)) {
                let waits = matches!(known.map(|known| known.state), Some(IncidentState::Fenced { .. }));
                if !waits && prove(&nodes, &journal, &plan, &id).ok()? != Ending::Fenced {
                    return None;
                }
            }
            match journal.incident(&id)?.state {
                IncidentState::Closed { outcome } => Some(outcome),
                _ => match heal(&world, &journal, &healing, &id) {
                    Ok(Ending::Finished(outcome)) => Some(outcome),
                    _ => None,
                },
            }
        };
        world.faults.go_on([(cut, Fault::Cut)]);
        let first = line();
        if !world.faults.is_off() {
            assert_eq!(first, Some(Outcome::Healed));
            break;
        }
        cuts += 1;
        world.power_cut(&mut Rng::new(cut));
        // Before anything was changed the healing may have given itself up, with the incident.
        let again = line();
        match again {
            Some(Outcome::Healed) => assert_eq!(world.content(Side::B), held, "cut {cut}"),
            again => panic!("cut {cut}: {again:?}, {:?}", journal(&world).incidents()),
        }
    }
    assert!(cuts > 60, "{cuts}");
}

type Change = fn(&mut Plan);

fn plan_id(plan: &Plan) -> unsplit::model::id::PlanId {
    plans::seal_fence(plan.clone()).unwrap().id()
}

#[test]
fn no_fault_in_a_plan_that_fences_passes_the_audit() {
    let plan = plan_for(&five());
    assert!(seal_fence(plan.clone(), Digest([0; 32])).is_ok());
    fn ground(plan: &mut Plan) -> &mut unsplit::model::plan::fence::Ground {
        match &mut plan.ground {
            Ground::Fence(ground) => ground,
            _ => panic!("a plan that fences"),
        }
    }
    let faults: [(&str, Change); 5] = [
        ("order", |plan| ground(plan).steps.clear()),
        ("order", |plan| ground(plan).steps.push(Step::Fence)),
        ("purpose", |plan| plan.purpose = Purpose::Heal),
        ("connection", |plan| plan.resource = ResourceName::new("r9").unwrap()),
        ("volumes", |plan| plan.volumes.extend(World::new().healing().plan().volumes.clone())),
    ];
    for (rule, fault) in faults {
        let mut plan = plan.clone();
        fault(&mut plan);
        let found = seal_fence(plan, Digest([0; 32])).unwrap_err();
        assert!(found.iter().any(|finding| finding.rule == rule), "{rule}: {found:?}");
    }
    // Nor is another kind's plan one that fences.
    let mut heal = World::new().healing().plan().clone();
    heal.purpose = Purpose::Fence;
    assert!(seal_fence(heal, Digest([0; 32])).is_err());
}
