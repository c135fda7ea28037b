//! `unsplit handler`: what DRBD calls.
//!
//! | file | holds |
//! |---|---|
//! | `guard` | the process that DRBD waits for: starts the other, and answers in time whatever happens to it |
//! | `inside` | the process that does the work: asks DRBD, records, acts |
//! | `fence` | fence-peer and unfence-peer |
//! | `preserve` | before-resync-target: keeps what is about to be overwritten |
//! | `last` | the last act of a node that must stop |

mod fence;
mod guard;
mod inside;
mod last;
mod preserve;

use super::Cli;
use super::exit::Failure;
use crate::model::handled::Handler;
use crate::model::size;
use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser};
use std::time::Duration;

/// What DRBD calls when something happens to a resource.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  unsplit handler split-brain
  unsplit handler split-brain --exec '/usr/local/bin/page oncall'
  unsplit handler before-resync-target --required
  unsplit handler fence-peer --via '/usr/lib/drbd/crm-fence-peer.9.sh'
  unsplit handler fence-peer --peer ssh

docs/handlers.md has a table of all handlers: when DRBD calls them, what each does, its exit codes and time limits.")]
pub struct HandlerArgs {
    /// Which handler, by DRBD's name
    #[arg(value_name = "HANDLER", value_parser = handlers())]
    pub handler: Handler,

    /// DRBD gets an answer within this time [default: 5s; fence-peer and unfence-peer 20s, with --via 150s;
    /// before-resync-target 300s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub deadline: Option<Duration>,

    /// A command to run once the event is recorded, without keeping DRBD waiting; at most 60 s. It finds the event as JSON
    /// in $UNSPLIT_EVENT, besides DRBD's own variables
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    /// fence-peer, unfence-peer: the command that does it; its exit code is handed to DRBD
    #[arg(long, value_name = "COMMAND", conflicts_with = "peer")]
    pub via: Option<String>,

    /// fence-peer: ask the peer itself to declare its data outdated. `ssh:HOST`, or `ssh` for the name by which DRBD
    /// knows the peer
    #[arg(long, value_name = "PEER")]
    pub peer: Option<String>,

    /// before-resync-target: if what is about to be overwritten cannot be kept, the resync does not begin: DRBD drops the
    /// connection
    #[arg(long, conflicts_with = "best_effort")]
    pub required: bool,

    /// before-resync-target: keep what can be kept, and let the resync begin in any case (the default)
    #[arg(long)]
    pub best_effort: bool,

    /// before-resync-target: keep no more than this [default: half of the free space]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_bytes: Option<u64>,

    /// pri-lost, pri-lost-after-sb, pri-on-incon-degr, local-io-error, quorum-lost: what the node does then, at once and
    /// without a clean shutdown
    #[arg(long, value_name = "WHAT", default_value = "nothing")]
    pub then: Then,

    /// The resource, where DRBD does not tell it
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,

    /// The process that does the work
    #[arg(long, hide = true)]
    pub inside: bool,
}

/// What a node does that must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Then {
    /// Nothing
    Nothing,
    /// Restart at once
    Reboot,
    /// Power off at once
    Halt,
}

fn handlers() -> impl TypedValueParser<Value = Handler> {
    let words = Handler::ALL.iter().map(|handler| handler.word());
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Handler>())
}

fn bytes(text: &str) -> Result<u64, String> {
    size::parse(text).ok_or_else(|| "a size is a number of bytes, or like 10GiB".to_owned())
}

/// `5s`, `500ms`, `2m`; a number alone is seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let each = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        _ => 0,
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
    match millis {
        Some(millis @ 100..=3_600_000) => Ok(Duration::from_millis(millis)),
        _ => Err("a time is like 5s, 500ms or 2m: 100ms at least, an hour at most".to_owned()),
    }
}

