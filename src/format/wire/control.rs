//! Requests and replies: a JSON document, and bytes beside it where a disk's content travels.
//!
//! A request or reply as bytes: the length of the document (4 bytes, little-endian), the document, and the bytes. Longer
//! ones than a frame holds travel in parts.

use super::content::Coding;
use super::harmless::{TooMuch, make_harmless};
use crate::model::drbd::{Role, Superblock};
use crate::model::evidence::{Evidence, MetadataPlace, Source, Trust};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName};
use crate::model::node::{DeviceUser, LogLine, NodeAct, NodeReport, NodeState};
use crate::model::plan::images::MetadataChange;
use crate::model::seen::{End, Stamp, Why};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest request or reply in bytes, all parts together: the bitmaps of the largest volumes stay below it. A reply may
/// be no longer than its own kind either, see [`Request::reply_bounds`](Request::reply_bounds).
pub const LONGEST: usize = 512 << 20;

/// The most bytes of a disk in one request or reply.
pub const LONGEST_READ: u32 = 1 << 20;

/// One of the two disks of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The replicated data, without metadata.
    Data,
    /// The device that holds the metadata.
    Metadata,
}

/// How an agent is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Courtesy {
    /// At most that many bytes per second of a disk.
    pub rate: Option<u64>,
    /// Whether everybody else goes first.
    pub nice: bool,
}

