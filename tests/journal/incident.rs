//! The one loop over a backend that does what a script says: what the journal has at each moment, and how it ends.

use super::{id, open, quiet};
use crate::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use unsplit::engine::backend::{Backend, Ended, Line, Obstacle, Part, Run};
use unsplit::engine::incident::{Ending, begin, resume};
use unsplit::engine::journal::Journal;
use unsplit::judge::incident::IncidentState;
use unsplit::model::id::{Digest, IncidentId, PlanId, ResourceName};
use unsplit::model::plan::Purpose;
use unsplit::model::record::{Consent, Event, Outcome};
use unsplit::model::seen::{End, Why};
use unsplit::model::stage::{Stage, StepName};
use unsplit::proof::Permit;

const LINE: [Stage; 5] = [Stage::Quiesce, Stage::Preserve, Stage::Overwrite, Stage::Verify, Stage::Record];

/// Ends each step as it is told: `Done`, except at one place.
struct Script<'w> {
    world: &'w World,
    purpose: Purpose,
    resource: ResourceName,
    bad: Option<(usize, End)>,
    story: Rc<RefCell<Vec<String>>>,
}

impl Script<'_> {
    fn new(world: &World, purpose: Purpose, bad: Option<(usize, End)>) -> Script<'_> {
        let resource = ResourceName::new("r0").unwrap();
        Script { world, purpose, resource, bad, story: Rc::default() }
    }

    fn told(&self) -> Vec<String> {
        self.story.take()
    }
}

impl Backend for Script<'_> {
    fn line(&self) -> Line<'_> {
        Line { plan: PlanId(Digest([1; 32])), resource: &self.resource, purpose: &self.purpose }
    }

    fn steps(&self) -> Vec<StepName> {
        LINE.iter().map(|stage| StepName::new("w", *stage)).collect()
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
        let name = StepName::new("w", permit.stage());
        assert_eq!(self.last_durable(), Event::Intent { step: permit.step(), name });
        assert_eq!((permit.incident(), permit.stage()), (self.incident, LINE[permit.step()]));
        let bad = self.script.bad.as_ref().filter(|(at, _)| *at == permit.step());
        Ended { end: bad.map_or(End::Done, |(_, end)| end.clone()), obstacle: Obstacle::Busy }
    }

    fn finished(&mut self) -> Result<(), Why> {
        assert_eq!(self.last_durable(), Event::Ended { step: LINE.len() - 1, end: End::Done });
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
    for step in 0..LINE.len() {
        for end in [not_done(), End::Unknown("the link is gone".into())] {
            let world = quiet();
            let journal = open(&world).unwrap();
            let script = Script::new(&world, Purpose::Heal, Some((step, end.clone())));
            let ending = start(&journal, &script, "i1");
            let changed = step > 2;
            let incident = journal.incident(&id("i1")).unwrap();
            if matches!(end, End::NotDone(_)) && !changed {
                let why = "somebody has it".to_owned();
                assert_eq!(ending, Ending::Abandoned { obstacle: Obstacle::Busy, why });
                assert!(incident.is_closed() && !incident.touched(), "step {step}");
            } else {
                assert!(matches!(ending, Ending::Parked { obstacle: Obstacle::Busy, .. }), "{ending:?}");
                let IncidentState::Parked { next, .. } = &incident.state else { panic!("{incident:?}") };
                assert_eq!(next, "unsplit resolve --resume i1");
                assert_eq!(incident.touched(), step >= 2, "step {step}");
            }
            assert_eq!(incident.preserved(), step > 1, "step {step}");
            assert_eq!(script.told(), ["anew"], "nothing is noted of what did not finish");
        }
    }
}

#[test]
fn what_was_cut_off_is_told_whether_it_changed_something() {
    for (step, told) in [(1, "anew"), (2, "again"), (3, "again")] {
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
    start(&journal, &Script::new(&world, Purpose::Heal, Some((3, not_done()))), "i1");
    assert!(!journal.incident(&id("i1")).unwrap().is_closed());
    let undo = Script::new(&world, Purpose::Undo { incident: id("i1") }, None);
    assert_eq!(start(&journal, &undo, "i2"), Ending::Finished(Outcome::Undone));
    for name in ["i1", "i2"] {
        assert!(journal.incident(&id(name)).unwrap().is_undone(), "{name}");
    }
}
