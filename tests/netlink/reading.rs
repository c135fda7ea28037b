//! The reader over a kernel that is slow, changes under it, refuses, or goes away.

use crate::Node;
use crate::captures::family;
use crate::fake::{Asked, Fake, Given, World, control};
use drbd_sys::netlink::{command, generic as sys};
use std::time::Duration;
use unsplit::edge::drbd::netlink::NetlinkError;
use unsplit::edge::drbd::netlink::reader::{Limits, Reader};
use unsplit::format::drbdnl::request::{self, Question};
use unsplit::model::drbd_live::Generation;

const NODE: Node = Node("drbd9-node1");
const LIMITS: Limits = Limits { answer: Duration::from_secs(1), rounds: 4, parts: 1000 };

fn reader(fake: &Fake) -> Reader<Fake> {
    Reader::new(fake.clone(), LIMITS)
}

/// Answers honestly except where `other` has an answer of its own; `count` counts how often that command was asked.
fn except(command: u8, mut other: impl FnMut(usize, Asked, &World) -> Option<Vec<Given>> + 'static) -> Fake {
    let mut count = 0;
    Fake::with(Some(NODE), move |asked, world| {
        let mut own = None;
        if asked.command == command && asked.family != sys::GENL_ID_CTRL {
            count += 1;
            own = other(count, asked, world);
        }
        own.unwrap_or_else(|| world.honest(asked))
    })
}

#[test]
fn a_snapshot_asks_everything_that_the_module_answers() {
    for (node, status) in [("drbd84-node1", command::GET_STATUS), ("drbd9-node2", command::GET_PATHS)] {
        let fake = Fake::honest(Some(Node(node)));
        let live = reader(&fake).snapshot().unwrap();
        assert_eq!(live.generation, Node(node).generation());
        assert!(live.resource("r0").is_some() && live.resource("r1").is_none());
        let family = sys::CTRL_CMD_GETFAMILY;
        assert_eq!(fake.commands(), [family, 38, 30, 31, 32, 33, status, family]);
        let numbers: Vec<u32> = fake.world.borrow().asked.iter().map(|asked| asked.sequence).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[test]
fn no_module_is_said_so() {
    assert!(matches!(reader(&Fake::honest(None)).snapshot(), Err(NetlinkError::NotLoaded)));
}

#[test]
fn an_interrupted_dump_is_asked_again() {
    let fake = except(command::GET_DEVICES, |count, asked, world| {
        (count == 1).then(|| {
            let mut parts = world.honest(asked);
            let Some(Given::Bytes(done)) = parts.last_mut() else { panic!() };
            done[6] |= 0x10; // NLM_F_DUMP_INTR
            parts
        })
    });
    let live = reader(&fake).snapshot().unwrap();
    assert_eq!(live.resources.len(), 1);
    assert_eq!(fake.commands().iter().filter(|command| **command == command::GET_DEVICES).count(), 2);
}

#[test]
fn a_lost_dump_is_asked_again_and_stale_parts_are_skipped() {
    // The first answer breaks off; its rest arrives in front of the second answer.
    let fake = except(command::GET_PEER_DEVICES, |count, asked, world| {
        let honest = world.honest(asked);
        match count {
            1 => Some([vec![honest[0].clone(), Given::Lost], honest[1..].to_vec()].concat()),
            _ => None,
        }
    });
    let live = reader(&fake).snapshot().unwrap();
    assert_eq!(live, reader(&Fake::honest(Some(NODE))).snapshot().unwrap());
    assert_eq!(fake.commands().iter().filter(|command| **command == command::GET_PEER_DEVICES).count(), 2);
}

#[test]
fn a_dump_that_never_settles_is_given_up() {
    let fake = except(command::GET_RESOURCES, |_, asked, _| {
        Some(vec![Given::Bytes(control(sys::NLMSG_DONE, sys::EINTR, asked.sequence))])
    });
    let error = reader(&fake).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::Unsettled { times: 4, .. }), "{error}");
}

#[test]
fn silence_is_not_an_empty_answer() {
    let fake = except(command::GET_RESOURCES, |_, asked, world| {
        let honest = world.honest(asked);
        Some(vec![honest[0].clone(), Given::Silence])
    });
    let mut reader = reader(&fake);
    let error = reader.snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::TimedOut { question: "the list of resources", .. }), "{error}");
    // What may still come of it comes to nobody: the next question has its own socket.
    let opened = fake.world.borrow().opened;
    assert!(reader.family().is_ok());
    assert_eq!(fake.world.borrow().opened, opened + 1);
}

/// The module is unloaded and loaded again in the middle: new family id, and the snapshot is of the new one.
#[test]
fn a_reload_in_the_middle_is_survived() {
    let fake = Fake::honest(Some(NODE));
    let world = fake.world.clone();
    let mut reader = reader(&fake);
    let old = reader.family().unwrap();
    world.borrow_mut().shift = 5;
    let error = reader.ask(&old, Question::Resources, None).unwrap_err();
    assert!(matches!(error, NetlinkError::ModuleChanged { .. }), "{error}");
    let live = reader.snapshot().unwrap();
    assert_eq!(live.generation, Generation::V9);
    assert!(world.borrow().asked.iter().any(|asked| asked.family == family(NODE).id + 5));
}

