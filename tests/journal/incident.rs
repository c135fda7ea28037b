//! The one loop over a backend that does what a script says: what the journal has at each moment, and how it ends.

use super::{id, open, quiet};
use crate::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use unsplit::engine::backend::{Backend, Ended, Obstacle, Part, Run};
use unsplit::engine::incident::{Ending, begin, resume};
use unsplit::engine::journal::Journal;
use unsplit::format::plan_v1;
use unsplit::judge::audit::{SealedPlan, unseal_of_version_1};
use unsplit::judge::incident::IncidentState;
use unsplit::model::id::{Digest, IncidentId};
use unsplit::model::plan::Purpose;
use unsplit::model::record::{Consent, Event, Outcome};
use unsplit::model::seen::{End, Why};
use unsplit::model::stage::{Stage, StepName};
use unsplit::proof::Permit;

const HEALING: &str = include_str!(
    "../data/state-0.1/plans/571f11b032f8cc987acb664839e1a9f5123d138a773de43390f7b515cf64116f.json"
);
const UNDO: &str = include_str!(
    "../data/state-0.1/plans/ce4adebbeb3d28a4023b90b42902bb3d61ae1bf2ffcef1d8c919fcc2266c0b89.json"
);

fn sealed(purpose: Purpose) -> SealedPlan {
    let text = if purpose == Purpose::Heal { HEALING } else { UNDO };
    let mut plan = serde_json::from_str::<plan_v1::Images>(text).unwrap().into_plan();
    plan.purpose = purpose;
    unseal_of_version_1(plan, Digest([1; 32])).unwrap()
}

/// Ends each step as it is told: `Done`, except at one place.
struct Script<'w> {
    world: &'w World,
    sealed: SealedPlan,
    steps: Vec<StepName>,
    bad: Option<(usize, End)>,
    story: Rc<RefCell<Vec<String>>>,
}

impl Script<'_> {
    fn new(world: &World, purpose: Purpose, bad: Option<(usize, End)>) -> Script<'_> {
        let sealed = sealed(purpose);
        let steps = sealed.plan().steps();
        Script { world, sealed, steps, bad, story: Rc::default() }
    }

    fn told(&self) -> Vec<String> {
        self.story.take()
    }
}

impl Backend for Script<'_> {
    fn sealed(&self) -> &SealedPlan {
        &self.sealed
    }

    fn run<'r>(&'r self, part: Part<'r>) -> Box<dyn Run + 'r> {
        self.story.borrow_mut().push(if part.again { "again".into() } else { "anew".into() });
        Box::new(Running { script: self, incident: part.incident })
    }
}

struct Running<'r> {
    script: &'r Script<'r>,
    incident: &'r IncidentId,
}

impl Running<'_> {
    fn last_durable(&self) -> Event {
        let store = self.script.world.store.as_ref();
        let records = Journal::read(store).unwrap().unwrap().records;
        records.into_iter().rev().find(|one| one.incident.as_ref() == Some(self.incident)).unwrap().event
    }
}

impl Run for Running<'_> {
    fn perform(&mut self, permit: &Permit<'_>) -> Ended {
        // The intent, its stage included, is durable before the act.
        let name = self.script.steps[permit.step()].clone();
        assert_eq!((permit.incident(), permit.stage()), (self.incident, name.stage));
        assert_eq!(self.last_durable(), Event::Intent { step: permit.step(), name });
        let bad = self.script.bad.as_ref().filter(|(at, _)| *at == permit.step());
        Ended { end: bad.map_or(End::Done, |(_, end)| end.clone()), obstacle: Obstacle::Busy }
    }

    fn finished(&mut self) -> Result<(), Why> {
        assert_eq!(self.last_durable(), Event::Ended { step: self.script.steps.len() - 1, end: End::Done });
        self.script.story.borrow_mut().push("finished".to_owned());
        Ok(())
    }
}

fn not_done() -> End {
    End::NotDone("somebody has it".into())
}

fn start(journal: &Journal, script: &Script<'_>, name: &str) -> Ending {
    begin(journal, script, &id(name), Consent::Operator, None).unwrap()
}

#[test]
fn before_anything_is_changed_it_is_given_up_and_afterwards_it_waits() {
    let steps = sealed(Purpose::Heal).plan().steps();
    let before = |stage: Stage| steps.iter().position(|step| step.stage >= stage).unwrap();
    let (preserve, overwrite) = (before(Stage::Preserve), before(Stage::Overwrite));
    for step in 0..steps.len() {
        for end in [not_done(), End::Unknown("the link is gone".into())] {
            let world = quiet();
            let journal = open(&world).unwrap();
            let script = Script::new(&world, Purpose::Heal, Some((step, end.clone())));
            let ending = start(&journal, &script, "i1");
            let changed = step > overwrite;
            let incident = journal.incident(&id("i1")).unwrap();
            if matches!(end, End::NotDone(_)) && !changed {
                let why = "somebody has it".to_owned();
                assert_eq!(ending, Ending::Abandoned { obstacle: Obstacle::Busy, why });
                assert!(incident.is_closed() && !incident.touched(), "step {step}");
            } else {
                assert!(matches!(ending, Ending::Parked { obstacle: Obstacle::Busy, .. }), "{ending:?}");
                let IncidentState::Parked { next, .. } = &incident.state else { panic!("{incident:?}") };
                assert_eq!(next, "unsplit resolve --resume i1");
                assert_eq!(incident.touched(), step >= overwrite, "step {step}");
            }
            assert_eq!(incident.preserved(), step > preserve, "step {step}");
            assert_eq!(script.told(), ["anew"], "nothing is noted of what did not finish");
        }
    }
}

#[test]
fn what_was_cut_off_is_told_whether_it_changed_something() {
    for (step, told) in [(2, "anew"), (3, "again"), (4, "again")] {
        let world = quiet();
        let journal = open(&world).unwrap();
        let cut = Script::new(&world, Purpose::Heal, Some((step, End::Unknown("cut".into()))));
        start(&journal, &cut, "i1");
        let well = Script::new(&world, Purpose::Heal, None);
        let ending = resume(&journal, &well, &id("i1"), None).unwrap();
        assert_eq!(ending, Ending::Finished(Outcome::Healed));
        assert_eq!(well.told(), [told, "finished"]);
        // Once it may have changed something, nothing makes it give itself up.
        let cut = Script::new(&world, Purpose::Heal, Some((step, End::Unknown("cut".into()))));
        start(&journal, &cut, "i2");
        let refused = Script::new(&world, Purpose::Heal, Some((0, not_done())));
        let ending = resume(&journal, &refused, &id("i2"), None).unwrap();
        assert_eq!(matches!(ending, Ending::Parked { .. }), told == "again", "{ending:?}");
    }
}

#[test]
fn an_undo_ends_the_healing_that_it_undid() {
    let world = quiet();
    let journal = open(&world).unwrap();
    start(&journal, &Script::new(&world, Purpose::Heal, Some((4, not_done()))), "i1");
    assert!(!journal.incident(&id("i1")).unwrap().is_closed());
    let undo = Script::new(&world, Purpose::Undo { incident: id("i1") }, None);
    assert_eq!(start(&journal, &undo, "i2"), Ending::Finished(Outcome::Undone));
    for name in ["i1", "i2"] {
        assert!(journal.incident(&id(name)).unwrap().is_undone(), "{name}");
    }
}
