//! The process that DRBD waits for. It touches no disk and no network: another process does the work, and if that is not done in
//! time, for whatever reason, this one answers without it. A thread would not do: a process cannot end while one of its
//! threads hangs on a dead disk.

use super::HandlerArgs;
use crate::edge::process::{Apart, Heard};
use crate::edge::voice::{Urgency, say, tell};
use crate::model::handled::Handler;
use std::ffi::OsString;
use std::time::Instant;

/// A line of the other process that is its answer; the code follows.
pub(super) const ANSWER: &str = "answer ";
/// A line of the other process for standard error.
pub(super) const SAY: &str = "say ";

pub(super) fn run(args: &HandlerArgs) -> u8 {
    let until = Instant::now() + args.limit();
    // By this name even while the program's file is being replaced.
    let own = [OsString::from("/proc/self/exe")];
    let argv: Vec<OsString> =
        own.into_iter().chain(std::env::args_os().skip(1)).chain([OsString::from("--inside")]).collect();
    let mut worker = match Apart::start(&argv, &[]) {
        Ok(worker) => worker,
        Err(error) => return unanswered(args, &format!("its work could not be started ({error})")),
    };
    loop {
        match worker.line(until) {
            Heard::Line(line) => {
                if let Some(text) = line.strip_prefix(SAY) {
                    tell(text);
                } else if let Some(code) = line.strip_prefix(ANSWER).and_then(|code| code.parse().ok()) {
                    return code;
                }
            }
            Heard::End => return unanswered(args, "its work ended without an answer"),
            Heard::Late => {
                // A record may still be completed; a copy of what DRBD overwrites from now on must not go on.
                if args.handler == Handler::BeforeResyncTarget || args.handler == Handler::FencePeer {
                    worker.kill();
                }
                return unanswered(args, &format!("its {} s are over", args.limit().as_secs_f32()));
            }
        }
    }
}

fn unanswered(args: &HandlerArgs, why: &str) -> u8 {
    let code = args.without_answer();
    let text = format!("handler {}: {why}; DRBD gets exit code {code}", args.handler);
    tell(&text);
    say(Urgency::Error, &text);
    code
}
