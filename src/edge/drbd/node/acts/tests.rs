//! Every act in every state of both generations, with tools that fail in every way.

use super::*;
use crate::model::drbd_live::tree::Device;
use crate::model::id::ResourceName;
use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

const SECRET_WORDS: &str = "FooFunFactory";

/// How a tool ends.
#[derive(Clone, Copy)]
enum Ending {
    Well,
    Code(i32, &'static str),
    Signal,
    TooLate,
    Missing,
}

/// A node with one resource, and tools that do what they do in the lab, or end otherwise.
struct Bench {
    generation: Generation,
    role: Role,
    state: ConnectionState,
    ending: Ending,
    /// What `drbdadm -d` prints.
    printed: String,
    /// The kernel carries out what the tool asked for, whatever the tool then says.
    carried_out: bool,
    live: RefCell<Option<Live>>,
    ran: RefCell<Vec<Vec<String>>>,
}

fn configured() -> String {
    format!(
        "drbdsetup connect r0 ipv4:10.0.0.1:7789 ipv4:10.0.0.2:7789 --protocol=C --cram-hmac-alg=sha1 \
         --shared-secret='{SECRET_WORDS}' --after-sb-0pri=discard-zero-changes --after-sb-1pri=consensus\n"
    )
}

impl Bench {
    fn new(generation: Generation, role: Role, state: ConnectionState) -> Bench {
        let mut resource = Resource { name: "r0".to_owned(), ..Resource::default() };
        resource.info.role = Some(role);
        let mut device = Device { volume: 0, minor: Some(7), ..Device::default() };
        device.info.disk = Some(DiskState::UpToDate);
        resource.devices.push(device);
        let mut connection =
            Connection { peer_node_id: (generation == Generation::V9).then_some(1), ..Connection::default() };
        connection.info.state = Some(state);
        if generation == Generation::V9 || state != ConnectionState::StandAlone {
            resource.connections.push(connection);
        }
        Bench {
            generation,
            role,
            state,
            ending: Ending::Well,
            printed: configured(),
            carried_out: true,
            live: RefCell::new(Some(Live { generation, resources: vec![resource] })),
            ran: RefCell::default(),
        }
    }

    fn ending(self, ending: Ending, carried_out: bool) -> Bench {
        Bench { ending, carried_out, ..self }
    }

    fn act(&self, act: &NodeAct) -> End {
        Hands { world: self }.act(act)
    }

    /// What was run, as command lines.
    fn ran(&self) -> Vec<String> {
        self.ran.borrow().iter().map(|argv| argv.join(" ")).collect()
    }

    fn change(&self, argv: &[String]) {
        let mut live = self.live.borrow_mut();
        let Some(resource) = live.as_mut().and_then(|live| live.resources.first_mut()) else { return };
        match argv[1].as_str() {
            "disconnect" if self.generation == Generation::V84 => resource.connections.clear(),
            "disconnect" => {
                resource
                    .connections
                    .iter_mut()
                    .for_each(|known| known.info.state = Some(ConnectionState::StandAlone));
            }
            "secondary" => resource.info.role = Some(Role::Secondary),
            "primary" => resource.info.role = Some(Role::Primary),
            "invalidate" => resource.devices[0].info.disk = Some(DiskState::Inconsistent),
            _ => {}
        }
    }
}

impl World for Bench {
    fn look(&self) -> Result<Live, String> {
        self.live.borrow().clone().ok_or_else(|| "the kernel does not answer".to_owned())
    }

