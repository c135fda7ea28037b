//! What an agent may be asked for: its whole machine, or some files, devices and resources, and these for reading only.
//!
//! Paths are compared by what they lead to (the inode, the device number), never by how they are spelled: a link or `..`
//! leads nowhere else, and a second name of an allowed file is that file.

use super::desk::this_node;
use crate::edge::blockdev::Identity;
use crate::format::wire::control::{Fault, Request};
use crate::model::drbd_live::tree::Live;
use crate::model::id::ResourceName;
use crate::model::node::{Configured, DrbdSeen, LogLine, NodeAct, NodeReport, NodeState};
use crate::ports::node::Node;
use std::path::{Path, PathBuf};

/// What an agent may be asked for. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Files and devices, by absolute path.
    pub paths: Vec<PathBuf>,
    /// DRBD resources: their acts, what is told of them, and their backing devices as the configuration names them.
    pub resources: Vec<ResourceName>,
    /// Nothing is written, claimed or done.
    pub read_only: bool,
}

fn forbidden(what: impl Into<String>, advice: impl Into<String>) -> Fault {
    Fault::Forbidden { what: what.into(), advice: advice.into() }
}

fn not_listed(what: String, option: &str) -> Fault {
    let advice = format!(
        "if that is meant to be allowed, add `{option}` to the command of the agent there (docs/peer.md, \
         \"An agent that may do less\")"
    );
    forbidden(format!("{what}: its agent was started with --allow, and that does not cover it"), advice)
}

fn read_only(what: &str) -> Fault {
    let advice = "if this side may be written, leave `--read-only` out of the command of the agent there; to look at \
                  it, `status`, `diff`, `compare`, `plan` and `report` need no more";
    forbidden(format!("{what}: its agent was started with --read-only"), advice)
}

/// What a path leads to, if to something that can be opened.
fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().as_ref().and_then(Identity::of)
}

/// The paths of a resource's devices. A metadata device may carry an index: `/dev/sdb[1]`.
fn devices(of: &Configured) -> impl Iterator<Item = &str> {
    let paths = of.volumes.iter().flat_map(|volume| [volume.disk.as_deref(), volume.meta_disk.as_deref()]);
    paths.flatten().map(|path| path.split_once('[').map_or(path, |(path, _)| path))
}

/// The resource that an act is about.
fn resource_of(act: &NodeAct) -> &ResourceName {
    match act {
        NodeAct::Disconnect(toward)
        | NodeAct::Reconnect(toward)
        | NodeAct::Connect { toward, .. }
        | NodeAct::RestorePolicies { toward, .. } => &toward.resource,
        NodeAct::Demote { resource }
        | NodeAct::Invalidate { resource, .. }
        | NodeAct::Promote { resource } => resource,
    }
}

impl Confinement {
    fn is_listed(&self) -> bool {
        !self.paths.is_empty() || !self.resources.is_empty()
    }

    fn has(&self, resource: &str) -> bool {
        !self.is_listed() || self.resources.iter().any(|known| known.as_str() == resource)
    }

