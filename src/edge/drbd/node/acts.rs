//! The acts, by DRBD's own tools: look, act, look again. DRBD 9 is told through `drbdsetup`, which needs no configuration
//! files; 8.4 forgets a connection's addresses and options while it is StandAlone, so there `drbdadm` is asked for the
//! `drbdsetup` command that its configuration files stand for. Such a command may hold the shared secret, which goes to
//! `drbdsetup` as it does from `drbdadm`, and nowhere else.

use crate::edge::drbd::netlink::reader::{Limits, Reader};
use crate::edge::process::{Ran, run};
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::tree::{Connection, Live, Resource};
use crate::model::drbd_live::words::{ConnectionState, DiskState, Role};
use crate::model::node::{AfterSb, ConnectAs, NodeAct, Toward};
use crate::model::seen::{End, Why, in_words};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one of DRBD's tools may take. `drbdsetup` itself waits for its peer for less.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// How long the kernel may take until it shows what a tool asked of it.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// No tool says more.
const MOST_OUTPUT: usize = 1 << 20;

/// Does one, on this machine.
pub(super) fn act(act: &NodeAct) -> End {
    Hands { world: &Kernel }.act(act)
}

/// What acts need of the world.
trait World {
    /// Everything DRBD tells now.
    fn look(&self) -> Result<Live, String>;
    /// Runs one of DRBD's tools.
    fn run(&self, words: &[String]) -> io::Result<Ran>;
    /// Lets time pass between two looks.
    fn pause(&self);
}

struct Kernel;

impl World for Kernel {
    fn look(&self) -> Result<Live, String> {
        Reader::of_this_machine(Limits::default()).snapshot().map_err(|error| in_words(&error))
    }

    fn run(&self, words: &[String]) -> io::Result<Ran> {
        let mut argv = words.to_vec();
        if let Some(program) = argv.first_mut() {
            // A login over ssh may have no sbin in its PATH.
            let there = ["/usr/sbin", "/sbin"].map(|dir| format!("{dir}/{program}"));
            if let Some(found) = there.into_iter().find(|path| Path::new(path).exists()) {
                *program = found;
            }
        }
        run(&argv, TOOL_LIMIT, MOST_OUTPUT)
    }

    fn pause(&self) {
        std::thread::sleep(LOOK_EVERY);
    }
}

struct Hands<'w> {
    world: &'w dyn World,
}

/// Stops an act.
type Step<T> = Result<T, End>;

fn not_done(why: impl Into<String>) -> End {
    End::NotDone(Why(why.into()))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// The options that set the policies.
fn policy_words(policies: AfterSb) -> Vec<String> {
    let AfterSb { zero, one, two } = policies;
    vec![
        format!("--after-sb-0pri={zero}"),
        format!("--after-sb-1pri={one}"),
        format!("--after-sb-2pri={two}"),
    ]
}

/// A connection's state; no connection at all is how 8.4 shows StandAlone.
fn state_of(connection: Option<&Connection>) -> Option<ConnectionState> {
    connection.map_or(Some(ConnectionState::StandAlone), |connection| connection.info.state)
}

/// The option that holds a secret, and what stands in its place in everything that is told.
const SECRET: &str = "shared-secret";
const HUSHED: &str = "(not shown)";

/// A text without the secrets that are among these words, and without any that a tool repeats in its own.
fn hush(text: &str, argv: &[String]) -> String {
    let mut secrets = Vec::new();
    for (at, word) in argv.iter().enumerate() {
        let Some((_, rest)) = word.split_once(SECRET) else { continue };
        let value = match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None => argv.get(at + 1).map(String::as_str),
        };
        secrets.extend(value.map(|value| value.trim_matches(['\'', '"']).to_owned()));
    }
    // The longest first: one may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut left = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        left = left.replace(secret.as_str(), HUSHED);
    }
    // What a tool says of a command line that is not ours: up to the end of the value, however it is quoted.
    let mut told = String::new();
    while let Some((before, after)) = left.split_once(SECRET) {
        told.push_str(before);
        told.push_str(SECRET);
        let value = after.trim_start_matches(['=', ' ']);
        told.push_str(&after[..after.len() - value.len()]);
        told.push_str(HUSHED);
        let rest = match value.strip_prefix(HUSHED) {
            Some(rest) => rest,
            None => match value.chars().next().filter(|first| ['\'', '"'].contains(first)) {
                Some(quote) => value[1..].split_once(quote).map_or("", |(_, rest)| rest),
                None => value.find(char::is_whitespace).map_or("", |end| &value[end..]),
            },
        };
        left = rest.to_owned();
    }
    told.push_str(&left);
    told
}

