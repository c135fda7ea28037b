//! What the two nodes' volumes hold: one record of plain text in each block of 4 KiB.

use crate::model::size::BLOCK;

/// Bytes of a record's first line, the line end included.
const LINE: usize = 64;

/// The three volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volume {
    /// The disk of guest 101.
    Orders,
    /// The disk of guest 102.
    Ledger,
    /// Used from both nodes.
    Stock,
}

impl Volume {
    pub(super) const ALL: [Volume; 3] = [Volume::Orders, Volume::Ledger, Volume::Stock];

    /// The logical volume's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Volume::Orders => "vm-101-disk-0",
            Volume::Ledger => "vm-102-disk-0",
            Volume::Stock => "shared",
        }
    }

    /// Its size in bytes.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Volume::Orders | Volume::Ledger => 32 << 20,
            Volume::Stock => 16 << 20,
        }
    }

    /// What its records are called.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Volume::Orders => "order",
            Volume::Ledger => "ledger entry",
            Volume::Stock => "stock item",
        }
    }

    /// Records it holds; the rest of the volume was never written.
    pub(super) fn records(self) -> u64 {
        match self {
            Volume::Orders | Volume::Ledger => 2048,
            Volume::Stock => 512,
        }
    }
}

/// Which version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    /// Before the split, the same on both nodes.
    Base,
    /// Changed while the link was down, by the node of this name.
    Alone(&'static str),
    /// Changed while the link was down, on both nodes in the same way.
    Nightly,
}

/// The first line of a record.
pub(super) fn headline(volume: Volume, number: u64, author: Author) -> String {
    let what = volume.kind();
    match author {
        Author::Base => format!("{what} {number}, as replicated before the split"),
        Author::Alone(node) => format!("{what} {number}, changed on {node} while alone"),
        Author::Nightly => format!("{what} {number}, rewritten by the nightly job"),
    }
}

/// The block of a record: its first line on every line, so that it is recognised in any viewer.
pub(super) fn block(volume: Volume, number: u64, author: Author) -> Vec<u8> {
    let head = headline(volume, number, author);
    let mut out = Vec::with_capacity(BLOCK as usize);
    for _ in 0..BLOCK as usize / LINE {
        let mut line = head.clone().into_bytes();
        line.resize(LINE - 1, b'.');
        line.push(b'\n');
        out.extend(line);
    }
    out
}

/// The first line of a block, without its padding.
pub(super) fn headline_of(block: &[u8]) -> String {
    let line = block.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_fills_its_block_and_says_what_it_is() {
        for volume in Volume::ALL {
            for author in [Author::Base, Author::Alone("node2"), Author::Nightly] {
                let head = headline(volume, volume.records(), author);
                assert!(head.len() < LINE, "{head}");
                let block = block(volume, volume.records(), author);
                assert_eq!(block.len() as u64, BLOCK);
                assert_eq!(headline_of(&block), head);
            }
            assert!(volume.records() * BLOCK <= volume.bytes());
        }
    }
}
