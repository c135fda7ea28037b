//! `unsplit status` of running resources.

use super::page;
use crate::cli::Cli;
use crate::cli::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use crate::cli::plan::state_dir_words;
use crate::cli::screen::Screen;
use crate::cli::still_open::{About, OpenView, StillOpen, policy_words};
use crate::edge::peer::PeerSpec;
use crate::engine::drbd::policies::held;
use crate::judge::advice::Way;
use crate::judge::live::{Witness, classify, resources};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::node::{AfterSb, DrbdSeen, NodeReport};
use crate::model::shell::shell_word;
use crate::model::standing::{Asked, Class, Standing, Weight};
use crate::ports::node::Node;
use crate::resolver::access::PEER_TIMEOUT;
use crate::resolver::failure::Kind;
use crate::resolver::nodes::backing_devices;
use crate::resolver::nodes::local;
use crate::resolver::nodes::{Reports, nodes};
use serde::Serialize;

/// A document of `unsplit.live-status`.
#[derive(Serialize)]
pub(in crate::cli) struct Document<'a> {
    schema: &'static str,
    version: u32,
    node: &'a str,
    peer: Option<&'a str>,
    resources: &'a [Standing],
    /// Open incidents about them; `None` where the document is a part of one that names them.
    incidents: Option<OpenView>,
    held_policies: Vec<HeldPolicies>,
}

/// After-sb policies that a kernel has as `disconnect`, and the files otherwise.
#[derive(Serialize)]
struct HeldPolicies {
    node: String,
    resource: String,
    files: AfterSb,
}

impl<'a> Document<'a> {
    /// Of these.
    pub(in crate::cli) fn new(
        node: &'a str,
        peer: Option<&'a str>,
        resources: &'a [Standing],
    ) -> Document<'a> {
        let (incidents, held_policies) = (None, Vec::new());
        Document {
            schema: "unsplit.live-status",
            version: 1,
            node,
            peer,
            resources,
            incidents,
            held_policies,
        }
    }

    fn with(mut self, open: &StillOpen, held_policies: Vec<HeldPolicies>) -> Document<'a> {
        self.incidents = Some(open.view());
        self.held_policies = held_policies;
        self
    }
}

/// What was asked of whom.
struct Told {
    local: NodeReport,
    remote: Remote,
}

enum Remote {
    Nobody,
    Told(Box<NodeReport>),
    Silent { name: String, failure: Failure },
}

impl Told {
    /// Whose kernels hold the policies of these resources at `disconnect`, against their files.
    fn held(&self, resources: &[&str]) -> Vec<HeldPolicies> {
        let remote = match &self.remote {
            Remote::Told(report) => Some(&**report),
            Remote::Nobody | Remote::Silent { .. } => None,
        };
        let mut all = Vec::new();
        for report in [Some(&self.local), remote].into_iter().flatten() {
            for resource in resources {
                if let Some(files) = held(report, resource) {
                    let (node, resource) = (report.state.host.clone(), (*resource).to_owned());
                    all.push(HeldPolicies { node, resource, files });
                }
            }
        }
        all
    }

    fn witnesses(&self) -> Vec<Witness<'_>> {
        let mut witnesses = vec![Witness::told(&self.local)];
        match &self.remote {
            Remote::Nobody => {}
            Remote::Told(report) => witnesses.push(Witness::told(report)),
            Remote::Silent { name, failure } => {
                let why: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
                witnesses.push(Witness::silent(name, &why.join(": ")));
            }
        }
        witnesses
    }
}

/// Asks this node and, if it is named, the peer. A peer that does not answer leaves this node's view.
fn ask(peer: Option<&PeerSpec>, silence: u16) -> Result<Told, Failure> {
    let unanswered = |failure: Failure| -> Result<Told, Failure> {
        let Some(spec) = peer.filter(|_| failure.kind == Kind::Evidence) else { return Err(failure) };
        let name = spec.as_str().strip_prefix("ssh:").unwrap_or("the peer");
        let name = name.rsplit('@').next().unwrap_or(name).to_owned();
        let unseen = |why| Failure::evidence(anyhow::anyhow!("{why}"));
        let local = local()?.report().map_err(|why| unseen(why.0))?;
        Ok(Told { local, remote: Remote::Silent { name, failure } })
    };
    match nodes(peer, silence).and_then(|nodes| nodes.reports()) {
        Ok(Reports { local, remote: Some(remote) }) => {
            Ok(Told { local, remote: Remote::Told(Box::new(remote)) })
        }
        Ok(Reports { local, remote: None }) => Ok(Told { local, remote: Remote::Nobody }),
        Err(failure) => unanswered(failure),
    }
}

