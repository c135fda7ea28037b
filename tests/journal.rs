//! The journal on a real directory and on fakes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::journal::{Journal, Recorded};
use unsplit::model::id::{Digest, IncidentId, PlanId, ResourceName};
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::seen::{End, Stamp};
use unsplit::ports::clock::Clock;

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Stamp {
        Stamp(1)
    }
}

#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let id = IncidentId::new("i1").unwrap();
    {
        let store = Arc::new(StateDir::open(dir.path()).unwrap());
        println!("{}", StateDir::open(dir.path()).unwrap_err());
        let mut journal = Journal::open(store, Arc::new(Fixed)).unwrap();
        let mut at = journal
            .begin(id.clone(), ResourceName::new("r0").unwrap(), PlanId(Digest([7; 32])), Consent::Operator)
            .unwrap();
        for step in 0..3 {
            match at.declare(step, "x").unwrap().perform(|_| End::Done).record().unwrap() {
                Recorded::Well(next) => at = next,
                Recorded::Badly(_) => panic!(),
            }
        }
        at.close(Outcome::Healed).unwrap();
    }
    let store = Arc::new(StateDir::open(dir.path()).unwrap());
    let journal = Journal::open(store, Arc::new(Fixed)).unwrap();
    assert_eq!(journal.records().len(), 8);
    println!("{}", std::fs::read_to_string(dir.path().join("journal")).unwrap());
}