/// What is asked of an agent. `thing` is the number that opening gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Open a DRBD replica. Reply: `Opened`.
    Open {
        /// What the side is called.
        name: NodeName,
        /// Path of the data device or image.
        data: String,
        /// Path of an external metadata device.
        metadata: Option<String>,
        /// Where on it the metadata is, if that is known.
        place: Option<MetadataPlace>,
        /// The role that the node had, if not as its metadata says.
        role: Option<Role>,
        /// Whether it may be written later.
        write: bool,
        /// Why it is taken for a backing device.
        #[serde(default)]
        trust: Trust,
        /// How to read it.
        courtesy: Courtesy,
    },
    /// Open a plain disk, for reading. Reply: `Opened` without a replica.
    OpenDisk {
        /// Its path.
        path: String,
        /// How to read it.
        courtesy: Courtesy,
    },
    /// Open something under a number that is free: after a link died, what was open over it. Reply: `Opened`.
    OpenAs {
        /// The number.
        thing: u32,
        /// `Open` or `OpenDisk`.
        opening: Box<Request>,
    },
    /// The superblock. Reply: `Superblock`.
    Superblock {
        /// Of which replica.
        thing: u32,
    },
    /// The superblock's 4 KiB. Reply: `Bytes`.
    SuperblockBlock {
        /// Of which replica.
        thing: u32,
    },
    /// The digest of log and bitmap. Reply: `Digest`.
    AreaDigest {
        /// Of which replica.
        thing: u32,
    },
    /// Everything the side says when facing `peer`. Reply: `Evidence`.
    Observe {
        /// Of which replica.
        thing: u32,
        /// The other side's superblock.
        peer: Box<Superblock>,
        /// When, by the asking side's clock.
        now: Stamp,
    },
    /// Bytes. Reply: `Bytes`.
    Read {
        /// Of which replica or disk.
        thing: u32,
        /// Which of its disks.
        which: Which,
        /// First byte.
        at: u64,
        /// Number of bytes, at most [`LONGEST_READ`].
        len: u32,
        /// Whether compressing may be tried.
        squeeze: bool,
    },
    /// What stands at a byte. Reply: `Stretch`.
    Stretch {
        /// Of which replica or disk.
        thing: u32,
        /// Which of its disks.
        which: Which,
        /// The byte.
        at: u64,
    },
    /// The content digest of extents, made where they are. Reply: `Digest`.
    ContentDigest {
        /// Of which replica or disk.
        thing: u32,
        /// Which of its disks.
        which: Which,
        /// Of what.
        extents: ExtentSet,
        /// Threads to use.
        threads: u16,
    },
    /// The blocks that a change would touch. Reply: `Extents`.
    ChangedBlocks {
        /// Of which replica.
        thing: u32,
        /// The change.
        change: Box<MetadataChange>,
        /// What is overwritten.
        overwritten: ExtentSet,
    },
    /// What a settling left. The bytes beside are those of `blocks`, one after the other. Reply: `Left`.
    AreaLeft {
        /// Of which replica.
        thing: u32,
        /// The change.
        change: Box<MetadataChange>,
        /// What is overwritten.
        overwritten: ExtentSet,
        /// The blocks that were kept.
        blocks: ExtentSet,
        /// How the bytes are packed.
        coding: Coding,
    },
    /// Claim the devices. Reply: `Held`.
    Hold {
        /// Of which replica.
        thing: u32,
    },
    /// Is the claim still there, and is nobody else? Reply: `Done`, or a fault that says who is.
    StillOurs {
        /// Of which replica.
        thing: u32,
    },
    /// End the claim. Reply: `Done`.
    Release {
        /// Of which replica.
        thing: u32,
    },
    /// Write the superblock, durable. Needs the claim. Reply: `Ended`.
    WriteSuperblock {
        /// Of which replica.
        thing: u32,
        /// The superblock.
        superblock: Box<Superblock>,
    },
    /// Write the bytes beside. Needs the claim. Reply: `Done`.
    Write {
        /// To which replica.
        thing: u32,
        /// To which of its disks.
        which: Which,
        /// First byte.
        at: u64,
        /// Number of bytes, at most [`LONGEST_READ`].
        len: u32,
        /// How they are packed.
        coding: Coding,
        /// The BLAKE3 of what must stand there until then: else nothing is written, and the reply is the fault `changed`.
        #[serde(default)]
        was: Option<Digest>,
    },
    /// Make earlier writes durable. Needs the claim. Reply: `Done`.
    Flush {
        /// Of which replica.
        thing: u32,
        /// Which of its disks.
        which: Which,
    },
    /// Write bitmap, log and superblock. Needs the claim. Reply: `Ended`.
    Settle {
        /// Of which replica.
        thing: u32,
        /// The change.
        change: Box<MetadataChange>,
        /// What was overwritten.
        overwritten: ExtentSet,
        /// Whether an earlier attempt may have been cut off.
        again: bool,
    },
    /// Close a replica or disk that nothing is asked of any more. Reply: `Done`.
    Close {
        /// Which.
        thing: u32,
    },
    /// Open a channel of this request's number and answer a comparison of a disk on it. Reply, at its end: `Done`.
    Answer {
        /// Of which replica or disk.
        thing: u32,
        /// Threads to use.
        threads: u16,
    },
    /// What the node's kernel tells. Reply: `State`.
    State,
    /// What the node's kernel logged about DRBD. Reply: `Log`.
    Log,
    /// Everything about the node. Reply: `Report`.
    Report,
    /// Who uses `/dev/drbdN`. Reply: `Users`.
    Users {
        /// The minor number.
        minor: u32,
    },
    /// Act on a running resource. Reply: `Ended`.
    Act(NodeAct),
    /// Open a channel and send every message back. Reply, at its end: `Done`.
    Echo,
}

/// What was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub thing: u32,
    /// What the data disk is called.
    pub data: String,
    /// Size in bytes of the (replicated) data.
    pub size: u64,
    /// What the device is, whatever its path: equal for the same file or device on one machine.
    pub identity: String,
    /// For a replica: where it is.
    pub source: Option<Source>,
    /// For a replica: its superblock.
    pub superblock: Option<Box<Superblock>>,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Opened.
    Opened(Opened),
    /// A superblock.
    Superblock(Box<Superblock>),
    /// The bytes beside.
    Bytes {
        /// How many they unpack to.
        len: u32,
        /// How they are packed.
        coding: Coding,
        /// Compressing was tried and did not shrink them.
        vain: bool,
    },
    /// A digest.
    Digest(Digest),
    /// Evidence.
    Evidence(Box<Evidence>),
    /// What stands there.
    Stretch {
        /// A hole, or (maybe) data.
        hole: bool,
        /// Up to which byte.
        until: u64,
    },
    /// Extents.
    Extents(ExtentSet),
    /// What a settling left.
    Left {
        /// The digest of the area as it was.
        before: Digest,
        /// The first foreign byte.
        foreign: Option<u64>,
    },
    /// Claimed.
    Held {
        /// How writers are kept out.
        how: String,
    },
    /// What a node's kernel tells now.
    State(Box<NodeState>),
    /// What a node's kernel logged; `Err` says why that is not known.
    Log(Result<Vec<LogLine>, Why>),
    /// A node, read now.
    Report(Box<NodeReport>),
    /// Who uses a device.
    Users(Vec<DeviceUser>),
    /// How an act ended.
    Ended(End),
    /// Done.
    Done,
    /// It could not be done.
    Fault(Fault),
}

