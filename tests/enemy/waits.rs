//! Who says that it is alive and does nothing is not waited for for ever; who works is, however long it takes.

use crate::fake::{Disks, Out, alone, honest, talk, talk_within};
use crate::world::pair::Spec;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use unsplit::digest::link::{LinkOptions, Question, ask};
use unsplit::edge::peer::Limits;
use unsplit::edge::peer::disk::RemoteDisk;
use unsplit::format::wire::control::{Courtesy, Fault, Reply, Request};
use unsplit::format::wire::frame::Kind;
use unsplit::format::wire::reconcile::Message;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::extent::ExtentSet;
use unsplit::model::side::Side;
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::Silent;

/// Longer than anything here takes on the slowest machine; what takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

fn impatient(patience: u64) -> Limits {
    Limits { patience: Duration::from_secs(patience), ..Limits::of(Duration::from_secs(60)) }
}

/// Runs on a thread of its own, so that what never ends fails here.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let worker = std::thread::spawn(move || drop(sender.send(work())));
    let done = receiver.recv_timeout(HANGS).expect("it ends in time");
    worker.join().unwrap();
    done
}

/// Only that it is alive, from now until nobody takes it.
fn alive_for_ever(out: &mut Out, id: Option<u32>) -> bool {
    loop {
        // A channel's own sign of life is no progress either.
        let also = id.is_none_or(|id| out.frame(Kind::Message, id, &Message::Working.encode()));
        if !also || !out.alive(3) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn content_of(disk: &RemoteDisk) -> Result<String, String> {
    let extents = ExtentSet::whole(disk.size());
    disk.content_digest(&extents, 1).map(|digest| digest.to_string()).map_err(|error| format!("{error:?}"))
}

#[test]
fn alive_alone_is_no_answer() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let enemy = |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| match request {
        Request::ContentDigest { .. } => alive_for_ever(out, None),
        _ => honest(out, id, request, answer),
    };
    let path = disks.path(0);
    let (end, lost) = in_time(move || {
        let talk = talk_within(impatient(2), enemy);
        let (disk, _) = RemoteDisk::open(talk.session(), &path, Courtesy::default()).unwrap();
        (content_of(&disk), talk.session().lost())
    });
    assert!(end.unwrap_err().contains("got no further for 2 seconds"));
    // The next agent would be asked the same of the same disk: nothing is tried again.
    assert!(lost.unwrap().to_string().contains("got no further"));
}

#[test]
fn signs_of_life_on_a_channel_are_no_answer_either() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let enemy = |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| match request {
        Request::Answer { .. } => alive_for_ever(out, Some(id)),
        _ => honest(out, id, request, answer),
    };
    let end = in_time(move || compared(&disks, impatient(2), enemy));
    assert!(end.as_ref().unwrap_err().contains("got no further for 2 seconds"), "{end:?}");
}

fn compared(disks: &Disks, limits: Limits, enemy: impl crate::fake::Enemy) -> Result<(), String> {
    let talk = talk_within(limits, enemy);
    let open = |at| RemoteDisk::open(talk.session(), &disks.path(at), Courtesy::default()).unwrap().0;
    let (near, far) = (open(0), open(1));
    let (mut sender, mut receiver) = far.answering(1).map_err(|fault| fault.to_string())?;
    let question = Question { size: near.size(), scope: ExtentSet::whole(near.size()), side: Side::A };
    // One thread, and no sign of life of our own.
    let options = LinkOptions { threads: 1, pulse: Duration::from_secs(3600), ..LinkOptions::default() };
    let asked = ask(&near, &question, &mut *sender, &mut *receiver, &options, &Silent);
    asked.map(|_| ()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })
}

#[test]
fn work_that_goes_on_is_waited_for() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let patience = 4;
    let enemy = move |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| {
        if matches!(request, Request::ContentDigest { .. }) {
            // Twice as long as the patience, and always a little further.
            let begun = Instant::now();
            for done in 1.. {
                if begun.elapsed() > Duration::from_secs(2 * patience) || !out.alive(done) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        honest(out, id, request, answer)
    };
    let path = disks.path(0);
    let end = in_time(move || {
        let talk = talk_within(impatient(patience), enemy);
        let (disk, _) = RemoteDisk::open(talk.session(), &path, Courtesy::default()).unwrap();
        content_of(&disk)
    });
    end.unwrap();
}

/// It was waited for until the line went silent, and a line with signs of life never does.
#[test]
fn a_refused_channel_answers_at_once() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let enemy = |out: &mut Out, id: u32, request: &Request, answer: (Reply, Vec<u8>)| match request {
        Request::Answer { .. } => {
            out.say(id, &Reply::Fault(Fault::Refused("too many channels".to_owned())), b"")
        }
        _ => honest(out, id, request, answer),
    };
    let end = in_time(move || compared(&disks, Limits::of(Duration::from_secs(3600)), enemy));
    assert!(end.as_ref().unwrap_err().contains("the peer refused: too many channels"), "{end:?}");
}

/// An honest talk over the same streams goes well: what the others see is the lie, not the test.
#[test]
fn an_honest_agent_is_believed() {
    let _alone = alone();
    let disks = Disks::of(&Spec::plain(MetadataFormat::V08, 3));
    let talk = talk(honest);
    let (disk, _) = RemoteDisk::open(talk.session(), &disks.path(0), Courtesy::default()).unwrap();
    content_of(&disk).unwrap();
    let mut bytes = vec![0; usize::try_from(disk.size()).unwrap()];
    disk.read_at(0, &mut bytes).unwrap();
    assert!(bytes == std::fs::read(disks.path(0)).unwrap());
}
