//! `unsplit agent`.

use super::exit::{FINE, Failure, Kind};
use crate::api::agent::serve;
use crate::api::confine::Confinement;
use crate::model::id::ResourceName;
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Serve another unsplit over standard input and output.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  unsplit agent --stdio                              (started by `unsplit ... --peer ssh:HOST`, not by hand)\n  unsplit diff r0.img /srv/r0.img --peer ssh:node2   starts it on node2\n  unsplit agent --stdio --allow /dev/vg/r0 --read-only   what an SSH key may do (docs/peer.md)\n\nIt serves whoever started it, with its own user's rights unless --allow or --read-only say less, and ends\nwhen standard input is closed. What it had claimed is free again then. It needs no daemon and listens on\nnothing."
)]
pub struct AgentArgs {
    /// Speak over standard input and output
    #[arg(long, required = true)]
    pub stdio: bool,
    /// Let nothing be opened but these files and devices (and those of --allow-resource), whatever they are called; may be given
    /// several times. An external metadata device counts as one more
    #[arg(long, value_name = "PATH", num_args = 1.., value_parser = absolute)]
    pub allow: Vec<PathBuf>,
    /// Let this DRBD resource be asked about and acted on, and its backing devices be opened; may be given several times
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = resource_name)]
    pub allow_resource: Vec<ResourceName>,
    /// Write, claim and do nothing, whoever asks
    #[arg(long)]
    pub read_only: bool,
}

/// An agent's folder is whatever its login gives it.
fn absolute(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err("the path must be absolute".to_owned()) }
}

fn resource_name(text: &str) -> Result<ResourceName, String> {
    ResourceName::new(text).map_err(|error| error.to_string())
}

/// Standard input that is asked again every second, so that a silent other side is noticed.
struct Stdin(OwnedFd);

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&second)) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(_) => Ok(rustix::io::read(&self.0, buffer)?),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn run(args: &AgentArgs) -> Result<u8, Failure> {
    let AgentArgs { allow, allow_resource, read_only, .. } = args.clone();
    let confinement = Confinement { paths: allow, resources: allow_resource, read_only };
    let input = Stdin(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // From here on nothing but frames can reach standard output, whoever prints.
    rustix::stdio::dup2_stdout(io::stderr()).map_err(io::Error::from)?;
    serve(input, output, confinement).map_err(|error| Failure::new(Kind::Evidence, error))?;
    Ok(FINE)
}