/// Why an agent could not do what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Something could not be seen, claimed or opened.
    Unseen {
        /// The error and its causes, in words, outermost first.
        causes: Vec<String>,
        /// What a person can do about it.
        advice: Option<String>,
    },
    /// The disk or file system said no.
    Io {
        /// `read`, `write` or `flush`.
        act: Act,
        /// What the system said.
        words: String,
        /// Its number for it.
        errno: Option<i32>,
    },
    /// The disk became shorter.
    Short {
        /// How many bytes came.
        got: u64,
    },
    /// Not inside the disk.
    Outside {
        /// The disk's size.
        size: u64,
    },
    /// What was to be replaced is not what the request says: nothing was written.
    Changed,
    /// The request is not one that may be made now: a defect of the asking side.
    Refused(String),
    /// The agent was started with `--allow` or `--read-only`, and these do not cover it.
    Forbidden {
        /// What may not be done, in words.
        what: String,
        /// What a person who wants to allow it adds to the agent's command.
        advice: String,
    },
}

/// An act on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making durable.
    Flush,
}

impl Act {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Act::Read => "read",
            Act::Write => "write",
            Act::Flush => "flush",
        }
    }

    /// The act of that word; reading for any other.
    #[must_use]
    pub fn of(word: &str) -> Act {
        [Act::Write, Act::Flush].into_iter().find(|act| act.word() == word).unwrap_or(Act::Read)
    }
}

/// Bytes are no request or reply.
#[derive(Debug, thiserror::Error)]
pub enum NotADocument {
    /// Cut off.
    #[error("a request or reply is cut off")]
    Short,
    /// Longer than one of its kind can be.
    #[error("a reply is longer than the {most} bytes that one of its kind can have")]
    Long {
        /// The limit.
        most: usize,
    },
    /// It could come to more memory than it is worth.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// Not what this version understands.
    #[error("a request or reply is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// A request or reply, and the bytes beside it, as bytes.
///
/// # Errors
/// [`NotADocument::Json`] never happens for what this module defines.
pub fn document_bytes(document: &impl Serialize, beside: &[u8]) -> Result<Vec<u8>, NotADocument> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, document)?;
    let len = u32::try_from(bytes.len() - 4).map_err(|_| NotADocument::Short)?;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(beside);
    Ok(bytes)
}

/// The request or reply, its texts without what would steer a terminal, and the bytes beside it. It may hold as many objects
/// as said: one of two characters can become a structure of a kilobyte.
///
/// # Errors
/// [`NotADocument`].
pub fn parse_document<T: DeserializeOwned>(
    mut bytes: Vec<u8>,
    most_objects: usize,
) -> Result<(T, Vec<u8>), NotADocument> {
    let len = bytes.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize);
    let end = len.and_then(|len| len.checked_add(4)).filter(|end| *end <= bytes.len());
    let beside = bytes.split_off(end.ok_or(NotADocument::Short)?);
    let mut document = bytes.split_off(4);
    make_harmless(&mut document, most_objects)?;
    Ok((serde_json::from_slice(&document)?, beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_round_trip() {
        let request = Request::Read { thing: 1, which: Which::Data, at: 1 << 40, len: 7, squeeze: true };
        let bytes = document_bytes(&request, b"beside").unwrap();
        let (again, beside) = parse_document::<Request>(bytes.clone(), 9).unwrap();
        assert_eq!((again, beside), (request, b"beside".to_vec()));
        for cut in 0..bytes.len() - 6 {
            assert!(parse_document::<Request>(bytes[..cut].to_vec(), 9).is_err());
        }
        assert!(parse_document::<Request>(u32::MAX.to_le_bytes().to_vec(), 9).is_err());
    }
}
