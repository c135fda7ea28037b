//! The link itself: requests, channels and contents over real pipes.

use crate::scene::{BIN, agent, shell};
use std::sync::Arc;
use std::time::Duration;
use unsplit::edge::clock::SystemClock;
use unsplit::edge::peer::disk::RemoteDisk;
use unsplit::edge::peer::greet::ourselves;
use unsplit::edge::peer::{Limits, RemoteNode, Session};
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::journal::Journal;
use unsplit::format::wire::control::{Courtesy, Reply, Request, Which};
use unsplit::format::wire::hello::{Hello, hello_bytes};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, IncidentId, NodeName, PlanId, ResourceName};
use unsplit::model::node::{NodeAct, Toward};
use unsplit::model::record::Consent;
use unsplit::model::seen::End;
use unsplit::model::stage::{Stage, StepName};
use unsplit::ports::channel::{ChannelFault, LONGEST_MESSAGE, Receiver, Sender};
use unsplit::ports::disk::{Disk, DiskFault, DiskMut, Replacement};
use unsplit::ports::node::Operated;
use unsplit::ports::progress::Silent;
use unsplit::proof::preserved::ReadPiece;

fn connect(peer: &str, seconds: u64) -> Arc<Session> {
    let limits = Limits::of(Duration::from_secs(seconds));
    Session::connect(&peer.parse().unwrap(), limits).unwrap()
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend(seed.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Noise, zeros, text: what is raw, sparse and compressed on its way.
fn image(folder: &tempfile::TempDir) -> (String, Vec<u8>) {
    let mut bytes = noise(3_000_000, 1);
    bytes.resize(8_000_000, 0);
    bytes.extend(b"all work and no play ".iter().copied().cycle().take(5_000_001));
    let path = folder.path().join("disk");
    std::fs::write(&path, &bytes).unwrap();
    (path.display().to_string(), bytes)
}

#[test]
fn a_disk_reads_as_it_is_by_many_callers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = image(&folder);
    let session = connect(&agent(), 60);
    let (disk, opened) = RemoteDisk::open(&session, &path, Courtesy::default()).unwrap();
    assert_eq!((opened.size, disk.size()), (bytes.len() as u64, bytes.len() as u64));
    let mut whole = vec![1; bytes.len()];
    disk.read_at(0, &mut whole).unwrap();
    assert!(whole == bytes);
    std::thread::scope(|scope| {
        for caller in 0..16usize {
            let (disk, bytes) = (&disk, &bytes);
            scope.spawn(move || {
                for turn in 0..12 {
                    let at = (caller * 7919 + turn * 1_000_003) % (bytes.len() - 2_500_000);
                    let mut part = vec![9; 1 + turn * 200_000];
                    disk.read_at(at as u64, &mut part).unwrap();
                    assert!(part == bytes[at..at + part.len()]);
                }
            });
        }
    });
    let end = bytes.len() as u64;
    assert!(matches!(disk.read_at(end, &mut [0]), Err(DiskFault::Outside { .. })));
    let extents = ExtentSet::whole(end);
    let there = disk.content_digest(&extents, 2).unwrap();
    let here = unsplit::digest::content::content_digest(&disk, &extents, 2, &Silent).unwrap();
    assert_eq!(there, here);
}

#[test]
fn both_ends_may_send_without_end() {
    let session = connect(&agent(), 60);
    let (mut sender, mut receiver, outcome) = session.channel(&Request::Echo).unwrap();
    const MESSAGES: usize = 200;
    let message = |at: usize| noise(1 + at * 5003 % LONGEST_MESSAGE, at as u64 + 1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for at in 0..MESSAGES {
                sender.send(&message(at)).unwrap();
            }
            sender.flush().unwrap();
            assert!(matches!(sender.send(&vec![0; LONGEST_MESSAGE + 1]), Err(ChannelFault::TooLong(_))));
        });
        // The receiver starts late: nothing is lost, and requests go on beside.
        std::thread::sleep(Duration::from_millis(300));
        let (reply, _) = session.call(&Request::Superblock { thing: 9 }, &[]).unwrap();
        assert!(matches!(reply, Reply::Fault(_)));
        for at in 0..MESSAGES {
            assert!(receiver.receive().unwrap() == message(at), "message {at}");
        }
        assert!(matches!(receiver.receive(), Err(ChannelFault::Closed)));
        outcome.wait().unwrap();
    });
    // The line is as good as new, and so are many channels after another and a few at once.
    for _ in 0..20 {
        let (mut sender, mut receiver, _) = session.channel(&Request::Echo).unwrap();
        sender.send(b"again").unwrap();
        assert_eq!(receiver.receive().unwrap(), b"again");
    }
    let several: Vec<_> = (0..4).map(|_| session.channel(&Request::Echo).unwrap()).collect();
    drop(several);
}