impl HandlerArgs {
    fn limit(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_secs(match (self.handler, &self.via) {
            (Handler::FencePeer | Handler::UnfencePeer, Some(_)) => 150,
            (Handler::FencePeer | Handler::UnfencePeer, None) => 20,
            (Handler::BeforeResyncTarget, _) => 300,
            _ => 5,
        }))
    }

    /// What DRBD is told when nothing is known: the answer that loses nothing.
    fn without_answer(&self) -> u8 {
        match self.handler {
            // Not fenced: DRBD goes on as if there were no agent.
            Handler::FencePeer | Handler::UnfencePeer => 1,
            Handler::BeforeResyncTarget if self.required => 1,
            // DRBD takes any other exit of before-resync-source, too, as "do not begin".
            _ => 0,
        }
    }

    /// Options that this handler has no use for: a mistake in a configuration, better seen at once.
    fn misplaced(&self) -> Option<&'static str> {
        let fences = matches!(self.handler, Handler::FencePeer | Handler::UnfencePeer);
        let stops = matches!(
            self.handler,
            Handler::PriLost
                | Handler::PriLostAfterSb
                | Handler::PriOnInconDegr
                | Handler::LocalIoError
                | Handler::QuorumLost
        );
        let keeps = self.handler == Handler::BeforeResyncTarget;
        [
            (self.via.is_some() && !fences, "--via"),
            (self.peer.is_some() && self.handler != Handler::FencePeer, "--peer"),
            (self.required && !keeps, "--required"),
            (self.best_effort && !keeps, "--best-effort"),
            (self.max_bytes.is_some() && !keeps, "--max-bytes"),
            (self.then != Then::Nothing && !stops, "--then"),
        ]
        .into_iter()
        .find_map(|(wrong, option)| wrong.then_some(option))
    }
}

/// A command line as its words.
fn words(option: &str, line: &str) -> Result<Vec<String>, Failure> {
    let words = shlex::split(line).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
    words.ok_or_else(|| Failure::usage(format!("{option} `{line}` is not a command")))
}

pub(super) fn run(cli: &Cli, args: &HandlerArgs) -> Result<u8, Failure> {
    if let Some(option) = args.misplaced() {
        return Err(Failure::usage(format!("{option} means nothing to {}", args.handler)));
    }
    for (option, line) in [("--via", &args.via), ("--exec", &args.exec)] {
        if let Some(line) = line {
            words(option, line)?;
        }
    }
    if let Some(peer) = &args.peer {
        fence::reached(peer, Some("name"), "true").map_err(Failure::usage)?;
    }
    if args.inside { inside::run(cli, args) } else { Ok(guard::run(args)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(line: &str) -> HandlerArgs {
        let cli = Cli::parse_from(["unsplit", "handler"].into_iter().chain(line.split(' ')));
        let super::super::Command::Handler(args) = cli.command else { panic!("{line}") };
        args
    }

    #[test]
    fn silence_claims_nothing() {
        for handler in Handler::ALL {
            let args = args(handler.word());
            let code = args.without_answer();
            // DRBD takes 3 to 7 of fence-peer as a statement about the peer.
            assert!(code <= 1, "{handler}");
            assert_eq!(code == 1, matches!(handler, Handler::FencePeer | Handler::UnfencePeer), "{handler}");
        }
        assert_eq!(args("before-resync-target --required").without_answer(), 1);
    }

    #[test]
    fn times_and_misplaced_options() {
        for (text, millis) in
            [("5", 5000), ("5s", 5000), ("500ms", 500), ("2m", 120_000), ("60min", 3_600_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "99ms", "2h", "61m", "99999999999999999999s", "1.5s"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(args("split-brain --then reboot").misplaced(), Some("--then"));
        assert_eq!(args("pri-lost --then reboot").misplaced(), None);
        assert_eq!(args("unfence-peer --via x").misplaced(), None);
        assert_eq!(args("unfence-peer --peer ssh").misplaced(), Some("--peer"));
        assert_eq!(args("after-resync-target --required").misplaced(), Some("--required"));
    }
}