    fn run(&self, argv: &[String]) -> io::Result<Ran> {
        self.ran.borrow_mut().push(argv.to_vec());
        if argv[1] == "-d" {
            return Ok(Ran {
                status: ExitStatus::from_raw(0),
                output: self.printed.clone().into_bytes(),
                said: Vec::new(),
            });
        }
        if self.carried_out {
            self.change(argv);
        }
        let said = |words: &str| vec![words.to_owned()];
        match self.ending {
            Ending::Well => Ok(Ran { status: ExitStatus::from_raw(0), output: Vec::new(), said: Vec::new() }),
            Ending::Code(code, words) => {
                Ok(Ran { status: ExitStatus::from_raw(code << 8), output: Vec::new(), said: said(words) })
            }
            Ending::Signal => {
                Ok(Ran { status: ExitStatus::from_raw(9), output: Vec::new(), said: Vec::new() })
            }
            Ending::TooLate => Err(io::Error::new(io::ErrorKind::TimedOut, "did not end within 60 s")),
            Ending::Missing => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn pause(&self) {}
}

fn r0() -> ResourceName {
    ResourceName::new("r0").unwrap()
}

fn toward(generation: Generation) -> Toward {
    Toward { resource: r0(), peer: (generation == Generation::V9).then_some(1) }
}

fn acts(generation: Generation) -> Vec<NodeAct> {
    let toward = toward(generation);
    vec![
        NodeAct::Disconnect(toward.clone()),
        NodeAct::Demote { resource: r0() },
        NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Survivor },
        NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim },
        NodeAct::RestorePolicies { toward, to: Some(AfterSb::DISCONNECT) },
        NodeAct::Invalidate { resource: r0(), volume: 0, minor: 7 },
        NodeAct::Promote { resource: r0() },
    ]
}

#[test]
fn each_act_runs_exactly_these_commands() {
    use ConnectionState::{Connecting, StandAlone};
    let three = "--after-sb-0pri=disconnect --after-sb-1pri=disconnect --after-sb-2pri=disconnect";
    let connect84 = format!(
        "drbdsetup connect r0 ipv4:10.0.0.1:7789 ipv4:10.0.0.2:7789 --protocol=C --cram-hmac-alg=sha1 \
         --shared-secret={SECRET_WORDS} {three}"
    );
    let dry = "drbdadm -d connect r0".to_owned();
    let options9 = format!("drbdsetup net-options r0 1 {three}");
    let cases: Vec<(Generation, Role, ConnectionState, usize, Vec<String>)> = vec![
        (Generation::V84, Role::Secondary, Connecting, 0, vec!["drbdadm disconnect r0".into()]),
        (Generation::V84, Role::Primary, StandAlone, 1, vec!["drbdadm secondary r0".into()]),
        (Generation::V84, Role::Primary, StandAlone, 2, vec![dry.clone(), connect84.clone()]),
        (
            Generation::V84,
            Role::Secondary,
            StandAlone,
            3,
            vec![dry.clone(), format!("{connect84} --discard-my-data")],
        ),
        (
            Generation::V84,
            Role::Secondary,
            Connecting,
            2,
            vec!["drbdadm disconnect r0".into(), dry.clone(), connect84],
        ),
        (
            Generation::V84,
            Role::Secondary,
            Connecting,
            4,
            vec![dry, format!("drbdsetup net-options ipv4:10.0.0.1:7789 ipv4:10.0.0.2:7789 {three}")],
        ),
        (Generation::V84, Role::Secondary, StandAlone, 4, vec![]),
        (Generation::V84, Role::Secondary, StandAlone, 5, vec!["drbdsetup invalidate 7".into()]),
        (Generation::V84, Role::Secondary, StandAlone, 6, vec!["drbdadm primary r0".into()]),
        (Generation::V9, Role::Secondary, Connecting, 0, vec!["drbdsetup disconnect r0 1".into()]),
        (Generation::V9, Role::Primary, StandAlone, 1, vec!["drbdsetup secondary r0".into()]),
        (
            Generation::V9,
            Role::Primary,
            StandAlone,
            2,
            vec![options9.clone(), "drbdsetup connect r0 1".into()],
        ),
        (
            Generation::V9,
            Role::Secondary,
            StandAlone,
            3,
            vec![options9.clone(), "drbdsetup connect r0 1 --discard-my-data".into()],
        ),
        (
            Generation::V9,
            Role::Secondary,
            Connecting,
            3,
            vec![
                "drbdsetup disconnect r0 1".into(),
                options9.clone(),
                "drbdsetup connect r0 1 --discard-my-data".into(),
            ],
        ),
        (Generation::V9, Role::Secondary, StandAlone, 4, vec![options9]),
        (Generation::V9, Role::Secondary, StandAlone, 5, vec!["drbdsetup invalidate 7".into()]),
        (Generation::V9, Role::Secondary, StandAlone, 6, vec!["drbdsetup primary r0".into()]),
    ];
    for (generation, role, state, which, commands) in cases {
        let bench = Bench::new(generation, role, state);
        let act = &acts(generation)[which];
        let end = bench.act(act);
        let expected = if commands.is_empty() { End::AlreadySo } else { End::Done };
        assert_eq!(end, expected, "{generation} {act:?} while {role} {state}");
        assert_eq!(bench.ran(), commands, "{generation} {act:?} while {role} {state}");
    }
}

#[test]
fn what_is_so_is_not_done_again() {
    for generation in [Generation::V84, Generation::V9] {
        let all = acts(generation);
        for (which, role) in [(0, Role::Secondary), (1, Role::Secondary), (6, Role::Primary)] {
            let bench = Bench::new(generation, role, ConnectionState::StandAlone);
            assert_eq!(bench.act(&all[which]), End::AlreadySo);
            assert!(bench.ran().is_empty());
        }
    }
}

#[test]
fn a_primary_never_gives_up_its_data_and_a_connected_one_is_left_alone() {
    for generation in [Generation::V84, Generation::V9] {
        let all = acts(generation);
        for role in Role::ALL.iter().filter(|role| **role != Role::Secondary) {
            let bench = Bench::new(generation, *role, ConnectionState::StandAlone);
            assert!(matches!(bench.act(&all[3]), End::NotDone(_)), "{role}");
            assert!(bench.ran().is_empty());
        }
        let bench = Bench::new(generation, Role::Secondary, ConnectionState::Connected);
        for which in [2, 3] {
            assert!(matches!(bench.act(&all[which]), End::NotDone(_)));
        }
        assert!(bench.ran().is_empty());
    }
}

/// Every act, every way in which a tool fails: never `Done`, `Unknown` unless the tool itself refused, and no secret.
#[test]
fn a_tool_that_fails_is_told_of_without_secrets() {
    let says =
        "Command 'drbdsetup connect r0 a b --shared-secret=FooFunFactory --x' terminated with exit code 10";
    let endings = [
        (Ending::Code(10, says), false),
        (Ending::Code(17, "--shared-secret 'FooFunFactory': too long"), false),
        (Ending::Signal, true),
        (Ending::TooLate, true),
        (Ending::Missing, false),
    ];
    for generation in [Generation::V84, Generation::V9] {
        for (which, act) in acts(generation).into_iter().enumerate() {
            for (ending, unknown) in endings {
                let role = if which == 1 { Role::Primary } else { Role::Secondary };
                let bench = Bench::new(generation, role, ConnectionState::Connecting).ending(ending, false);
                let end = bench.act(&act);
                let (End::NotDone(why) | End::Unknown(why)) = &end else { panic!("{act:?}: {end:?}") };
                assert_eq!(matches!(end, End::Unknown(_)), unknown, "{generation} {act:?}: {end:?}");
                assert!(!why.to_string().contains(SECRET_WORDS), "{why}");
            }
        }
    }
}

#[test]
fn the_secret_of_a_connect_command_is_in_no_error() {
    let bench = Bench::new(Generation::V84, Role::Secondary, ConnectionState::StandAlone)
        .ending(Ending::Code(10, "r0: Failure: (102) Local address(port) already in use."), false);
    let End::NotDone(why) = bench.act(&acts(Generation::V84)[3]) else { panic!() };
    let why = why.to_string();
    assert!(bench.ran()[1].contains(SECRET_WORDS), "drbdsetup must get it");
    assert!(!why.contains(SECRET_WORDS), "{why}");
    assert!(why.contains("--shared-secret=(not shown) --after-sb-0pri=disconnect"), "{why}");
    assert!(why.contains("(102) Local address"), "{why}");
}

#[test]
fn secrets_are_hushed_however_they_are_spelled() {
    let argv = |list: &[&str]| words(list);
    let cases = [
        ("x --shared-secret=abc y", vec!["--shared-secret=abc"], "x --shared-secret=(not shown) y"),
        ("x --shared-secret abc y", vec!["--shared-secret", "abc"], "x --shared-secret (not shown) y"),
        ("x --shared-secret='a b c' y", vec![], "x --shared-secret=(not shown) y"),
        ("x --shared-secret=\"a b\" y", vec![], "x --shared-secret=(not shown) y"),
        ("x --shared-secret=a\u{e4}b", vec![], "x --shared-secret=(not shown)"),
        ("x --shared-secret='never ends", vec![], "x --shared-secret=(not shown)"),
        ("it is a b c", vec!["--shared-secret=a b c"], "it is (not shown)"),
        ("--shared-secret", vec!["--shared-secret"], "--shared-secret(not shown)"),
        (
            "two shared-secret=a shared-secret=b",
            vec![],
            "two shared-secret=(not shown) shared-secret=(not shown)",
        ),
        ("nothing", vec![], "nothing"),
    ];
    for (text, list, expected) in cases {
        assert_eq!(hush(text, &argv(&list)), expected);
    }
}

#[test]
fn garbage_from_a_dry_run_is_never_run() {
    let garbage = [
        "",
        "\n\n",
        "drbdsetup",
        "drbdsetup connect",
        "drbdsetup connect r0 a",
        "drbdsetup connect r1 a b",
        "drbdsetup down r0 a b c",
        "drbdsetup connect 'r0 a b",
        "drbdsetup connect r0 a b\ndrbdsetup connect r0 a c",
        "rm -rf / drbdsetup connect r0 a b",
        "\u{0}\u{fffd}",
    ];
    for text in garbage {
        for which in [2, 3] {
            let mut bench = Bench::new(Generation::V84, Role::Secondary, ConnectionState::StandAlone);
            bench.printed = text.to_owned();
            assert!(matches!(bench.act(&acts(Generation::V84)[which]), End::NotDone(_)), "{text:?}");
            assert_eq!(bench.ran(), ["drbdadm -d connect r0"], "{text:?}");
        }
    }
}

#[test]
fn a_silent_kernel_or_another_resource_stops_every_act() {
    for generation in [Generation::V84, Generation::V9] {
        for act in acts(generation) {
            let bench = Bench::new(generation, Role::Secondary, ConnectionState::Connecting);
            *bench.live.borrow_mut() = None;
            assert!(matches!(bench.act(&act), End::NotDone(_)));
            *bench.live.borrow_mut() = Some(Live { generation, resources: Vec::new() });
            assert!(matches!(bench.act(&act), End::NotDone(_)));
            assert!(bench.ran().is_empty());
        }
        // A connection named in the other generation's way.
        let other = if generation == Generation::V9 { Generation::V84 } else { Generation::V9 };
        let bench = Bench::new(generation, Role::Secondary, ConnectionState::Connecting);
        for act in [0, 2, 3, 4].map(|which| acts(other)[which].clone()) {
            assert!(matches!(bench.act(&act), End::NotDone(_)), "{act:?}");
        }
        assert!(bench.ran().is_empty());
    }
}

#[test]
fn a_disconnect_that_is_refused_because_it_is_so_is_fine() {
    for generation in [Generation::V84, Generation::V9] {
        let bench = Bench::new(generation, Role::Secondary, ConnectionState::Connecting)
            .ending(Ending::Code(10, "??: Failure: (162) Invalid configuration request"), true);
        assert_eq!(bench.act(&acts(generation)[0]), End::AlreadySo);
        assert_eq!((bench.role, bench.state), (Role::Secondary, ConnectionState::Connecting));
    }
}

#[test]
fn the_wrong_minor_is_not_invalidated() {
    let bench = Bench::new(Generation::V84, Role::Secondary, ConnectionState::StandAlone);
    for (volume, minor) in [(0, 8), (1, 7)] {
        let end = bench.act(&NodeAct::Invalidate { resource: r0(), volume, minor });
        assert!(matches!(end, End::NotDone(_)));
    }
    assert!(bench.ran().is_empty());
}

/// Inconsistent after a resync that was cut off is not the same as declared out of date: only a part may be marked.
#[test]
fn an_inconsistent_volume_is_invalidated_all_the_same() {
    let bench = Bench::new(Generation::V84, Role::Secondary, ConnectionState::StandAlone);
    bench.live.borrow_mut().as_mut().unwrap().resources[0].devices[0].info.disk =
        Some(DiskState::Inconsistent);
    assert_eq!(bench.act(&acts(Generation::V84)[5]), End::Done);
    assert_eq!(bench.ran(), ["drbdsetup invalidate 7"]);
}