    /// Whether a request may be made at all. What is opened is looked at again once it is open ([`Confinement::opened`]).
    ///
    /// # Errors
    /// [`Fault::Forbidden`].
    pub(super) fn may(&self, request: &Request) -> Result<(), Fault> {
        match request {
            Request::Open { data, metadata, write, .. } => {
                if *write && self.read_only {
                    return Err(read_only("writing"));
                }
                self.may_open(data)?;
                metadata.as_deref().map_or(Ok(()), |path| self.may_open(path))
            }
            Request::OpenDisk { path, .. } => self.may_open(path),
            Request::OpenAs { opening, .. } => self.may(opening),
            Request::Hold { .. } if self.read_only => Err(read_only("claiming devices")),
            Request::WriteSuperblock { .. }
            | Request::Write { .. }
            | Request::Flush { .. }
            | Request::Settle { .. }
                if self.read_only =>
            {
                Err(read_only("writing"))
            }
            Request::Act(_) if self.read_only => Err(read_only("acts on a running resource")),
            Request::Act(act) if !self.has(resource_of(act).as_str()) => {
                let name = resource_of(act);
                Err(not_listed(format!("acts on {name}"), &format!("--allow-resource {name}")))
            }
            Request::State | Request::Log | Request::Report | Request::Users { .. }
                if self.is_listed() && self.resources.is_empty() =>
            {
                let what = "asking for running resources".to_owned();
                Err(not_listed(what, "--allow-resource NAME"))
            }
            Request::Users { minor } if self.is_listed() => {
                let state = this_node()?.state().map_err(super::desk::unseen)?;
                let of = minors(&self.state(state)).any(|known| known == *minor);
                let what = || format!("asking who uses /dev/drbd{minor}");
                if of { Ok(()) } else { Err(not_listed(what(), "--allow-resource NAME")) }
            }
            _ => Ok(()),
        }
    }

    /// Whether this may be opened. What is not there and not named is not told apart from what is.
    fn may_open(&self, path: &str) -> Result<(), Fault> {
        let named = self.paths.iter().any(|known| known == Path::new(path));
        if !self.is_listed() || named {
            return Ok(());
        }
        match identity(Path::new(path)) {
            Some(found) => self.opened(found, path),
            None => Err(not_listed(path.to_owned(), &format!("--allow {path}"))),
        }
    }

    /// Whether what was opened is one of what is allowed.
    ///
    /// # Errors
    /// [`Fault::Forbidden`].
    pub(super) fn opened(&self, found: Identity, path: &str) -> Result<(), Fault> {
        let listed = || self.paths.iter().any(|known| identity(known) == Some(found));
        if !self.is_listed() || listed() || self.is_of_a_resource(found)? {
            return Ok(());
        }
        Err(not_listed(path.to_owned(), &format!("--allow {path}")))
    }

    fn is_of_a_resource(&self, found: Identity) -> Result<bool, Fault> {
        if self.resources.is_empty() {
            return Ok(false);
        }
        let report = this_node()?.report().map_err(super::desk::unseen)?;
        let Ok(configured) = self.report(report).configured else { return Ok(false) };
        Ok(configured.iter().flat_map(devices).any(|path| identity(Path::new(path)) == Some(found)))
    }

    /// What may be told of a node's kernel.
    pub(super) fn state(&self, mut state: NodeState) -> NodeState {
        if let DrbdSeen::Told(live) = &mut state.drbd {
            live.resources.retain(|resource| self.has(&resource.name));
        }
        state
    }

    /// What may be told of a node.
    pub(super) fn report(&self, report: NodeReport) -> NodeReport {
        let NodeReport { state, mut configured, log } = report;
        let state = self.state(state);
        if let Ok(configured) = &mut configured {
            configured.retain(|known| self.has(&known.resource));
        }
        let log = log.map(|lines| self.log(lines, &state));
        NodeReport { state, configured, log }
    }

    /// The lines of the kernel's log that name what is allowed: the resource, or one of its devices. `state`: what may be told.
    pub(super) fn log(&self, mut lines: Vec<LogLine>, state: &NodeState) -> Vec<LogLine> {
        if self.is_listed() {
            let names: Vec<String> = self
                .resources
                .iter()
                .map(|name| name.as_str().to_owned())
                .chain(minors(state).map(|minor| format!("drbd{minor}")))
                .collect();
            let is_name = |word: &str| names.iter().any(|name| name == word);
            lines.retain(|line| line.text.split([' ', ':', '/']).take(3).any(is_name));
        }
        lines
    }
}