impl Hands<'_> {
    fn act(&self, act: &NodeAct) -> End {
        let done = match act {
            NodeAct::Disconnect(toward) => self.disconnect(toward),
            NodeAct::Demote { resource } => self.demote(resource.as_str()),
            NodeAct::Connect { toward, how } => self.connect(toward, *how),
            NodeAct::Reconnect(toward) => self.reconnect(toward),
            NodeAct::RestorePolicies { toward, to } => self.restore(toward, *to),
            NodeAct::Invalidate { resource, volume, minor } => {
                self.invalidate(resource.as_str(), *volume, *minor)
            }
            NodeAct::Promote { resource } => self.promote(resource.as_str()),
        };
        done.unwrap_or_else(|end| end)
    }

    fn look(&self, name: &str) -> Step<(Generation, Resource)> {
        let live = self.world.look().map_err(not_done)?;
        match live.resource(name) {
            Some(resource) => Ok((live.generation, resource.clone())),
            None => Err(not_done(format!("{name} is not up on this node: `drbdadm up {name}` starts it"))),
        }
    }

    /// The connection; `None` when 8.4 shows none.
    fn connection(&self, toward: &Toward) -> Step<(Generation, Option<Connection>)> {
        let name = toward.resource.as_str();
        let (generation, resource) = self.look(name)?;
        let found = resource.connections.iter().find(|known| known.peer_node_id == toward.peer).cloned();
        match (generation, &found, toward.peer) {
            (Generation::V9, None, Some(peer)) => {
                Err(not_done(format!("{name} has no connection to a node of id {peer}")))
            }
            (Generation::V9, _, None) => Err(not_done("DRBD 9 names a connection by the peer's node id")),
            (Generation::V84, _, Some(_)) => Err(not_done("DRBD 8.4 knows no node ids")),
            _ => Ok((generation, found)),
        }
    }

    /// Runs a tool that must succeed. What is told of it names no secret.
    fn tool(&self, argv: &[String]) -> Step<Vec<u8>> {
        let command = hush(&argv.join(" "), argv);
        match self.world.run(argv) {
            Ok(ran) if ran.status.success() => Ok(ran.output),
            Ok(ran) => {
                let said = match ran.said.is_empty() {
                    true => String::new(),
                    false => format!(": {}", hush(&ran.said.join(" / "), argv)),
                };
                let words = format!("`{command}` ended with {}{said}", ran.status);
                // A tool that a signal ended had no say in what it left behind.
                Err(if ran.status.code().is_some() { not_done(words) } else { End::Unknown(Why(words)) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(not_done(format!("`{command}` cannot be run: is drbd-utils installed? ({error})")))
            }
            Err(error) => Err(End::Unknown(Why(format!("`{command}`: {error}")))),
        }
    }

    /// Waits until the kernel shows it.
    fn shown(&self, what: &str, name: &str, is: impl Fn(&Resource) -> bool) -> Step<End> {
        let until = Instant::now() + SHOWS_WITHIN;
        loop {
            let (_, resource) = self.look(name).map_err(|end| match end {
                End::NotDone(why) => End::Unknown(why),
                other => other,
            })?;
            if is(&resource) {
                return Ok(End::Done);
            }
            if Instant::now() >= until {
                let seconds = SHOWS_WITHIN.as_secs();
                return Err(End::Unknown(Why(format!("{name} did not become {what} within {seconds} s"))));
            }
            self.world.pause();
        }
    }

    /// The `drbdsetup` command that `drbdadm` would run, without the name of the program.
    fn configured(&self, words_of: &[&str]) -> Step<Vec<String>> {
        let output = self.tool(&words(words_of))?;
        let text = String::from_utf8_lossy(&output);
        let mut commands = text.lines().map(str::trim).filter(|line| line.starts_with("drbdsetup"));
        // connect RESOURCE LOCAL REMOTE OPTIONS...: anything else is not what is to be run.
        let found = match (commands.next().and_then(shlex::split), commands.next()) {
            (Some(argv), None) => match argv.as_slice() {
                [_, verb, name, _, _, ..] if verb == "connect" && Some(&name.as_str()) == words_of.last() => {
                    Some(argv[1..].to_vec())
                }
                _ => None,
            },
            _ => None,
        };
        found.ok_or_else(|| {
            not_done(format!(
                "`{}` did not print the one `drbdsetup connect` command that is expected of it",
                words_of.join(" ")
            ))
        })
    }

    fn disconnect(&self, toward: &Toward) -> Step<End> {
        let name = toward.resource.as_str();
        let (generation, found) = self.connection(toward)?;
        if state_of(found.as_ref()) == Some(ConnectionState::StandAlone) {
            return Ok(End::AlreadySo);
        }
        let argv = match (generation, toward.peer) {
            (Generation::V9, Some(peer)) => words(&["drbdsetup", "disconnect", name, &peer.to_string()]),
            _ => words(&["drbdadm", "disconnect", name]),
        };
        if let Err(end) = self.tool(&argv) {
            // It may have become StandAlone by itself meanwhile.
            let now = self.connection(toward).map(|(_, now)| state_of(now.as_ref()));
            return if now == Ok(Some(ConnectionState::StandAlone)) { Ok(End::AlreadySo) } else { Err(end) };
        }
        self.shown("StandAlone", name, |resource| {
            let now = resource.connections.iter().find(|known| known.peer_node_id == toward.peer);
            state_of(now) == Some(ConnectionState::StandAlone)
        })
    }

    fn demote(&self, name: &str) -> Step<End> {
        let (generation, resource) = self.look(name)?;
        if resource.info.role == Some(Role::Secondary) {
            return Ok(End::AlreadySo);
        }
        let tool = if generation == Generation::V9 { "drbdsetup" } else { "drbdadm" };
        self.tool(&words(&[tool, "secondary", name]))?;
        self.shown("Secondary", name, |resource| resource.info.role == Some(Role::Secondary))
    }

    fn promote(&self, name: &str) -> Step<End> {
        let (generation, resource) = self.look(name)?;
        if resource.info.role == Some(Role::Primary) {
            return Ok(End::AlreadySo);
        }
        let tool = if generation == Generation::V9 { "drbdsetup" } else { "drbdadm" };
        self.tool(&words(&[tool, "primary", name]))?;
        self.shown("Primary", name, |resource| resource.info.role == Some(Role::Primary))
    }

    fn connect(&self, toward: &Toward, how: ConnectAs) -> Step<End> {
        let name = toward.resource.as_str();
        let (generation, found) = self.connection(toward)?;
        if how == ConnectAs::Victim && self.look(name)?.1.info.role != Some(Role::Secondary) {
            return Err(not_done(format!("{name} is not Secondary here: its data is not given up")));
        }
        if state_of(found.as_ref()) == Some(ConnectionState::Connected) {
            return Err(not_done(format!("{name} is connected already")));
        }
        // A waiting connection would take neither the options nor the flag: DRBD answers 125.
        match self.disconnect(toward)? {
            End::Done | End::AlreadySo => {}
            other => return Err(other),
        }
        let policies = policy_words(AfterSb::DISCONNECT);
        let discard = (how == ConnectAs::Victim).then(|| "--discard-my-data".to_owned());
        match (generation, toward.peer) {
            (Generation::V9, Some(peer)) => {
                let peer = peer.to_string();
                self.tool(&[words(&["drbdsetup", "net-options", name, &peer]), policies].concat())?;
                let connect = words(&["drbdsetup", "connect", name, &peer]);
                self.tool(&[connect, discard.into_iter().collect()].concat())?;
            }
            _ => {
                let mut argv = self.configured(&["drbdadm", "-d", "connect", name])?;
                argv.retain(|word| !word.starts_with("--after-sb-") && word != "--discard-my-data");
                let drbdsetup = words(&["drbdsetup"]);
                self.tool(&[drbdsetup, argv, policies, discard.into_iter().collect()].concat())?;
            }
        }
        Ok(End::Done)
    }

    fn reconnect(&self, toward: &Toward) -> Step<End> {
        let name = toward.resource.as_str();
        let (_, found) = self.connection(toward)?;
        let Some(peer) = toward.peer else {
            return Err(not_done("DRBD 8.4 has one connection, which is not connected without a plan"));
        };
        if state_of(found.as_ref()) != Some(ConnectionState::StandAlone) {
            return Ok(End::AlreadySo);
        }
        self.tool(&words(&["drbdsetup", "connect", name, &peer.to_string()]))?;
        Ok(End::Done)
    }

    fn restore(&self, toward: &Toward, to: Option<AfterSb>) -> Step<End> {
        let name = toward.resource.as_str();
        let (generation, found) = self.connection(toward)?;
        match (generation, toward.peer) {
            (Generation::V9, Some(peer)) => {
                let Some(to) = to else {
                    return Err(not_done("which policies there were is not known"));
                };
                let argv = words(&["drbdsetup", "net-options", name, &peer.to_string()]);
                self.tool(&[argv, policy_words(to)].concat())?;
            }
            _ => {
                // StandAlone, 8.4 has no options that could be put back: the next connect takes the configured ones.
                if state_of(found.as_ref()) == Some(ConnectionState::StandAlone) {
                    return Ok(End::AlreadySo);
                }
                let configured = self.configured(&["drbdadm", "-d", "connect", name])?;
                // connect RESOURCE LOCAL REMOTE OPTIONS...
                let [_, _, local, remote, options @ ..] = configured.as_slice() else {
                    return Err(not_done("the configured connection names no addresses"));
                };
                let policies: Vec<String> = match to {
                    Some(to) => policy_words(to),
                    None => options.iter().filter(|word| word.starts_with("--after-sb-")).cloned().collect(),
                };
                if policies.is_empty() {
                    return Ok(End::AlreadySo);
                }
                self.tool(&[words(&["drbdsetup", "net-options", local, remote]), policies].concat())?;
            }
        }
        Ok(End::Done)
    }

    fn invalidate(&self, name: &str, volume: u32, minor: u32) -> Step<End> {
        let device = |resource: &Resource| {
            let found = resource.devices.iter().find(|device| device.volume == volume).cloned();
            found.filter(|device| device.minor == Some(minor))
        };
        let (_, resource) = self.look(name)?;
        if device(&resource).is_none() {
            return Err(not_done(format!("volume {volume} of {name} is not minor {minor}")));
        }
        // Also when it is Inconsistent already: that may come of a resync that was cut off, and then only a part is marked.
        self.tool(&words(&["drbdsetup", "invalidate", &minor.to_string()]))?;
        self.shown("Inconsistent", name, |resource| {
            device(resource).is_some_and(|device| device.info.disk == Some(DiskState::Inconsistent))
        })
    }
}

#[cfg(test)]
mod tests;