#[test]
fn who_stops_receiving_does_not_stop_the_others() {
    let session = connect(&agent(), 60);
    let (mut deaf, unread, _) = session.channel(&Request::Echo).unwrap();
    for _ in 0..8 {
        deaf.send(&noise(100_000, 3)).unwrap();
    }
    let (mut sender, mut receiver, _) = session.channel(&Request::Echo).unwrap();
    for _ in 0..50 {
        sender.send(b"hello").unwrap();
        assert_eq!(receiver.receive().unwrap(), b"hello");
    }
    drop(unread);
    // Nobody hears the echoes now: they are dropped, and the sender is not held up.
    for _ in 0..50 {
        deaf.send(&noise(10_000, 3)).unwrap();
    }
}

#[test]
fn a_channel_of_a_dead_agent_ends() {
    let session = connect(&shell(&format!("{BIN} agent --stdio | stdbuf -o0 head -c 300000")), 20);
    let (mut sender, mut receiver, _) = session.channel(&Request::Echo).unwrap();
    let end = (0..100).find_map(|_| sender.send(&noise(50_000, 5)).and_then(|()| receiver.receive()).err());
    assert!(matches!(end, Some(ChannelFault::Closed | ChannelFault::Io(_))), "{end:?}");
}

#[test]
fn reading_goes_on_over_a_new_link_and_only_on_the_same_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = image(&folder);
    // The first agent dies after two megabytes, the second after the same again, and so on.
    let dying = shell(&format!("{BIN} agent --stdio | stdbuf -o0 head -c 2000000"));
    let session = connect(&dying, 10);
    let (disk, _) = RemoteDisk::open(&session, &path, Courtesy::default()).unwrap();
    let mut found = vec![0; bytes.len()];
    for (at, part) in found.chunks_mut(500_000).enumerate() {
        disk.read_at(at as u64 * 500_000, part).unwrap();
    }
    assert!(found == bytes, "the transfer went on where it was");
    // A disk that changed in size meanwhile is not the same: that ends it for good.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(12_000_000).unwrap();
    let mut some = vec![0; 500_000];
    let end = (0..20).find_map(|_| disk.read_at(0, &mut some).err()).expect("an agent dies");
    assert!(end.to_string().contains("read of 500000 bytes"), "{end}");
    let lost = session.lost().unwrap().to_string();
    assert!(lost.contains("not as it was"), "{lost}");
}

/// One session has several things open, and one closed, when its link dies: they are open again under their own numbers.
#[test]
fn all_that_is_open_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<(String, Vec<u8>)> = (1..4u64)
        .map(|seed| {
            let (path, bytes) = (folder.path().join(seed.to_string()), noise(2_000_000, seed));
            std::fs::write(&path, &bytes).unwrap();
            (path.display().to_string(), bytes)
        })
        .collect();
    let flag = folder.path().join("died").display().to_string();
    let session = connect(
        &shell(&format!(
            "if mkdir {flag}; then {BIN} agent --stdio | stdbuf -o0 head -c 1500000; else exec {BIN} agent --stdio; fi"
        )),
        30,
    );
    let open = |at: usize| RemoteDisk::open(&session, &files[at].0, Courtesy::default()).unwrap();
    let ((first, one), (_, two), (third, three)) = (open(0), open(1), open(2));
    let things = [one.thing, two.thing, three.thing];
    assert!(things[0] < things[1] && things[1] < things[2], "{things:?}");
    session.close(two.thing);
    // More than the first agent can say.
    for (disk, at) in [(&first, 0), (&third, 2), (&first, 0)] {
        let mut whole = vec![0; files[at].1.len()];
        disk.read_at(0, &mut whole).unwrap();
        assert!(whole == files[at].1, "file {at}");
    }
    let closed = Request::Read { thing: two.thing, which: Which::Data, at: 0, len: 512, squeeze: false };
    let (reply, _) = session.call(&closed, &[]).unwrap();
    assert!(matches!(reply, Reply::Fault(_)), "{reply:?}");
    // A number is not given twice, so that nobody reads what is not his.
    let (again, four) = open(1);
    assert!(four.thing > three.thing, "{things:?} {}", four.thing);
    let mut some = vec![0; 512];
    again.read_at(4096, &mut some).unwrap();
    assert!(some == files[1].1[4096..4608]);
}

