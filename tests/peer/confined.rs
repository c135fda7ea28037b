//! An agent that may do less: what it was started with holds against every request, and the asking side says so.

use crate::captures::Capture;
use crate::scene::{BIN, Scene, text};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;
use unsplit::edge::peer::{Limits, Session};
use unsplit::format::wire::content::Coding;
use unsplit::format::wire::control::{Courtesy, Fault, Opened, Reply, Request, Which};
use unsplit::judge::aftermath::after_resync;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{NodeName, ResourceName};
use unsplit::model::node::{ConnectAs, NodeAct, Toward};
use unsplit::model::seen::Stamp;

fn confined(options: &str) -> String {
    format!("exec:{BIN} agent --stdio {options}")
}

fn connect(options: &str) -> Arc<Session> {
    Session::connect(&confined(options).parse().unwrap(), Limits::of(Duration::from_secs(60))).unwrap()
}

fn open(path: &str, write: bool) -> Request {
    Request::Open {
        name: NodeName::new("b").unwrap(),
        data: path.to_owned(),
        metadata: None,
        place: None,
        role: None,
        write,
        trust: unsplit::model::evidence::Trust::Checked,
        courtesy: Courtesy::default(),
    }
}

fn open_disk(path: &str) -> Request {
    Request::OpenDisk { path: path.to_owned(), courtesy: Courtesy::default() }
}

/// Every request but those that open and those that open a channel, of a replica that is open.
fn all_of(opened: &Opened) -> Vec<Request> {
    let thing = opened.thing;
    let superblock = opened.superblock.clone().unwrap();
    let change = Box::new(after_resync(&superblock, &superblock).survivor);
    let some = ExtentSet::whole(4096);
    let block = Extent { start: opened.source.as_ref().unwrap().superblock_at, len: 4096 };
    let which = Which::Data;
    let toward = Toward { resource: ResourceName::new("r0").unwrap(), peer: None };
    let resource = toward.resource.clone();
    let acts = [
        NodeAct::Disconnect(toward.clone()),
        NodeAct::Reconnect(toward.clone()),
        NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim },
        NodeAct::RestorePolicies { toward, to: None },
        NodeAct::Demote { resource: resource.clone() },
        NodeAct::Promote { resource: resource.clone() },
        NodeAct::Invalidate { resource, volume: 0, minor: 0 },
    ];
    let others = [
        Request::Superblock { thing },
        Request::SuperblockBlock { thing },
        Request::AreaDigest { thing },
        Request::Observe { thing, peer: superblock.clone(), now: Stamp(1) },
        Request::Read { thing, which, at: 0, len: 512, squeeze: false },
        Request::Stretch { thing, which, at: 0 },
        Request::ContentDigest { thing, which, extents: some.clone(), threads: 1 },
        Request::ChangedBlocks { thing, change: change.clone(), overwritten: some.clone() },
        Request::AreaLeft {
            thing,
            change: change.clone(),
            overwritten: some.clone(),
            blocks: [block].into_iter().collect(),
            coding: Coding::Zero,
        },
        Request::Hold { thing },
        Request::StillOurs { thing },
        Request::Release { thing },
        Request::WriteSuperblock { thing, superblock },
        Request::Write { thing, which, at: 0, len: 512, coding: Coding::Zero, was: None },
        Request::Flush { thing, which },
        Request::Settle { thing, change, overwritten: some, again: false },
        Request::State,
        Request::Log,
        Request::Report,
        Request::Users { minor: 0 },
    ];
    others.into_iter().chain(acts.into_iter().map(Request::Act)).collect()
}

fn is_forbidden(reply: &Reply) -> bool {
    matches!(reply, Reply::Fault(Fault::Forbidden { .. }))
}

#[test]
fn every_request_to_an_agent_that_only_reads() {
    let scene = Scene::of(Capture::Drbd84Down);
    let path = scene.path("b.img").display().to_string();
    let session = connect("--read-only");
    let (writing, _) = session.call(&open(&path, true), &[]).unwrap();
    assert!(is_forbidden(&writing), "{writing:?}");
    let opened = session.open(open(&path, false)).unwrap();
    for request in all_of(&opened) {
        let acts = matches!(
            request,
            Request::Hold { .. }
                | Request::WriteSuperblock { .. }
                | Request::Write { .. }
                | Request::Flush { .. }
                | Request::Settle { .. }
                | Request::Act(_)
        );
        let (reply, _) = session.call(&request, &[]).unwrap();
        assert_eq!(is_forbidden(&reply), acts, "{request:?}: {reply:?}");
    }
    assert!(scene.now() == scene.before);
}