fn minors(state: &NodeState) -> impl Iterator<Item = u32> {
    let live: Option<&Live> = match &state.drbd {
        DrbdSeen::Told(live) => Some(live),
        _ => None,
    };
    let resources = live.into_iter().flat_map(|live| &live.resources);
    resources.flat_map(|resource| &resource.devices).filter_map(|device| device.minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wire::content::Coding;
    use crate::format::wire::control::{Courtesy, Which};
    use crate::model::drbd_live::Generation;
    use crate::model::drbd_live::tree::{Device, Resource};
    use crate::model::id::NodeName;
    use crate::model::node::{ConfiguredVolume, ConnectAs, Toward};
    use crate::model::seen::Stamp;
    use std::os::unix::fs::symlink;

    fn resource(name: &str) -> ResourceName {
        ResourceName::new(name).unwrap()
    }

    fn open_disk(path: &Path) -> Request {
        Request::OpenDisk { path: path.display().to_string(), courtesy: Courtesy::default() }
    }

    fn open(data: &Path, metadata: Option<&Path>, write: bool) -> Request {
        Request::Open {
            name: NodeName::new("b").unwrap(),
            data: data.display().to_string(),
            metadata: metadata.map(|path| path.display().to_string()),
            place: None,
            role: None,
            write,
            trust: crate::model::evidence::Trust::Checked,
            courtesy: Courtesy::default(),
        }
    }

    fn refused(confinement: &Confinement, request: &Request) -> bool {
        match confinement.may(request) {
            Ok(()) => false,
            Err(Fault::Forbidden { what, advice }) => {
                assert!(!what.is_empty() && advice.contains("--"), "{what} {advice}");
                true
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["mine", "other"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::fs::create_dir(path("sub")).unwrap();
        symlink(path("mine"), path("to-mine")).unwrap();
        symlink(path("other"), path("sub/mine")).unwrap();
        std::fs::hard_link(path("mine"), path("mine-too")).unwrap();
        let only = Confinement { paths: vec![path("mine"), path("absent")], ..Confinement::default() };
        for (name, fine) in [
            ("mine", true),
            ("to-mine", true),
            ("mine-too", true),
            ("sub/../mine", true),
            ("other", false),
            ("sub/mine", false),
            ("mine/../other", false),
            ("nowhere", false),
            ("", false),
            // That it is not there is for opening to say.
            ("absent", true),
        ] {
            for request in [open_disk(&path(name)), open(&path(name), None, true)] {
                assert_eq!(refused(&only, &request), !fine, "{name}");
                let again = Request::OpenAs { thing: 1, opening: Box::new(request) };
                assert_eq!(refused(&only, &again), !fine, "{name} again");
            }
            assert_eq!(
                refused(&only, &open(&path("mine"), Some(&path(name)), false)),
                !fine,
                "{name} as metadata"
            );
            assert!(
                !refused(&Confinement::default(), &open_disk(&path(name))),
                "{name} where all is allowed"
            );
        }
        // Looked at again when it is open: the path may lead elsewhere by then.
        let other = identity(&path("other")).unwrap();
        assert!(only.opened(other, "mine").is_err());
        assert!(only.opened(identity(&path("mine")).unwrap(), "mine").is_ok());
    }

    #[test]
    fn acts_are_of_a_resource_and_reading_only_is_none() {
        let toward = |name: &str| Toward { resource: resource(name), peer: None };
        let acts = |name: &str| {
            vec![
                NodeAct::Disconnect(toward(name)),
                NodeAct::Reconnect(toward(name)),
                NodeAct::Connect { toward: toward(name), how: ConnectAs::Victim },
                NodeAct::RestorePolicies { toward: toward(name), to: None },
                NodeAct::Demote { resource: resource(name) },
                NodeAct::Promote { resource: resource(name) },
                NodeAct::Invalidate { resource: resource(name), volume: 0, minor: 0 },
            ]
        };
        let of_r0 = Confinement { resources: vec![resource("r0")], ..Confinement::default() };
        let of_a_file = Confinement { paths: vec!["/srv/r0.img".into()], ..Confinement::default() };
        let reading = Confinement { read_only: true, ..Confinement::default() };
        for act in acts("r0").into_iter().map(Request::Act) {
            assert!(!refused(&Confinement::default(), &act) && !refused(&of_r0, &act), "{act:?}");
            assert!(refused(&of_a_file, &act) && refused(&reading, &act), "{act:?}");
        }
        for act in acts("r00").into_iter().map(Request::Act) {
            assert!(refused(&of_r0, &act), "{act:?}");
        }
        for request in [Request::State, Request::Log, Request::Report, Request::Users { minor: 0 }] {
            assert!(refused(&of_a_file, &request), "{request:?}");
            assert!(!refused(&reading, &request), "{request:?}");
        }
        assert!(refused(&of_r0, &Request::Users { minor: 999_999 }));
    }

    #[test]
    fn reading_only_writes_claims_and_does_nothing() {
        let reading = Confinement { read_only: true, ..Confinement::default() };
        let write =
            Request::Write { thing: 0, which: Which::Data, at: 0, len: 512, coding: Coding::Zero, was: None };
        let flush = Request::Flush { thing: 0, which: Which::Metadata };
        for request in [write, flush, Request::Hold { thing: 0 }, open(Path::new("/dev/null"), None, true)] {
            assert!(refused(&reading, &request), "{request:?}");
            assert!(!refused(&Confinement::default(), &request), "{request:?}");
        }
        for request in [
            open(Path::new("/dev/null"), None, false),
            Request::Read { thing: 0, which: Which::Data, at: 0, len: 512, squeeze: false },
            Request::StillOurs { thing: 0 },
            Request::Release { thing: 0 },
            Request::AreaDigest { thing: 0 },
        ] {
            assert!(!refused(&reading, &request), "{request:?}");
        }
    }

    #[test]
    fn a_node_tells_of_what_is_allowed_only() {
        let running = |name: &str, minor| Resource {
            name: name.to_owned(),
            devices: vec![Device { minor: Some(minor), ..Device::default() }],
            ..Resource::default()
        };
        let live = Live { generation: Generation::V9, resources: vec![running("r0", 0), running("r1", 1)] };
        let state = NodeState {
            host: "n".to_owned(),
            machine: None,
            boot: None,
            taken_at: Stamp(0),
            drbd: DrbdSeen::Told(live),
        };
        let configured = |name: &str| Configured {
            resource: name.to_owned(),
            volumes: vec![ConfiguredVolume {
                volume: 0,
                minor: None,
                disk: Some(format!("/dev/{name}")),
                meta_disk: Some("/dev/meta[3]".to_owned()),
            }],
            peers: Vec::new(),
            net: Vec::new(),
        };
        let line = |text: &str| LogLine { at: 0, text: text.to_owned() };
        let lines = [
            "drbd r0: conn( StandAlone -> Unconnected )",
            "drbd r0/0 drbd0: disk( UpToDate -> Outdated )",
            "block drbd0: Split-Brain detected",
            "drbd r1: conn( StandAlone -> Unconnected )",
            "block drbd1: r0 is not this one",
            "drbd: initialized",
        ];
        let report = NodeReport {
            state,
            configured: Ok(vec![configured("r0"), configured("r1")]),
            log: Ok(lines.map(line).to_vec()),
        };
        let all = Confinement::default().report(report.clone());
        assert_eq!(all, report);
        let only = Confinement { resources: vec![resource("r0")], ..Confinement::default() };
        let told = only.report(report);
        let DrbdSeen::Told(live) = &told.state.drbd else { panic!("{told:?}") };
        assert_eq!(live.resources.len(), 1);
        let configured = told.configured.unwrap();
        assert_eq!(configured.len(), 1);
        assert_eq!(devices(&configured[0]).collect::<Vec<_>>(), ["/dev/r0", "/dev/meta"]);
        let log: Vec<String> = told.log.unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(log, lines[..3]);
    }
}
