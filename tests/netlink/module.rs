//! Which DRBD is loaded: by its netlink family and by its module, which must not contradict each other.

use crate::Node;
use crate::fake::{Fake, Second};
use std::time::{Duration, Instant};
use unsplit::edge::drbd::netlink::NetlinkError;
use unsplit::edge::drbd::netlink::reader::{Limits, Reader};
use unsplit::edge::drbd::netlink::watch::{Heard, Watch};
use unsplit::model::drbd_live::Generation;

const V84: Node = Node("drbd84-node1");
const V9: Node = Node("drbd9-node1");
const LIMITS: Limits = Limits { answer: Duration::from_secs(1), rounds: 4, parts: 1000 };

fn module(node: Node, version: &'static str) -> Fake {
    let fake = Fake::honest(Some(node));
    fake.world.borrow_mut().version = Some(version);
    fake
}

fn refused(fake: &Fake) -> NetlinkError {
    let error = Reader::new(fake.clone(), LIMITS).snapshot().unwrap_err();
    // Whoever watches hears the same.
    let watched = Watch::new(fake.clone(), LIMITS).next(Instant::now()).unwrap_err();
    assert_eq!(watched.to_string(), error.to_string());
    error
}

#[test]
fn a_module_that_agrees_with_its_family_is_read() {
    for (node, version) in [(V84, "8.4.11"), (V9, "9.3.3"), (V9, "9.3.5")] {
        let fake = module(node, version);
        assert_eq!(Reader::new(fake.clone(), LIMITS).snapshot().unwrap().generation, node.generation());
        let heard = Watch::new(fake, LIMITS).next(Instant::now()).unwrap();
        assert!(matches!(heard, Some(Heard::Snapshot { .. })), "{heard:?}");
    }
}

/// DRBD 9.3.5 as it can be built for 8.4's tools: taken for an 8.4, its resources would be judged by 8.4's rules.
#[test]
fn a_drbd_9_that_speaks_as_an_8_4_is_not_taken_for_one() {
    let error = refused(&module(V84, "9.3.5"));
    assert!(matches!(error, NetlinkError::Contradiction { version: 1, .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("9.3.5") && words.contains("version 1"), "{words}");
}

#[test]
fn the_other_contradiction_is_named_too() {
    let error = refused(&module(V9, "8.4.11"));
    assert!(matches!(error, NetlinkError::Contradiction { version: 2, spoken: "9", .. }), "{error}");
}

#[test]
fn a_module_of_another_generation_is_not_guessed() {
    let error = refused(&module(V9, "10.0.1"));
    assert!(matches!(&error, NetlinkError::UnknownModule(version) if version == "10.0.1"), "{error}");
}

#[test]
fn the_second_family_beside_the_first_changes_nothing() {
    let fake = module(V9, "9.3.5");
    fake.world.borrow_mut().second = Some(Second::Beside);
    let live = Reader::new(fake.clone(), LIMITS).snapshot().unwrap();
    assert_eq!(live, Reader::new(Fake::honest(Some(V9)), LIMITS).snapshot().unwrap());
    assert!(fake.world.borrow().asked.iter().all(|asked| !asked.second));
}

/// It is no DRBD that is not loaded: nothing of its resources is known.
#[test]
fn the_second_family_alone_is_not_silence() {
    let fake = module(V9, "9.3.5");
    fake.world.borrow_mut().second = Some(Second::Alone);
    assert!(matches!(refused(&fake), NetlinkError::OnlySecondFamily));
}

/// The module is changed for one of the other generation between the question for its family and that for its version.
#[test]
fn a_module_that_is_changed_meanwhile_is_no_contradiction() {
    let fake = module(V9, "8.4.11");
    let world = fake.world.clone();
    let mut looked_up = 0;
    let changing = Fake::with(Some(V9), move |asked, seen| {
        if asked.family == 16 {
            looked_up += 1;
        }
        let mut now = crate::fake::World { loaded: seen.loaded, ..crate::fake::World::default() };
        if looked_up > 1 {
            (now.loaded, now.shift) = (Some(V84), 40);
        }
        now.honest(asked)
    });
    changing.world.borrow_mut().version = world.borrow().version;
    let live = Reader::new(changing, LIMITS).snapshot().unwrap();
    assert_eq!(live.generation, Generation::V84);
}
