//! How long a reply to each request can be, and reading one: nothing longer is taken in, and nothing is taken apart that
//! could come to more memory than its kind is worth.

use super::control::{LONGEST, NotADocument, Reply, Request, parse_document};
use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::geometry::Geometry;

/// Any document without lists of the volume's or the node's own.
const SHORT: usize = 64 << 10;
/// What a node tells of itself: some 5,000 resources, and 2,000 lines of the kernel's log.
const NODE: usize = 32 << 20;
/// Objects in a document without such lists: a superblock has one for each peer.
const FEW: usize = 1000;
/// Objects in what a node tells of itself. One comes to less than two kilobytes.
const MANY: usize = 100_000;
/// What packing adds at most to the bytes of a disk.
const PACKING: usize = 4096;

/// How long a reply can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of document and contents together.
    pub bytes: usize,
    /// Objects in the document.
    pub objects: usize,
}

/// What that many runs of extents take as text, where no number is larger than `end`.
fn runs_as_text(runs: u64, end: u64) -> usize {
    let digits = u64::from(end.checked_ilog10().unwrap_or(0)) + 1;
    // `[start,len],`
    usize::try_from(runs.saturating_mul(2 * digits + 4)).unwrap_or(LONGEST)
}

impl Request {
    /// What it is asked of, if of something that was opened.
    #[must_use]
    pub fn thing(&self) -> Option<u32> {
        match self {
            Request::Open { .. }
            | Request::OpenDisk { .. }
            | Request::State
            | Request::Log
            | Request::Report
            | Request::Users { .. }
            | Request::Act(_)
            | Request::Echo => None,
            Request::OpenAs { thing, .. }
            | Request::Superblock { thing }
            | Request::SuperblockBlock { thing }
            | Request::AreaDigest { thing }
            | Request::Observe { thing, .. }
            | Request::Read { thing, .. }
            | Request::Stretch { thing, .. }
            | Request::ContentDigest { thing, .. }
            | Request::ChangedBlocks { thing, .. }
            | Request::AreaLeft { thing, .. }
            | Request::Hold { thing }
            | Request::StillOurs { thing }
            | Request::Release { thing }
            | Request::WriteSuperblock { thing, .. }
            | Request::Write { thing, .. }
            | Request::Flush { thing, .. }
            | Request::Settle { thing, .. }
            | Request::Close { thing }
            | Request::Answer { thing, .. } => Some(*thing),
        }
    }

    /// How long a reply to it can be. `of`: the geometry of the replica that it is asked of, where that is known; without it
    /// nothing but a fault can come.
    #[must_use]
    pub fn reply_bounds(&self, of: Option<&Geometry>) -> Bounds {
        let (lists, objects) = match self {
            Request::Read { len, .. } => ((*len as usize).saturating_add(PACKING), FEW),
            Request::SuperblockBlock { .. } => (BLOCK + PACKING, FEW),
            Request::Observe { .. } => (of.map_or(0, marks_as_text), FEW),
            Request::ChangedBlocks { .. } => (of.map_or(0, blocks_as_text), FEW),
            Request::State | Request::Log | Request::Report | Request::Users { .. } => (NODE, MANY),
            _ => (0, FEW),
        };
        Bounds { bytes: SHORT.saturating_add(lists).min(LONGEST), objects }
    }
}

/// Every other bit set, and every other extent hot.
fn marks_as_text(of: &Geometry) -> usize {
    let hot = of.data_size / (8 << 20) + 1;
    runs_as_text((of.layout.bits() / 2 + 1).saturating_add(hot), of.data_size)
}

/// Every other block of log and bitmap, and the superblock's.
fn blocks_as_text(of: &Geometry) -> usize {
    let end = of.superblock_at.max(of.log.end()).max(of.bitmap.end()).saturating_add(BLOCK as u64);
    runs_as_text((of.log.len + of.bitmap.len) / BLOCK as u64 / 2 + 2, end)
}

/// Reads a reply: the document, its texts without what would steer a terminal, and the bytes beside it.
///
/// # Errors
/// [`NotADocument`].
pub fn read_reply(bytes: Vec<u8>, bounds: Bounds) -> Result<(Reply, Vec<u8>), NotADocument> {
    if bytes.len() > bounds.bytes {
        return Err(NotADocument::Long { most: bounds.bytes });
    }
    parse_document(bytes, bounds.objects)
}

/// Reads a request. The bitmaps of the largest volumes may be in it, so that only [`LONGEST`] bounds its length.
///
/// # Errors
/// [`NotADocument`].
pub fn read_request(bytes: Vec<u8>) -> Result<(Request, Vec<u8>), NotADocument> {
    parse_document(bytes, FEW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wire::control::{Fault, document_bytes};
    use crate::model::node::{DeviceUser, LogLine};
    use crate::model::seen::Why;

    fn bytes(reply: &Reply) -> Vec<u8> {
        document_bytes(reply, b"beside").unwrap()
    }

    #[test]
    fn a_reply_is_no_longer_than_its_kind() {
        let short = Request::Superblock { thing: 1 }.reply_bounds(None);
        let fault = |len: usize| Reply::Fault(Fault::Refused("x".repeat(len)));
        assert_eq!(read_reply(bytes(&fault(1000)), short).unwrap(), (fault(1000), b"beside".to_vec()));
        assert!(matches!(read_reply(bytes(&fault(SHORT)), short), Err(NotADocument::Long { .. })));
        // A gigabyte of users in 32 MiB of text would be no user's.
        let users = Request::Users { minor: 0 }.reply_bounds(None);
        let user = DeviceUser { who: String::new(), ends_with: None };
        let crowd = Reply::Users(vec![user; MANY + 1]);
        assert!(matches!(read_reply(bytes(&crowd), users), Err(NotADocument::TooMuch(_))));
    }

    #[test]
    fn whatever_field_a_text_is_in_it_cannot_steer_a_terminal() {
        let evil = "\u{1b}[2J\n".to_owned();
        let line = LogLine { at: 1, text: evil.clone() };
        let node = Request::Report.reply_bounds(None);
        for reply in
            [Reply::Held { how: evil.clone() }, Reply::Log(Ok(vec![line])), Reply::Log(Err(Why(evil)))]
        {
            let (read, _) = read_reply(bytes(&reply), node).unwrap();
            let shown = format!("{read:?}");
            assert!(
                shown.contains("?[2J?") && !shown.contains("\\u{1b}") && !shown.contains("\\n"),
                "{shown}"
            );
        }
    }
}
