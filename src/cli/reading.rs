//! How fast, and with how much courtesy, disks are read.

use super::exit::Failure;
use crate::edge::pace::{Pace, step_back};
use crate::format::wire::control::Courtesy;
use crate::model::size;
use clap::Args;
use std::sync::Arc;

/// How disks are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Reading {
    /// Threads for reading and comparing [default: one per core, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,

    /// Read at most this many bytes per second of each side, such as 50MiB [default: as fast as it goes]
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub rate: Option<u64>,

    /// Let everybody else go first: lowest priority for the processor, idle class for the disks
    #[arg(long)]
    pub nice: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    match size::parse(text.strip_suffix("/s").unwrap_or(text)) {
        Some(0) => Err("nothing could be read at this rate".to_owned()),
        Some(rate) => Ok(rate),
        None => Err("bytes per second are needed, such as 50MiB or 1.5GiB".to_owned()),
    }
}

impl Reading {
    /// Threads to use: one per core if not said, at most 8, beyond that the disks are the limit.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from).min(8);
        self.threads.map_or_else(cores, usize::from)
    }

    /// The bound on one disk's reads: each disk has its own.
    #[must_use]
    pub fn pace(&self) -> Option<Arc<Pace>> {
        self.rate.map(|rate| Arc::new(Pace::new(rate)))
    }

    /// The same for the disks of a peer.
    #[must_use]
    pub fn there(&self) -> Courtesy {
        Courtesy { rate: self.rate, nice: self.nice }
    }

    /// Takes `--nice` to heart, for this process and what it does from now on.
    ///
    /// # Errors
    /// The system refused; exit code 4, because whoever asked for it would otherwise be surprised.
    pub fn step_back(&self) -> Result<(), Failure> {
        if !self.nice {
            return Ok(());
        }
        step_back().map_err(|error| {
            Failure::evidence(error).hint("leave out --nice, and use --rate to go gently instead")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_sizes() {
        assert_eq!(rate("50MiB"), Ok(50 << 20));
        assert_eq!(rate("50M/s"), Ok(50 << 20));
        assert_eq!(rate("4096"), Ok(4096));
        for bad in ["", "0", "fast", "-1", "/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
