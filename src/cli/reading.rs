//! How fast, and with how much courtesy, disks are read.

use crate::model::size;
use crate::resolver::access::Reading;
use clap::Args;

/// How disks are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ReadingArgs {
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

impl ReadingArgs {
    /// What was said, in the resolver's words.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading { threads: self.threads, rate: self.rate, nice: self.nice }
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
