//! Why DRBD ended a connection that unsplit asked for, from both nodes' kernel logs.

use crate::model::node::LogLine;
use crate::model::plan::drbd::DrbdPlan;
use crate::model::side::{Pair, Side};

/// The kernel's last words that are told when it refuses.
const LAST_WORDS: usize = 6;

/// Lines that say why a connection was refused, or given up.
const TELL: [&str; 15] = [
    "incompatible",
    "Split-Brain",
    "Unrelated data",
    "Authentication",
    "authentication",
    "refused",
    "dropping connection",
    "expected",
    "helper",
    "uuid_compare",
    "PingAck",
    "shut down by peer",
    "NetworkFailure",
    "BrokenPipe",
    "Timeout",
];

/// A handler that forbade a resync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forbade {
    /// On which side.
    side: Side,
    /// DRBD's name of it.
    handler: String,
    /// What it ended with.
    code: u32,
}

/// The text of a line about this resource, without the words before it that say whose it is.
fn of_resource<'l>(plan: DrbdPlan<'_>, side: Side, line: &'l LogLine) -> Option<&'l str> {
    let (head, text) = line.text.split_once(": ")?;
    if let Some(minor) = head.strip_prefix("block drbd") {
        let minor: u32 = minor.parse().ok()?;
        return plan.ground.volumes.iter().any(|volume| volume.minors[side] == minor).then_some(text);
    }
    let of = head.strip_prefix("drbd ")?.split(' ').next()?;
    (of.split('/').next()? == plan.resource.as_str()).then_some(text)
}

fn since<'l>(
    plan: DrbdPlan<'l>,
    side: Side,
    lines: &'l [LogLine],
    before: u64,
) -> impl Iterator<Item = &'l str> {
    let new = lines.iter().filter(move |line| line.at > before);
    new.filter_map(move |line| of_resource(plan, side, line))
}

/// The handler that forbade the resync since then, if one did: what it forbids once it forbids every time.
pub(super) fn forbade(plan: DrbdPlan<'_>, logs: &Pair<Vec<LogLine>>, before: &Pair<u64>) -> Option<Forbade> {
    Side::BOTH.into_iter().find_map(|side| {
        let said: Vec<&str> = since(plan, side, &logs[side], before[side]).collect();
        said.into_iter().rev().find_map(|text| {
            let (handler, rest) = text.split_once(" handler returned ")?;
            let (code, _) = rest.split_once(", dropping connection")?;
            Some(Forbade { side, handler: handler.rsplit(' ').next()?.to_owned(), code: code.parse().ok()? })
        })
    })
}

impl Forbade {
    /// As a sentence, with what to look at.
    pub(super) fn words(&self, plan: DrbdPlan<'_>) -> String {
        let (node, resource, Forbade { handler, code, .. }) = (&plan.names[self.side], &plan.resource, self);
        format!(
            "the handler `{handler}` on {node} ended with exit code {code}, and DRBD gives a resync up then. What it said is in \
             {node}'s system log (unsplit's own handler: `unsplit events` there). Where no such handler is configured drbdadm itself \
             failed: it must find {resource} under {node}'s host name (`drbdadm dump {resource}` there)"
        )
    }
}

/// What the kernels logged since, as far as it says why a connection was refused or given up.
pub(super) fn last_words(plan: DrbdPlan<'_>, logs: &Pair<Vec<LogLine>>, before: &Pair<u64>) -> String {
    let mut words = String::new();
    for side in Side::BOTH {
        let telling: Vec<&str> = since(plan, side, &logs[side], before[side])
            .filter(|text| TELL.iter().any(|word| text.contains(word)))
            .collect();
        let last = &telling[telling.len().saturating_sub(LAST_WORDS)..];
        if !last.is_empty() {
            words.push_str(&format!("; {}'s kernel: {}", plan.names[side], last.join(" / ")));
        }
    }
    words
}
