//! An agent at the other end of a socket: a real desk answers, and what it says is changed on its way.

use crate::world::pair::{Images, Spec};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use unsplit::api::desk::Desk;
use unsplit::edge::peer::greet::ourselves;
use unsplit::edge::peer::replica::Address;
use unsplit::edge::peer::{Limits, RemoteReplica, Session};
use unsplit::format::wire::control::{Courtesy, LONGEST_READ, Reply, Request, document_bytes};
use unsplit::format::wire::frame::{HEADER, Kind, header_for, parse_header};
use unsplit::format::wire::hello::{PREAMBLE, hello_bytes, parse_preamble};
use unsplit::format::wire::reply::read_request;
use unsplit::model::id::NodeName;
use unsplit::ports::progress::Silent;

/// The sending end of the enemy's stream. Writing to who has hung up ends the enemy, not the test.
pub struct Out(UnixStream);

impl Out {
    /// One frame. Says whether anybody still takes it.
    pub fn frame(&mut self, kind: Kind, id: u32, payload: &[u8]) -> bool {
        let header = header_for(id, kind, payload).unwrap();
        self.0.write_all(&header).and_then(|()| self.0.write_all(payload)).is_ok()
    }

    /// A whole reply, in parts where it is long.
    pub fn reply(&mut self, id: u32, document: &[u8]) -> bool {
        let mut rest = document;
        while rest.len() > LONGEST_READ as usize {
            let (part, behind) = rest.split_at(LONGEST_READ as usize);
            if !self.frame(Kind::Part, id, part) {
                return false;
            }
            rest = behind;
        }
        self.frame(Kind::Reply, id, rest)
    }

    /// A reply as an agent would send it.
    pub fn say(&mut self, id: u32, reply: &Reply, beside: &[u8]) -> bool {
        self.reply(id, &document_bytes(reply, beside).unwrap())
    }

    /// Alive, and this far.
    pub fn alive(&mut self, done: u64) -> bool {
        self.frame(Kind::Alive, 0, &done.to_le_bytes())
    }
}

/// What becomes of a request: its number, itself, and what an honest agent says to it.
pub trait Enemy: FnMut(&mut Out, u32, &Request, (Reply, Vec<u8>)) -> bool + Send + 'static {}
impl<F: FnMut(&mut Out, u32, &Request, (Reply, Vec<u8>)) -> bool + Send + 'static> Enemy for F {}

/// Says what an honest agent says.
pub fn honest(out: &mut Out, id: u32, _: &Request, (reply, beside): (Reply, Vec<u8>)) -> bool {
    out.say(id, &reply, &beside)
}

fn filled(stream: &mut UnixStream, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn serve(mut stream: UnixStream, mut enemy: impl Enemy) -> Option<()> {
    let mut out = Out(stream.try_clone().unwrap());
    out.0.write_all(&hello_bytes(&ourselves(None))).ok()?;
    let preamble: [u8; PREAMBLE] = filled(&mut stream, PREAMBLE)?.try_into().unwrap();
    let (_, rest) = parse_preamble(&preamble).unwrap();
    filled(&mut stream, rest)?;
    let desk = Desk::default();
    let mut parts: Vec<u8> = Vec::new();
    loop {
        let header = parse_header(&filled(&mut stream, HEADER)?.try_into().unwrap()).unwrap();
        let payload = filled(&mut stream, header.len)?;
        match header.kind {
            Kind::Part => parts.extend(payload),
            Kind::Request => {
                parts.extend(payload);
                let (request, beside) = read_request(std::mem::take(&mut parts)).unwrap();
                let answer = desk.answer(request.clone(), &beside, &Silent);
                if !enemy(&mut out, header.id, &request, answer) {
                    return None;
                }
            }
            _ => {}
        }
    }
}

/// A session with an enemy. Dropped last, so that the enemy's thread has ended.
pub struct Talk {
    pub session: Option<Arc<Session>>,
    enemy: Option<JoinHandle<()>>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.session = None;
        if let Some(enemy) = self.enemy.take() {
            enemy.join().unwrap();
        }
    }
}

impl Talk {
    pub fn session(&self) -> &Arc<Session> {
        self.session.as_ref().unwrap()
    }
}

pub fn talk_within(limits: Limits, enemy: impl Enemy) -> Talk {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let enemy = std::thread::spawn(move || {
        let _ = serve(theirs, enemy);
    });
    let stop = ours.try_clone().unwrap();
    let stop = Box::new(move || drop(stop.shutdown(std::net::Shutdown::Both)));
    let streams = (ours.try_clone().unwrap(), ours);
    let session = Session::over(&"exec:enemy".parse().unwrap(), streams, stop, limits).unwrap();
    Talk { session: Some(session), enemy: Some(enemy) }
}

pub fn talk(enemy: impl Enemy) -> Talk {
    talk_within(Limits::of(Duration::from_secs(60)), enemy)
}

/// Two images of a split brain.
pub struct Disks {
    _folder: TempDir,
    paths: [PathBuf; 2],
}

impl Disks {
    pub fn of(spec: &Spec) -> Disks {
        let folder = tempfile::tempdir().unwrap();
        let Images { sides, .. } = spec.build();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], &sides.a.data).unwrap();
        std::fs::write(&paths[1], &sides.b.data).unwrap();
        Disks { _folder: folder, paths }
    }

    pub fn path(&self, at: usize) -> String {
        self.paths[at].display().to_string()
    }

    pub fn address(&self, at: usize, write: bool) -> Address {
        Address {
            name: NodeName::new("b").unwrap(),
            data: self.path(at),
            metadata: None,
            place: None,
            role: None,
            write,
            trust: unsplit::model::evidence::Trust::Checked,
            courtesy: Courtesy::default(),
        }
    }

    pub fn open(&self, talk: &Talk, at: usize) -> Result<RemoteReplica, String> {
        let opened = RemoteReplica::open(talk.session(), self.address(at, true));
        opened.map_err(|trouble| trouble.causes().join(": "))
    }
}

/// Memory is measured for the whole process, so one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// How many bytes of memory the process had at most during `work` beyond what it had before.
pub fn memory_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let done = work();
    (done, status("VmHWM:").saturating_sub(before))
}
