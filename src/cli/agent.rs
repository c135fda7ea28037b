//! `unsplit agent`.

use super::exit::{EVIDENCE, FINE, Failure};
use crate::api::agent::serve;
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// Serve another unsplit over standard input and output.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit agent --stdio                              (started by `unsplit ... --peer ssh:HOST`, not by hand)\n  unsplit diff r0.img /srv/r0.img --peer ssh:node2   starts it on node2\n\nIt serves whoever started it, with its own user's rights, and ends when standard input is closed. What it had claimed is\nfree again then. It needs no daemon and listens on nothing."
)]
pub struct AgentArgs {
    /// Speak over standard input and output
    #[arg(long, required = true)]
    pub stdio: bool,
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

pub(super) fn run(_: &AgentArgs) -> Result<u8, Failure> {
    let input = Stdin(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // From here on nothing but frames can reach standard output, whoever prints.
    rustix::stdio::dup2_stdout(io::stderr()).map_err(io::Error::from)?;
    serve(input, output).map_err(|error| Failure::new(EVIDENCE, error))?;
    Ok(FINE)
}
