//! fence-peer and unfence-peer. DRBD's exit codes say what is known of the peer: 3 Inconsistent, 4 outdated, 5 down, 6 it is
//! Primary, 7 its power was cut. None of them is ever said without proof; without proof the answer is 1.

use super::HandlerArgs;
use super::inside::Job;
use crate::edge::peer::PeerSpec;
use crate::edge::process::{LAST_WORDS, Process, run};
use crate::format::outdated::{Peer, command, parse};
use crate::model::handled::{Handler, Outcome};
use crate::model::id::ResourceName;
use crate::model::seen::Why;
use std::io::Read;
use std::time::{Duration, Instant};

/// The answer when nothing is proven.
const NOT_FENCED: u8 = 1;
/// Between two attempts to have the peer declare itself outdated: it may not yet have noticed that the link is gone.
const PAUSE: Duration = Duration::from_millis(500);
/// ssh's exit code for its own failures.
const UNREACHABLE: i32 = 255;
/// The peer's answer is a few lines.
const MOST: usize = 64 << 10;

/// What was done, and the answer.
pub(super) fn fence(args: &HandlerArgs, job: &Job) -> (Outcome, u8) {
    let not = |why: String| (Outcome::NotFenced { why: Why(why) }, NOT_FENCED);
    match (&args.via, &args.peer) {
        (Some(line), _) => via(line, job.until).unwrap_or_else(not),
        (None, Some(peer)) => match ask(peer, job) {
            Ok(end) => end,
            Err(why) => not(why),
        },
        (None, None) if args.handler == Handler::UnfencePeer => (Outcome::Recorded, 0),
        (None, None) => not(
            "no agent was named: give --via COMMAND or --peer ssh, so that it can be proven that the peer does not write"
                .to_owned(),
        ),
    }
}

/// Runs another agent, and hands its exit code on.
fn via(line: &str, until: Instant) -> Result<(Outcome, u8), String> {
    let argv = super::words("--via", line).map_err(|failure| failure.text())?;
    let failed = |why: String| format!("{line}: {why}");
    let (process, stdin, mut stdout) = Process::start(&argv).map_err(|error| failed(error.to_string()))?;
    drop(stdin);
    // Read, so that it does not wait for a reader; what it says on standard error is what matters.
    let drain = move || {
        let mut bytes = [0; 4096];
        while stdout.read(&mut bytes).is_ok_and(|read| read > 0) {}
    };
    std::thread::Builder::new().spawn(drain).map_err(|error| failed(error.to_string()))?;
    let status = process.ended_within(until.saturating_duration_since(Instant::now()));
    // Who did not end in time has said all that it will be heard of.
    let heard = status.map_or_else(|| process.said(), |_| process.said_at_last(LAST_WORDS));
    let said = heard.last().map_or_else(String::new, |said| format!(" ({said})"));
    let Some(status) = status else { return Err(failed(format!("it did not end in time{said}"))) };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.ok_or_else(|| failed(format!("it was ended: {status}{said}")))?;
    Ok((Outcome::Fenced { how: format!("{line} ended with {code}{said}") }, code))
}

/// The program that runs a command on the peer. `exec:COMMAND` gets the command line as its last word.
pub(super) fn reached(peer: &str, name: Option<&str>, line: &str) -> Result<Vec<String>, String> {
    let whole = match (peer, name) {
        ("ssh", Some(name)) => format!("ssh:{name}"),
        ("ssh", None) => return Err("DRBD did not name the peer: give --peer ssh:HOST".to_owned()),
        (given, _) => given.to_owned(),
    };
    let spec: PeerSpec = whole.parse()?;
    let mut argv: Vec<String> = if let Some(host) = whole.strip_prefix("ssh:") {
        let words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "--", host];
        words.map(str::to_owned).to_vec()
    } else {
        spec.argv().to_vec()
    };
    argv.push(line.to_owned());
    Ok(argv)
}

/// Has the peer declare its own data outdated. Errors are words for: nothing is proven.
fn ask(peer: &str, job: &Job) -> Result<(Outcome, u8), String> {
    let resource = job.call.resource.as_deref().ok_or("DRBD did not name the resource")?;
    let resource = ResourceName::new(resource).map_err(|error| error.to_string())?;
    let argv = reached(peer, job.call.peer.as_deref(), &command(resource.as_str()))?;
    let named = job.call.peer.as_deref().unwrap_or(peer);
    let fenced = |how: &str, code: u8| Ok((Outcome::Fenced { how: format!("{named} {how}") }, code));
    let mut last = format!("{named} was not reached");
    loop {
        let left = job.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("{last}, and the time is over"));
        }
        // A timeout is not an answer, and a peer that cannot be reached may be writing.
        let ran = run(&argv, left, MOST).map_err(|error| format!("{named} gave no answer ({error})"))?;
        if ran.status.code() == Some(UNREACHABLE) {
            return Err(format!(
                "{named} cannot be reached ({})",
                ran.said.last().map_or("", String::as_str)
            ));
        }
        match parse(&String::from_utf8_lossy(&ran.output), job.call.peer.as_deref(), job.boot.as_deref()) {
            Peer::Outdated => return fenced("is Secondary and declared its data outdated", 4),
            Peer::Inconsistent => return fenced("is Secondary and its data is Inconsistent", 3),
            Peer::Primary => return fenced("is Primary", 6),
            Peer::Unclear(why) => return Err(format!("the answer of {named} proves nothing: {why}")),
            Peer::NotYet(state) => {
                last = format!("{named} did not declare its data outdated (it is {state})")
            }
        }
        std::thread::sleep(PAUSE.min(job.until.saturating_duration_since(Instant::now())));
    }
}
