//! The process that does a handler's work. Every step that could hang is waited for no longer than its share.

use super::guard::{ANSWER, SAY};
use super::{HandlerArgs, Then, fence, last, preserve};
use crate::cli::Cli;
use crate::cli::events::words;
use crate::cli::exit::{FINE, Failure};
use crate::edge::clock::SystemClock;
use crate::edge::drbd::netlink::reader::{Limits, Reader};
use crate::edge::events::append;
use crate::edge::process::{Apart, Heard};
use crate::edge::voice::{Urgency, say};
use crate::format::events::encode;
use crate::format::handler_call::call;
use crate::model::drbd_live::tree::{Connection, Live, Resource};
use crate::model::handled::{Call, Handled, Handler, Outcome, Then as StateThen, VolumeThen};
use crate::model::seen::{Why, in_words};
use crate::ports::clock::Clock;
use std::ffi::OsString;
use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long asking DRBD for its state may take, and how long a record may, of a long deadline. DRBD answers at once, or holds
/// a lock that it waits for us with.
const LONGEST_SHARE: Duration = Duration::from_secs(10);
/// How long a record may take once DRBD has its answer.
const LATE: Duration = Duration::from_secs(60);
/// How long the notify program may take.
const NOTIFY: Duration = Duration::from_secs(60);
/// More volumes than these are not written down: a line has an end.
const MOST_VOLUMES: usize = 64;

/// What the handler is called for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) call: Call,
    pub(super) host: String,
    pub(super) boot: Option<String>,
    /// When the work has to be done; a little before DRBD gets an answer without it.
    pub(super) until: Instant,
    /// What asking DRBD may take of it, and what a record may.
    share: Duration,
}