#[test]
fn reconnecting_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = image(&folder);
    let session = connect(&shell(&format!("{BIN} agent --stdio | stdbuf -o0 head -c 100000")), 10);
    let (disk, _) = RemoteDisk::open(&session, &path, Courtesy::default()).unwrap();
    let mut some = vec![0; 1_000_000];
    assert!(disk.read_at(0, &mut some).is_err());
    assert!(session.lost().is_some());
}

#[test]
fn nothing_is_written_without_a_claim() {
    let folder = tempfile::tempdir().unwrap();
    let scene = crate::scene::Scene::of(crate::captures::Capture::Drbd84Down);
    drop(folder);
    let session = connect(&agent(), 60);
    let name = unsplit::model::id::NodeName::new("b").unwrap();
    let data = scene.path("b.img").display().to_string();
    let open = Request::Open {
        name,
        data,
        metadata: None,
        place: None,
        role: None,
        write: true,
        trust: unsplit::model::evidence::Trust::Checked,
        courtesy: Courtesy::default(),
    };
    let opened = session.open(open).unwrap();
    let thing = opened.thing;
    let superblock = opened.superblock.unwrap();
    let writes = [
        Request::Write {
            thing,
            which: Which::Data,
            at: 0,
            len: 512,
            coding: unsplit::format::wire::content::Coding::Zero,
            was: None,
        },
        Request::Flush { thing, which: Which::Data },
        Request::WriteSuperblock { thing, superblock },
    ];
    for claimed in [false, true, false] {
        if claimed {
            let (held, _) = session.call(&Request::Hold { thing }, &[]).unwrap();
            assert!(matches!(held, Reply::Held { .. }), "{held:?}");
        }
        for write in &writes {
            let (reply, _) = session.call(write, &[]).unwrap();
            let refused = matches!(&reply, Reply::Fault(fault) if format!("{fault:?}").contains("claim"));
            assert_eq!(refused, !claimed, "{write:?}: {reply:?}");
        }
        if claimed {
            session.call(&Request::Release { thing }, &[]).unwrap();
        } else {
            let now = scene.read("b.img");
            assert!(now[512..] == scene.before[1].1[512..]);
        }
    }
}

/// Close to the disk, each piece is compared before it is replaced: what somebody else wrote meanwhile stays.
#[test]
fn the_agent_replaces_only_what_was_seen() {
    let scene = crate::scene::Scene::of(crate::captures::Capture::Drbd84Down);
    let session = connect(&agent(), 60);
    let open = Request::Open {
        name: unsplit::model::id::NodeName::new("b").unwrap(),
        data: scene.path("b.img").display().to_string(),
        metadata: None,
        place: None,
        role: None,
        write: true,
        trust: unsplit::model::evidence::Trust::Checked,
        courtesy: Courtesy::default(),
    };
    let opened = session.open(open).unwrap();
    let disk = RemoteDisk::new(&session, opened.thing, Which::Data, "b".to_owned(), opened.size);
    let (held, _) = session.call(&Request::Hold { thing: opened.thing }, &[]).unwrap();
    assert!(matches!(held, Reply::Held { .. }), "{held:?}");
    // More pieces than are under way at once, of several lengths.
    let places: Vec<Extent> =
        (0..20u64).map(|at| Extent { start: at * 1_100_000, len: 512 * (1 + at % 3) }).collect();
    let new: Vec<Vec<u8>> = places.iter().map(|place| noise(place.len as usize, place.start + 1)).collect();
    let before = scene.read("b.img");
    let was = |place: &Extent| {
        let bytes = &before[place.start as usize..place.end() as usize];
        ReadPiece::of(place.start, bytes).piece()
    };
    let pieces: Vec<Replacement<'_>> =
        places.iter().zip(&new).map(|(place, new)| Replacement { was: was(place), new }).collect();

    let foreign = places[13];
    let file = std::fs::OpenOptions::new().write(true).open(scene.path("b.img")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"foreign", foreign.start + 100).unwrap();
    drop(file);
    let error = disk.replace(&pieces).unwrap_err();
    assert!(matches!(error, DiskFault::Changed { extent, .. } if extent == foreign), "{error}");
    let now = scene.read("b.img");
    for (place, new) in places.iter().zip(&new) {
        let here = &now[place.start as usize..place.end() as usize];
        if place.start < foreign.start {
            assert!(here == new, "{place:?} was as it should be, and is replaced");
        } else if *place == foreign {
            assert!(here[100..107] == *b"foreign" && here[..100] == before[foreign.start as usize..][..100]);
        }
    }
}