/// The exit code: 1 where data differs or is at risk; 4 where what decides that was not seen; 1 for all else that is not
/// as it should be.
#[must_use]
pub fn exit_code(standings: &[Standing]) -> u8 {
    let weigh = |standing: &Standing| match standing.worst().weight() {
        Weight::Bad => 3,
        _ if !complete(standing) => 2,
        Weight::Attention | Weight::Unknown => 1,
        Weight::Good => 0,
    };
    match standings.iter().map(weigh).max() {
        Some(3 | 1) => DIVERGED,
        Some(2) => EVIDENCE,
        _ => FINE,
    }
}

/// Whether everybody who was to be asked told, and each connection stands or was compared.
fn complete(standing: &Standing) -> bool {
    let silent = |asked: &Asked| matches!(asked, Asked::Unreachable(_) | Asked::Unreadable(_));
    let heard = !standing.nodes.iter().any(|node| silent(&node.told))
        && !standing.findings.iter().any(|finding| finding.class == Class::Unseen);
    heard
        && standing.links.iter().all(|link| {
            let connected = link.state.iter().any(|(_, state)| *state == Some(ConnectionState::Connected));
            let asked = link
                .nodes
                .iter()
                .all(|(_, name)| standing.node(name).is_some_and(|node| node.told != Asked::NotAsked));
            connected || asked
        })
}

/// `unsplit status RES`.
pub(in crate::cli) fn one(
    cli: &Cli,
    resource: &str,
    peer: Option<&PeerSpec>,
    silence: u16,
    screen: &mut Screen,
) -> Result<u8, Failure> {
    let told = ask(peer, silence)?;
    let witnesses = told.witnesses();
    if !resources(&witnesses).iter().any(|name| name == resource) {
        return Err(unknown(resource, &told));
    }
    let standing = classify(resource, &witnesses);
    let devices = backing_devices(&told.local.state, &[resource]);
    let open = StillOpen::about(cli, About::Resources { names: &[resource], devices: &devices });
    let code = open.or(exit_code(std::slice::from_ref(&standing)));
    let held = told.held(&[resource]);
    if cli.json {
        let peer = peer.map(PeerSpec::as_str);
        screen.json(&Document::new(&told.local.state.host, peer, &[standing]).with(&open, held))?;
        return Ok(code);
    }
    open.show(screen)?;
    let mut words = peer_words(&standing, peer, &told.local.state.host);
    if silence != PEER_TIMEOUT {
        words.push_str(&format!(" --peer-timeout {silence}"));
    }
    words.push_str(&state_dir_words(cli));
    let way = Way { words: &words, asked: peer.is_some() };
    page::show(screen, &standing, &way)?;
    say_held(screen, &held, &open)?;
    if let Remote::Silent { failure: Failure { hint: Some(hint), .. }, .. } = &told.remote {
        screen.line(format!("  the peer: {hint}"))?;
    }
    not_read(screen, &told)?;
    Ok(code)
}

/// ` --peer ssh:NAME`: as given, or the peer that the worst finding is about.
fn peer_words(standing: &Standing, given: Option<&PeerSpec>, here: &str) -> String {
    if let Some(peer) = given {
        return format!(" --peer {}", shell_word(peer.as_str()));
    }
    let about = standing.findings.first().into_iter().flat_map(|finding| &finding.nodes);
    let all = standing.nodes.iter().map(|node| &node.node);
    let name = about.chain(all).find(|name| name.as_str() != here && !name.contains(' '));
    name.map(|name| format!(" --peer ssh:{name}")).unwrap_or_else(|| " --peer ssh:HOST".to_owned())
}

fn unknown(resource: &str, told: &Told) -> Failure {
    let here = &told.local;
    let known = resources(&told.witnesses());
    let list = |known: &[String]| {
        let mut text = known.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
        if known.len() > 12 {
            text.push_str(", ...");
        }
        text
    };
    let because = match &here.state.drbd {
        DrbdSeen::Unreadable(why) => format!("DRBD on {} cannot be read: {why}", here.state.host),
        DrbdSeen::NotLoaded if known.is_empty() => {
            format!("the DRBD module is not loaded on {}, and no resource is configured", here.state.host)
        }
        _ if known.is_empty() => "there are no resources, neither running nor configured".to_owned(),
        _ => format!("there are: {}", list(&known)),
    };
    let failure = anyhow::anyhow!(because).context(format!("no resource `{resource}` is known"));
    Failure::evidence(failure)
        .hint("`unsplit status --all` lists them; for images or devices give both sides: unsplit status A B")
}

/// Kernels that would not do what the files say, although all looks healthy.
fn say_held(screen: &mut Screen, all: &[HeldPolicies], open: &StillOpen) -> Result<(), Failure> {
    for HeldPolicies { node, resource, files } in all {
        let next = if open.is_empty() {
            format!(
                "A healing holds them so until it is over; if none is open on either node (`unsplit status` there), \
                 `drbdadm adjust {resource}` on {node} puts them back"
            )
        } else {
            "The healing that is open puts them back when it is over".to_owned()
        };
        screen.line(format!(
            "\nheld on {node}: the kernel's after-sb policies of {resource} are `disconnect`, the files say {}. {next}.",
            policy_words(files)
        ))?;
    }
    Ok(())
}