impl Job {
    fn new(args: &HandlerArgs) -> Job {
        let limit = args.limit();
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut call = call(&variables);
        call.resource = args.resource.clone().or(call.resource);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Job {
            call,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: boot.map(|id| id.trim().to_owned()),
            until: Instant::now() + limit - (limit / 5).min(Duration::from_secs(3)),
            share: (limit * 2 / 5).min(LONGEST_SHARE),
        }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

pub(super) fn run(cli: &Cli, args: &HandlerArgs) -> Result<u8, Failure> {
    let job = Job::new(args);
    let (event, pending) = match args.handler {
        // I/O may be frozen until the answer: everything else comes after it.
        Handler::FencePeer | Handler::UnfencePeer => {
            let (did, code) = fence::fence(args, &job);
            answer(code);
            let then = state(job.share).and_then(|live| then(&live, &job.call));
            let event = handled(args, &job, then, did, code);
            let pending = record(cli, &job, &event, job.share);
            (event, pending)
        }
        Handler::BeforeResyncTarget => {
            let live = state(job.share);
            let did = preserve::preserve(cli, args, &job, live.as_ref().ok());
            let code = match did {
                Outcome::NotKept { .. } => args.without_answer(),
                _ => 0,
            };
            let event = handled(args, &job, live.and_then(|live| then(&live, &job.call)), did, code);
            let left = job.left().max(Duration::from_secs(2));
            let pending = record(cli, &job, &event, job.share.min(left));
            answer(code);
            (event, pending)
        }
        _ => {
            let live = state(job.share);
            let did = match args.then {
                Then::Nothing => Outcome::Recorded,
                Then::Reboot => Outcome::Stopping { then: "reboot".to_owned() },
                Then::Halt => Outcome::Stopping { then: "halt".to_owned() },
            };
            let event = handled(args, &job, live.and_then(|live| then(&live, &job.call)), did, 0);
            let pending = record(cli, &job, &event, job.share.min(job.left()));
            last::act(args.then);
            answer(0);
            (event, pending)
        }
    };
    // DRBD has its answer; a slow disk may take its time.
    if let Some(pending) = pending
        && let Ok(Ok(())) = pending.recv_timeout(LATE)
    {
        say(Urgency::Info, &format!("handler {}: recorded after all", event.handler));
    }
    if let Some(line) = &args.exec {
        notify(line, &event)?;
    }
    Ok(FINE)
}

/// Tells the process that DRBD waits for. It may have given up: then nobody listens.
fn answer(code: u8) {
    let _ = writeln!(std::io::stdout(), "{ANSWER}{code}").and_then(|()| std::io::stdout().flush());
}

/// Runs `work` in a thread of its own, which may hang.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, result) = std::sync::mpsc::channel();
    // Without a thread there is no result: the sender is gone, and who waits learns it at once.
    let _ = std::thread::Builder::new().spawn(move || drop(sender.send(work())));
    result
}

/// What DRBD says of everything now.
fn state(limit: Duration) -> Result<Live, Why> {
    let limits = Limits { answer: limit, ..Limits::default() };
    let asked = apart(move || Reader::of_this_machine(limits).snapshot());
    match asked.recv_timeout(limit) {
        Ok(answer) => answer.map_err(|error| Why(in_words(&error))),
        Err(_) => Err(Why(format!("DRBD did not answer within {} s", limit.as_secs_f32()))),
    }
}

/// The connection that the call is about: by the peer's node id, or the only one.
pub(super) fn connection<'l>(resource: &'l Resource, call: &Call) -> Option<&'l Connection> {
    match (call.peer_node_id, &resource.connections[..]) {
        (Some(id), all) => all.iter().find(|connection| connection.peer_node_id == Some(id)),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// What of DRBD's state the event keeps.
fn then(live: &Live, call: &Call) -> Result<StateThen, Why> {
    let name = call.resource.as_deref().ok_or_else(|| Why::from("DRBD did not name the resource"))?;
    let resource = live.resource(name).ok_or_else(|| Why(format!("DRBD knows no resource {name}")))?;
    let connection = connection(resource, call);
    let volumes = resource
        .devices
        .iter()
        .filter(|device| call.volumes.is_empty() || call.volumes.contains(&device.volume))
        .take(MOST_VOLUMES)
        .map(|device| {
            let toward = connection.and_then(|connection| {
                connection.peer_devices.iter().find(|peer| peer.volume == device.volume)
            });
            VolumeThen {
                volume: device.volume,
                minor: device.minor,
                disk: device.info.disk,
                peer_disk: toward.and_then(|peer| peer.info.disk),
                replication: toward.and_then(|peer| peer.info.replication),
                current: device.statistics.current,
                bitmap: toward.and_then(|peer| peer.statistics.bitmap),
                history: device.statistics.history.iter().flatten().take(4).copied().collect(),
                out_of_sync: toward.and_then(|peer| peer.out_of_sync_bytes()),
                written: device.statistics.written,
            }
        })
        .collect();
    Ok(StateThen {
        role: resource.info.role,
        connection: connection.and_then(|connection| connection.info.state),
        peer_role: connection.and_then(|connection| connection.info.peer_role),
        volumes,
    })
}

fn handled(args: &HandlerArgs, job: &Job, then: Result<StateThen, Why>, did: Outcome, exit: u8) -> Handled {
    Handled {
        at: SystemClock.now(),
        host: job.host.clone(),
        boot: job.boot.clone(),
        handler: args.handler,
        call: job.call.clone(),
        then,
        did,
        exit,
    }
}

/// To the events file, and to the system's log, which also learns of it when the file cannot be written. Returns what is
/// still being written.
fn record(cli: &Cli, job: &Job, event: &Handled, limit: Duration) -> Option<Receiver<std::io::Result<()>>> {
    let (urgency, text) = words(event, &crate::cli::plan::state_dir_words(cli));
    aloud(urgency, &text);
    let (mut pending, mut failed) = (None, None);
    match encode(event) {
        Ok(line) => {
            let (state_dir, until) = (cli.state_dir.clone(), Instant::now() + limit / 2);
            let result = apart(move || append(&state_dir, &line, until));
            match result.recv_timeout(limit) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(_) => {
                    failed = Some("it takes too long".to_owned());
                    pending = Some(result);
                }
            }
        }
        Err(error) => failed = Some(error.to_string()),
    }
    if let Some(why) = failed {
        let state_dir = cli.state_dir.display();
        let resource = job.call.resource.as_deref().unwrap_or("a resource that DRBD did not name");
        let handler = event.handler;
        aloud(
            Urgency::Error,
            &format!("handler {handler} of {resource}: not recorded in {state_dir} ({why})"),
        );
    }
    pending
}

fn aloud(urgency: Urgency, text: &str) {
    // Through the process that DRBD waits for: our own standard error is closed.
    let line = text.replace('\n', " ");
    let _ = writeln!(std::io::stdout(), "{SAY}{line}").and_then(|()| std::io::stdout().flush());
    say(urgency, text);
}

/// Runs the notify program, when DRBD has its answer already.
fn notify(line: &str, event: &Handled) -> Result<(), Failure> {
    let argv: Vec<OsString> = super::words("--exec", line)?.into_iter().map(OsString::from).collect();
    let json = serde_json::to_string(event).unwrap_or_default();
    let variables = [("UNSPLIT_EVENT", json), ("UNSPLIT_HANDLER", event.handler.word().to_owned())];
    let mut program = match Apart::start(&argv, &variables) {
        Ok(program) => program,
        Err(error) => {
            say(Urgency::Error, &format!("--exec {line}: {error}"));
            return Ok(());
        }
    };
    let until = Instant::now() + NOTIFY;
    loop {
        match program.line(until) {
            Heard::Line(_) => {}
            Heard::End => return Ok(()),
            Heard::Late => {
                program.kill();
                say(Urgency::Error, &format!("--exec {line}: ended after {} s", NOTIFY.as_secs()));
                return Ok(());
            }
        }
    }
}