#[test]
fn a_damaged_stream_ends_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = image(&folder);
    let damage =
        "{ stdbuf -o0 head -c 3000; stdbuf -o0 head -c 1 | tr \"\\000-\\377\" \"\\001-\\377\\000\"; cat; }";
    let session = connect(&shell(&format!("{BIN} agent --stdio | {damage}")), 10);
    let (disk, _) = RemoteDisk::open(&session, &path, Courtesy::default()).unwrap();
    let mut some = vec![0; 1_000_000];
    let error = disk.read_at(0, &mut some).unwrap_err();
    assert!(format!("{error:?}").contains("checksum"), "{error:?}");
}

/// The engine asks before each piece that it writes: a yes in place of an answer would let two write at once.
#[test]
fn a_second_writer_there_is_named_before_anything_is_written() {
    let scene = crate::scene::Scene::of(crate::captures::Capture::Drbd84Down);
    let session = connect(&agent(), 60);
    let open = Request::Open {
        name: unsplit::model::id::NodeName::new("b").unwrap(),
        data: scene.path("b.img").display().to_string(),
        metadata: None,
        place: None,
        role: None,
        write: true,
        trust: unsplit::model::evidence::Trust::Checked,
        courtesy: Courtesy::default(),
    };
    let thing = session.open(open).unwrap().thing;
    let still_ours = || session.call(&Request::StillOurs { thing }, &[]).unwrap().0;
    assert!(matches!(still_ours(), Reply::Fault(_)), "nothing is claimed yet");
    let (held, _) = session.call(&Request::Hold { thing }, &[]).unwrap();
    assert!(matches!(held, Reply::Held { .. }), "{held:?}");
    assert_eq!(still_ours(), Reply::Done);
    let second = std::fs::OpenOptions::new().read(true).write(true).open(scene.path("b.img")).unwrap();
    let told = still_ours();
    let words = format!("{told:?}");
    assert!(matches!(told, Reply::Fault(_)), "{words}");
    assert!(words.contains(&std::process::id().to_string()), "it names who: {words}");
    drop(second);
}

/// A greeting as a file, for a peer that is a script.
fn greeting(folder: &tempfile::TempDir, name: &str, host: &str, machine: Option<String>) -> String {
    let hello = Hello { unsplit: "9.9".to_owned(), host: host.to_owned(), machine, silence: None };
    let path = folder.path().join(name);
    std::fs::write(&path, hello_bytes(&hello)).unwrap();
    path.display().to_string()
}

/// The answer to an act is lost: it may have been done, and is not asked for again over another link.
#[test]
fn an_act_whose_answer_is_lost_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let hello = greeting(&folder, "hello", "n2", None);
    let starts = folder.path().join("starts");
    let script = format!("echo one >> {}; cat {hello}; sleep 1", starts.display());
    let session = connect(&shell(&script), 20);
    let node = RemoteNode::new(session, NodeName::new("b").unwrap());
    let resource = ResourceName::new("r0").unwrap();
    let toward = Toward { resource: resource.clone(), peer: None };
    let store = Arc::new(StateDir::open(&folder.path().join("state")).unwrap());
    let journal = Journal::open(store, Arc::new(SystemClock)).unwrap();
    let (incident, plan) = (IncidentId::new("i1").unwrap(), PlanId(Digest([1; 32])));
    let at = journal.begin(incident, resource, plan, Consent::Operator).unwrap();
    let declared = at.declare(0, StepName::new("isolate", Stage::Quiesce)).unwrap();
    let performed = declared.perform(|permit| node.act(&NodeAct::Disconnect(toward), permit));
    assert!(matches!(performed.end(), End::Unknown(_)), "{:?}", performed.end());
    assert_eq!(std::fs::read_to_string(&starts).unwrap(), "one\n", "no second agent was started for it");
}

#[test]
fn another_machine_behind_a_new_link_is_not_taken_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = image(&folder);
    let here = ourselves(None);
    for (at, (host, machine)) in
        [("elsewhere", here.machine.clone()), (&*here.host, Some("0".repeat(32)))].into_iter().enumerate()
    {
        let hello = greeting(&folder, &format!("hello-{at}"), host, machine);
        let flag = folder.path().join(format!("died-{at}")).display().to_string();
        let first = format!("{BIN} agent --stdio | stdbuf -o0 head -c 100000");
        let script = format!("if mkdir {flag}; then {first}; else cat {hello}; sleep 60; fi");
        let session = connect(&shell(&script), 20);
        let (disk, _) = RemoteDisk::open(&session, &path, Courtesy::default()).unwrap();
        assert!(disk.read_at(0, &mut vec![0; 1_000_000]).is_err());
        let lost = session.lost().unwrap().to_string();
        assert!(lost.contains("it is another machine now"), "{lost}");
    }
}