/// What could not be read although it would have told more.
fn not_read(screen: &mut Screen, told: &Told) -> Result<(), Failure> {
    let remote = match &told.remote {
        Remote::Told(report) => Some(report.as_ref()),
        _ => None,
    };
    for report in [Some(&told.local), remote].into_iter().flatten() {
        for (what, why) in [
            ("the configuration", report.configured.as_ref().err()),
            ("the kernel's log", report.log.as_ref().err()),
        ] {
            if let Some(why) = why {
                screen.line(format!("\nnot read on {}: {what}: {why}", report.state.host))?;
            }
        }
    }
    Ok(())
}

/// `unsplit status --all`: every resource, one line each, worst first.
pub(in crate::cli) fn all(
    cli: &Cli,
    peer: Option<&PeerSpec>,
    silence: u16,
    screen: &mut Screen,
) -> Result<u8, Failure> {
    let mut told = ask(peer, silence)?;
    if let (DrbdSeen::Unreadable(why), Remote::Nobody) = (&told.local.state.drbd, &told.remote) {
        return Err(Failure::evidence(anyhow::anyhow!("{why}")));
    }
    let standings = judged(&told.witnesses());
    let open = StillOpen::about(cli, About::Everything);
    if let (true, Remote::Silent { failure, .. }) = (standings.is_empty(), &mut told.remote) {
        // Nothing here, and no word from there: that is no answer.
        if !cli.json {
            open.show(screen)?;
        }
        return Err(std::mem::replace(
            failure,
            Failure::evidence(anyhow::anyhow!("the peer did not answer")),
        ));
    }
    let code = open.or(exit_code(&standings));
    let names: Vec<&str> = standings.iter().map(|standing| standing.resource.as_str()).collect();
    let held = told.held(&names);
    if cli.json {
        let document = Document::new(&told.local.state.host, peer.map(PeerSpec::as_str), &standings);
        screen.json(&document.with(&open, held))?;
        return Ok(code);
    }
    open.show(screen)?;
    if standings.is_empty() {
        let loaded = match told.local.state.drbd {
            DrbdSeen::NotLoaded => "; the DRBD module is not loaded",
            _ => "",
        };
        screen.line(format!("No DRBD resources, neither running nor configured{loaded}."))?;
    }
    lines(screen, &standings)?;
    say_held(screen, &held, &open)?;
    if let Remote::Silent { failure, .. } = &told.remote {
        screen.line("")?;
        screen.line(failure.text())?;
    }
    not_read(screen, &told)?;
    if let Some(worst) = standings.first().filter(|standing| standing.worst().weight() != Weight::Good) {
        let words = peer.map(|peer| format!(" --peer {}", shell_word(peer.as_str()))).unwrap_or_default();
        screen.heading("Next")?;
        screen.line(format!("  unsplit status {}{words}", worst.resource))?;
        screen.line("      why, what would be lost, what to do")?;
        let split = standings.iter().filter(|standing| standing.worst() == Class::SplitBrain).count();
        if split > 1 && peer.is_some() {
            screen.line(format!("  unsplit plan --all{words} --keep NODE"))?;
            screen
                .line(format!("      what healing all {split} that are split would do; changes nothing"))?;
        }
    }
    Ok(code)
}

/// Every resource, worst first.
#[must_use]
pub fn judged(witnesses: &[Witness<'_>]) -> Vec<Standing> {
    let mut standings: Vec<Standing> =
        resources(witnesses).iter().map(|name| classify(name, witnesses)).collect();
    standings.sort_by_key(Standing::worst);
    standings
}

/// This node's resources, for `unsplit status` without a word. Nothing without DRBD.
pub(in crate::cli) fn here() -> Result<Option<(String, Vec<Standing>)>, Failure> {
    let told = ask(None, crate::resolver::access::PEER_TIMEOUT)?;
    match told.local.state.drbd {
        DrbdSeen::Told(_) => {
            let standings = judged(&told.witnesses());
            Ok(Some((told.local.state.host, standings)))
        }
        DrbdSeen::NotLoaded | DrbdSeen::Unreadable(_) => Ok(None),
    }
}

/// One line each.
pub(in crate::cli) fn lines(screen: &mut Screen, standings: &[Standing]) -> Result<(), Failure> {
    let wide = |f: fn(&Standing) -> usize| standings.iter().map(f).max().unwrap_or(0);
    let word = wide(|standing| standing.worst().word().len());
    let name = wide(|standing| standing.resource.len().min(40));
    for standing in standings {
        let class = standing.worst();
        let painted = screen.paint(page::tone(class), &format!("{:<word$}", class.word()));
        let says = standing.findings.first().map_or("", |finding| finding.says.as_str());
        let more = match standing.findings.len() {
            0 | 1 => String::new(),
            more => format!(" (and {} more)", more - 1),
        };
        screen.line(format!("{painted}  {:<name$}  {says}{more}", standing.resource))?;
    }
    Ok(())
}
