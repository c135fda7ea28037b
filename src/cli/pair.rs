//! The two sides as the command line names them.

use super::reading::ReadingArgs;
use crate::edge::peer::PeerSpec;
use crate::model::drbd::Role;
use crate::model::evidence::Trust;
use crate::model::id::{NodeName, ResourceName};
use crate::model::side::Pair;
use crate::resolver::access::{Access, MetadataDevice};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How the two sides are to be read.
#[derive(Debug, Clone, Args)]
pub struct PairOptions {
    /// What to call the first side
    #[arg(long, value_name = "NAME", default_value = "a", value_parser = node_name)]
    pub name_a: NodeName,

    /// What to call the second side
    #[arg(long, value_name = "NAME", default_value = "b", value_parser = node_name)]
    pub name_b: NodeName,

    /// Metadata device of the first side, if external; `:N` for index N
    #[arg(long, value_name = "DEV[:N]", value_parser = metadata_device)]
    pub meta_a: Option<MetadataDevice>,

    /// The same of the second side
    #[arg(long, value_name = "DEV[:N]", value_parser = metadata_device)]
    pub meta_b: Option<MetadataDevice>,

    /// The first side is a backing device just as it is, though it looks like something else
    #[arg(long)]
    pub as_is_a: bool,

    /// The same of the second side
    #[arg(long)]
    pub as_is_b: bool,

    /// The other node: `ssh:HOST`, or `exec:COMMAND`; B and --meta-b are then paths there
    #[arg(long, value_name = "PEER")]
    pub peer: Option<PeerSpec>,

    /// Give up when the other node says nothing for that long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub peer_timeout: u16,

    /// Role of the first node when its image was taken [default: as its metadata says]
    #[arg(long, value_name = "ROLE")]
    pub role_a: Option<RoleWord>,

    /// The same of the second node
    #[arg(long, value_name = "ROLE")]
    pub role_b: Option<RoleWord>,

    /// The resource's name, for policy overrides and records
    #[arg(long, value_name = "NAME", default_value = RESOURCE, value_parser = resource_name)]
    pub resource: ResourceName,

    /// Policy file [default: DRBD's own defaults, which never decide]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,

    /// Read both sides even where a kept comparison shows that nothing was written since
    #[arg(long)]
    pub no_cache: bool,
}

/// What two sides are called together, when nobody says.
pub const RESOURCE: &str = "offline";

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// The node was Primary
    Primary,
    /// The node was Secondary
    Secondary,
}

fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|error| error.to_string())
}

fn resource_name(text: &str) -> Result<ResourceName, String> {
    ResourceName::new(text).map_err(|error| error.to_string())
}

fn metadata_device(text: &str) -> Result<MetadataDevice, String> {
    match text.rsplit_once(':') {
        Some((path, index))
            if !path.is_empty() && index.chars().all(|c| c.is_ascii_digit()) && !index.is_empty() =>
        {
            let index = index.parse().map_err(|_| format!("`{index}` is not an index"))?;
            Ok(MetadataDevice { path: path.into(), index: Some(index) })
        }
        _ if text.is_empty() => Err("a path is needed".to_owned()),
        _ => Ok(MetadataDevice { path: text.into(), index: None }),
    }
}

impl PairOptions {
    /// What was said, in the resolver's words.
    #[must_use]
    pub fn access(&self) -> Access {
        let trust = |as_is| if as_is { Trust::AsIs } else { Trust::Checked };
        Access {
            names: Pair::new(self.name_a.clone(), self.name_b.clone()),
            metadata: Pair::new(self.meta_a.clone(), self.meta_b.clone()),
            trust: Pair::new(trust(self.as_is_a), trust(self.as_is_b)),
            roles: Pair::new(self.role_a.map(RoleWord::role), self.role_b.map(RoleWord::role)),
            peer: self.peer.clone(),
            peer_timeout: self.peer_timeout,
            resource: self.resource.clone(),
            policy: self.policy.clone(),
            reading: self.reading.reading(),
            believe: !self.no_cache,
        }
    }
}

impl RoleWord {
    fn role(self) -> Role {
        match self {
            RoleWord::Primary => Role::Primary,
            RoleWord::Secondary => Role::Secondary,
        }
    }
}
