//! A driver without a terminal, as a daemon is one: from observing to undo, on images and on two fake nodes, through the
//! resolver alone.

use crate::scene::Scene;
use crate::several::{contents, five, is_healed};
use crate::world::faults::{Fault, Faults};
use crate::world::store::FakeStore;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use unsplit::edge::blockdev::Mode;
use unsplit::edge::clock::SystemClock;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::incident::Ending;
use unsplit::engine::journal::Journal;
use unsplit::engine::plans;
use unsplit::judge::incident::Incident;
use unsplit::model::id::{NodeName, ResourceName};
use unsplit::model::plan::Plan;
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::side::Pair;
use unsplit::ports::progress::{Progress, Silent};
use unsplit::resolver::access::{Access, Choice, Reading, TwoSides};
use unsplit::resolver::desk::{Desk, is_open, open_desk};
use unsplit::resolver::draw::DrawnPlan;
use unsplit::resolver::driver::Driver;
use unsplit::resolver::failure::{Failure, Kind};
use unsplit::resolver::give_up::give_up;
use unsplit::resolver::heal::{Healed, heal};
use unsplit::resolver::in_use::InUse;
use unsplit::resolver::opened::Opened;
use unsplit::resolver::run::{Asked, Ran, run_plan, waiting};
use unsplit::resolver::undo::{self, Meant};

/// Agrees to what overwrites no more than so many bytes.
struct UpTo<'n> {
    bytes: u64,
    /// Where a plan runs that cannot be opened where it says.
    at: Option<&'n dyn Fn() -> Opened>,
    asked: u32,
    remarks: Vec<String>,
}

impl UpTo<'_> {
    fn new(bytes: u64, at: Option<&dyn Fn() -> Opened>) -> UpTo<'_> {
        UpTo { bytes, at, asked: 0, remarks: Vec::new() }
    }
}

impl Driver for UpTo<'_> {
    fn progress(&self) -> Box<dyn Progress> {
        Box::new(Silent)
    }

    fn open(&self, plan: &Plan, reading: &Reading, again: bool) -> Result<Opened, Failure> {
        match self.at {
            Some(opened) => Ok(opened()),
            None => Opened::as_planned(plan, reading, again),
        }
    }

    fn in_use(&mut self, _: &InUse) -> Result<(), Failure> {
        Ok(())
    }

    fn remark(&mut self, sentence: &str) -> Result<(), Failure> {
        self.remarks.push(sentence.to_owned());
        Ok(())
    }

    fn consent(&mut self, drawn: &DrawnPlan) -> Result<Option<Consent>, Failure> {
        self.asked += 1;
        Ok((drawn.sealed.plan().bytes() <= self.bytes).then_some(Consent::Policy))
    }

    fn takes_up(&mut self, _: &Incident) -> Result<(), Failure> {
        Ok(())
    }
}

fn ended(ran: &Ran, outcome: Outcome) {
    assert_eq!(ran.ending, Ending::Finished(outcome), "{:?}", ran.incident);
}

/// Heals what was opened, undoes it, and heals it again by the plan that nobody had agreed to.
pub(super) fn observe_to_undo(
    desk: &Desk,
    opened: &Opened,
    access: &Access,
    keep: &str,
    at: Option<&dyn Fn() -> Opened>,
    mut is_healed: impl FnMut() -> bool,
) {
    // The policy of DRBD's own defaults decides nothing.
    let mut by = UpTo::new(u64::MAX, at);
    let undecided = heal(desk, &mut by, opened, access, &Choice::default()).unwrap();
    assert!(matches!(undecided, Healed::Held(held) if held.keepable.len() == 2));
    assert_eq!(by.asked, 0);
    // Nobody agrees: the plan stays, nothing is changed.
    let choice = Choice { keep: Some(keep.to_owned()), ..Choice::default() };
    let mut nobody = UpTo::new(0, at);
    let Healed::NotAgreed(drawn) = heal(desk, &mut nobody, opened, access, &choice).unwrap() else {
        panic!("nobody agreed")
    };
    assert_eq!((nobody.asked, is_healed()), (1, false));
    assert!(desk.journal.incidents().is_empty());
    // It runs by its id, and is then carried out.
    let reading = Reading::default();
    let Asked::Ran(ran) = run_plan(desk, &mut by, &drawn.sealed, &reading, false).unwrap() else {
        panic!("it had not run")
    };
    ended(&ran, Outcome::Healed);
    assert!(is_healed());
    let again = run_plan(desk, &mut by, &drawn.sealed, &reading, false).unwrap();
    assert!(matches!(again, Asked::CarriedOut(by) if by == ran.incident));
    assert!(waiting(desk, None).unwrap().is_none());
    assert_eq!(give_up(desk, ran.incident.as_str(), true).unwrap_err().kind, Kind::Usage);
    // And back.
    let Meant::Healing(id, healed) = undo::meant(desk, None).unwrap() else { panic!("nothing is open") };
    assert_eq!(id, ran.incident);
    let undo = undo::draw(desk, &by, &id, *healed, &reading).unwrap();
    ended(&undo::run(desk, &mut by, &undo, Consent::Policy, 2).unwrap(), Outcome::Undone);
    assert_eq!(undo::meant(desk, None).unwrap_err().kind, Kind::Usage, "it is undone");
    assert!(!desk.journal.incidents().iter().any(is_open));
}