#[test]
fn every_request_to_an_agent_of_one_image() {
    let scene = Scene::of(Capture::Drbd9Attached);
    let (a, b) = (scene.path("a.img").display().to_string(), scene.path("b.img").display().to_string());
    let link = scene.path("link").display().to_string();
    symlink(&a, &link).unwrap();
    let session = connect(&format!("--allow {b}"));
    let opened = session.open(open(&b, true)).unwrap();
    // Things that are open are allowed ones; of the node itself nothing is.
    for request in all_of(&opened) {
        let of_the_node = request.thing().is_none();
        let (reply, _) = session.call(&request, &[]).unwrap();
        assert_eq!(is_forbidden(&reply), of_the_node, "{request:?}: {reply:?}");
    }
    let spelled = format!(
        "{}/../{}/b.img",
        scene.folder.path().display(),
        scene.folder.path().file_name().unwrap().to_str().unwrap()
    );
    for (path, fine) in
        [(&a, false), (&link, false), (&"/etc/passwd".to_owned(), false), (&b, true), (&spelled, true)]
    {
        for request in [open(path, false), open_disk(path)] {
            let again = Request::OpenAs { thing: 200, opening: Box::new(request.clone()) };
            for request in [request, again] {
                let (reply, _) = session.call(&request, &[]).unwrap();
                assert_eq!(is_forbidden(&reply), !fine, "{request:?}: {reply:?}");
                if let Reply::Opened(opened) = reply {
                    session.call(&Request::Close { thing: opened.thing }, &[]).unwrap();
                }
            }
        }
    }
    // As a metadata device, too.
    let Request::Open { name, place, role, trust, courtesy, .. } = open(&b, false) else { unreachable!() };
    let foreign =
        Request::Open { name, data: b, metadata: Some(a), place, role, write: false, trust, courtesy };
    let (reply, _) = session.call(&foreign, &[]).unwrap();
    assert!(is_forbidden(&reply), "{reply:?}");
}

#[test]
fn the_asking_side_says_what_is_not_allowed_and_what_would_allow_it() {
    let scene = Scene::of(Capture::Drbd84Down);
    let (a, b) = (scene.path("a.img"), scene.path("b.img"));
    let only = |path: &std::path::Path, more: &str| confined(&format!("--allow {} {more}", path.display()));
    let refused = scene.on("status", Some(&only(&a, "")), &[]);
    let shown = text(&refused);
    assert_eq!(refused.status.code(), Some(4), "{shown}");
    assert!(
        shown.contains("the peer does not allow") && shown.contains(&format!("--allow {}", b.display())),
        "{shown}"
    );

    let reading = only(&b, "--read-only");
    for command in ["status", "diff", "plan"] {
        let more: &[&str] = if command == "plan" { &["--keep", "a"] } else { &[] };
        let looked = scene.on(command, Some(&reading), more);
        assert_eq!(looked.status.code(), Some(1), "{command}: {}", text(&looked));
    }
    let refused = scene.on("resolve", Some(&reading), &["--keep", "a", "--yes"]);
    let shown = text(&refused);
    assert_eq!(refused.status.code(), Some(4), "{shown}");
    assert!(shown.contains("started with --read-only") && shown.contains("next: "), "{shown}");
    assert!(scene.now() == scene.before, "nothing was written");

    let healed = scene.on("resolve", Some(&only(&b, "")), &["--keep", "a", "--yes"]);
    assert_eq!(healed.status.code(), Some(0), "{}", text(&healed));
}

#[test]
fn what_an_agent_is_started_with_is_checked() {
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(BIN);
        command.args(["agent", "--stdio"]).args(words).stdin(std::process::Stdio::null());
        crate::scene::in_time(command)
    };
    for bad in [&["--allow", "b.img"][..], &["--allow"], &["--allow-resource", "/dev/vg/r0"]] {
        let said = run(bad);
        assert_eq!(said.status.code(), Some(2), "{bad:?}: {}", text(&said));
    }
}