/// As above, but between two questions of one snapshot, and the other generation comes.
#[test]
fn another_generation_in_the_middle_is_survived() {
    let other = Node("drbd84-node1");
    let mut changed = false;
    let fake = Fake::with(Some(NODE), move |asked, world| {
        changed |= asked.command == command::GET_DEVICES;
        let now = World {
            loaded: Some(if changed { other } else { NODE }),
            shift: world.shift,
            ..World::default()
        };
        now.honest(asked)
    });
    let live = reader(&fake).snapshot().unwrap();
    assert_eq!(live, reader(&Fake::honest(Some(other))).snapshot().unwrap());
    assert_eq!(live.generation, Generation::V84);
}

/// A module that goes in the middle and does not come back.
#[test]
fn unloading_in_the_middle_is_said_so() {
    let mut gone = false;
    let fake = Fake::with(Some(NODE), move |asked, world| {
        gone |= asked.command == command::GET_DEVICES;
        let loaded = world.loaded.filter(|_| !gone);
        World { loaded, ..World::default() }.honest(asked)
    });
    assert!(matches!(reader(&fake).snapshot(), Err(NetlinkError::NotLoaded)));
}

#[test]
fn refusals_have_their_words() {
    let refuse = |errno| {
        except(command::GET_RESOURCES, move |_, asked, _| {
            Some(vec![Given::Bytes(control(sys::NLMSG_ERROR, errno, asked.sequence))])
        })
    };
    let error = reader(&refuse(sys::EPERM)).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::NotPermitted { errno: 1, .. }), "{error}");
    let error = reader(&refuse(sys::EINVAL)).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::Refused { errno: 22, .. }), "{error}");
    let fake = except(command::GET_RESOURCES, |_, asked, _| {
        Some(vec![Given::Bytes(control(sys::NLMSG_DONE, 12, asked.sequence))])
    });
    let error = reader(&fake).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::Refused { errno: 12, .. }), "{error}");
}

#[test]
fn drbds_own_errors_are_named() {
    let fake = except(command::GET_DEVICES, |_, asked, world| {
        let mut parts = world.honest(asked);
        let Given::Bytes(part) = &mut parts[0] else { panic!() };
        part[24..28].copy_from_slice(&158i32.to_ne_bytes());
        Some(parts)
    });
    let error = reader(&fake).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::Answer { code: 158, .. }), "{error}");
    assert!(error.to_string().contains("ERR_RES_NOT_KNOWN"), "{error}");
}

#[test]
fn an_unknown_version_is_not_guessed() {
    let fake = Fake::with(Some(NODE), |asked, world| {
        let mut bytes = world.family(asked.sequence);
        let version = bytes.windows(8).position(|run| run == [8, 0, 3, 0, 2, 0, 0, 0]).unwrap();
        bytes[version + 4] = 3;
        vec![Given::Bytes(bytes)]
    });
    assert!(matches!(reader(&fake).snapshot(), Err(NetlinkError::UnknownVersion(3))));
}

#[test]
fn damaged_and_endless_answers_end() {
    let damaged = except(command::GET_DEVICES, |_, asked, world| {
        let mut parts = world.honest(asked);
        let Given::Bytes(part) = &mut parts[0] else { panic!() };
        part[28..30].copy_from_slice(&2u16.to_ne_bytes());
        Some(parts)
    });
    let error = reader(&damaged).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::Malformed { .. }), "{error}");
    let endless =
        except(command::GET_DEVICES, |_, asked, world| Some(vec![world.honest(asked)[0].clone(); 1002]));
    let error = reader(&endless).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::TooLong { most: 1000, .. }), "{error}");
}

/// Requests are laid out as the captured messages are, and hold nothing that changes anything.
#[test]
fn requests_are_questions() {
    let family = family(NODE);
    let all = [
        Question::Resources,
        Question::Devices,
        Question::Connections,
        Question::PeerDevices,
        Question::Paths,
        Question::InitialState,
        Question::Status,
    ];
    for question in all {
        use command::Kind;
        let kind = command::named(question.command()).unwrap().kind;
        assert!(kind == Kind::Dump || kind == Kind::DoAndDump, "{question:?}");
        let bytes = request::dump(&family, question, None, 9).unwrap();
        let expected = [
            28u32.to_ne_bytes(),
            [34, 0, 1, 3], // Family; NLM_F_REQUEST | NLM_F_DUMP.
            9u32.to_ne_bytes(),
            [0; 4],
            [question.command(), 2, 0, 0],
            [0xff; 4],
            [0; 4],
        ];
        assert_eq!(bytes, expected.concat());
    }
    let bytes = request::dump(&family, Question::Devices, Some("r0"), 9).unwrap();
    assert_eq!(bytes[28..], [12, 0, 2, 0x80, 7, 0, 2, 0, b'r', b'0', 0, 0]);
    for (name, possible) in [("a".repeat(127), true), ("a".repeat(128), false), ("a\0b".to_owned(), false)] {
        assert_eq!(request::dump(&family, Question::Devices, Some(&name), 9).is_some(), possible, "{name}");
    }
    let error = reader(&Fake::honest(Some(NODE))).ask(&family, Question::Devices, Some(&"a".repeat(200)));
    assert!(matches!(error, Err(NetlinkError::ImpossibleName(_))));
}