pub(super) fn names(a: &str, b: &str) -> Pair<NodeName> {
    Pair::new(NodeName::new(a).unwrap(), NodeName::new(b).unwrap())
}

#[test]
fn two_images_from_observing_to_undo_without_a_terminal() {
    let scene = Scene::split();
    let [a, b] = ["a.img", "b.img"].map(|name| scene.path(name));
    let before = fs::read(&b).unwrap();
    let desk = open_desk(&scene.state()).unwrap();
    let access = Access::of(names("a", "b"), ResourceName::new("r0").unwrap(), None, Reading::default());
    let two = TwoSides { paths: Pair::new(a.clone(), b.clone()), access: access.clone() };
    let opened = Opened::sides(&two, Mode::ReadWrite).unwrap();
    let data = |path: &Path| fs::read(path).unwrap()[..crate::scene::SIZE as usize / 2].to_vec();
    observe_to_undo(&desk, &opened, &access, "a", None, || data(&a) == data(&b));
    assert_eq!(fs::read(&b).unwrap(), before, "every byte is back");
}

#[test]
fn a_running_resource_from_observing_to_undo_without_a_terminal() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let before = contents(&nodes, "r1");
    let desk = open_desk(&folder.path().join("state")).unwrap();
    let peer = Some("ssh:node2".parse().unwrap());
    let access =
        Access::of(names("node1", "node2"), ResourceName::new("r1").unwrap(), peer, Reading::default());
    let opened = Opened::Drbd(nodes.both());
    observe_to_undo(&desk, &opened, &access, "node1", Some(&|| Opened::Drbd(nodes.both())), || {
        is_healed(&nodes, "r1")
    });
    // Both nodes hold what the one that was overwritten held.
    let after = contents(&nodes, "r1");
    let volumes = after.len() / 2;
    assert_eq!(after[..volumes], before[volumes..]);
    assert_eq!(after[volumes..], before[volumes..]);
}

/// The journal fails in the middle of a plan that keeps nothing: the command that goes on says so again, or it would refuse.
#[test]
fn a_journal_that_fails_names_the_command_that_goes_on() {
    for salvage in [true, false] {
        let scene = Scene::split();
        let sealed = {
            let mut words = vec!["--json", "plan", "a.img", "b.img", "--keep", "a"];
            fs::write(scene.path("off.toml"), "salvage = \"off\"\n").unwrap();
            if !salvage {
                words.extend(["--policy", "off.toml", "--no-salvage"]);
            }
            let drawn = scene.run(&words);
            drawn.says(1, &[]);
            let store = StateDir::open_read_only(&scene.state()).unwrap();
            plans::load(&store, plans::kept(&store).unwrap()[0]).unwrap()
        };
        assert_eq!(sealed.plan().salvage, salvage);
        let before = fs::read(scene.path("b.img")).unwrap();
        // The plan, what is kept and the lock are in the state directory. The journal has a disk of its own, which fails.
        let mut goes_on = 0;
        for op in 0.. {
            fs::write(scene.path("b.img"), &before).unwrap();
            let store = Arc::new(StateDir::open(&scene.state()).unwrap());
            let faults = Arc::new(Faults::none());
            let disk = Arc::new(FakeStore::new(1 << 20, Arc::clone(&faults)));
            let journal = Journal::open(disk, Arc::new(SystemClock)).unwrap();
            faults.go_on([(op, Fault::Io)]);
            let (desk, mut by) = (Desk { store, journal }, UpTo::new(u64::MAX, None));
            match run_plan(&desk, &mut by, &sealed, &Reading::default(), !salvage) {
                Ok(_) => break,
                Err(failure) => {
                    let incidents = desk.journal.incidents();
                    let Some(incident) = incidents.as_slice().first() else { continue };
                    let resume = format!("unsplit resolve --resume {}", incident.id);
                    let wanted = resume + if salvage { "" } else { " --no-salvage" };
                    assert_eq!(failure.kind, Kind::Internal);
                    assert_eq!(failure.hint, Some(wanted), "operation {op}");
                    goes_on += 1;
                }
            }
        }
        assert!(goes_on > 3, "{goes_on}");
    }
}
