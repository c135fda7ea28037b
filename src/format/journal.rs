//! The journal's framing: a header line, then one record a line, so that people can read it with `less`.
//!
//! ```text
//! unsplit-journal 1
//! 1 5f3a9c01 0b51…(32 hex digits) {"seq":1,"at":…,"incident":"…","event":"opened",…}
//! ```
//!
//! A record's line is `SEQ CHECK CHAIN JSON`, single spaces, one `\n`. CHECK is CRC-32C (8 hex digits) of
//! `SEQ CHAIN JSON`: the line is as it was written. CHAIN is the first 128 bits of BLAKE3 over the previous
//! line's CHAIN (for the first record: of the header line), SEQ and JSON: it stands where it was written, so
//! that lines removed, repeated or moved are noticed although each of them is intact.
//!
//! One append is one line and is durable before the next begins. So only the last line can be torn by a
//! crash, and a torn line is never one that anybody was told is there. Everything else is damage.

mod tail;

use crate::model::record::Record;

/// The first line, without its newline.
pub const HEADER: &str = "unsplit-journal 1";
/// What the first line of every version begins with.
const MAGIC: &str = "unsplit-journal ";
/// Longest line, newline included, in bytes.
pub const MAX_LINE: usize = 64 << 10;
/// Longest journal, in bytes. Some hundred bytes a record: about a million records.
pub const MAX_JOURNAL: u64 = 256 << 20;

/// The place in the chain after which the next record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Sequence number of the last record; 0 before the first.
    pub seq: u64,
    chain: [u8; 16],
}

impl Link {
    /// Before the first record.
    #[must_use]
    pub fn start() -> Link {
        Link { seq: 0, chain: truncated(blake3::hash(HEADER.as_bytes())) }
    }

    fn next(&self, seq: u64, json: &[u8]) -> Link {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.chain).update(&seq.to_le_bytes()).update(json);
        Link { seq, chain: truncated(hasher.finalize()) }
    }
}

fn truncated(hash: blake3::Hash) -> [u8; 16] {
    let mut chain = [0; 16];
    chain.copy_from_slice(&hash.as_bytes()[..16]);
    chain
}

/// Lowercase hex digits of `bytes`.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The line would not be accepted when read back.
    #[error("record {seq} takes {len} bytes, a line may have {MAX_LINE}: shorten its texts")]
    TooLong {
        /// The record's sequence number.
        seq: u64,
        /// Bytes it would take.
        len: usize,
    },
    /// The record does not follow its predecessor: a defect of the caller.
    #[error("record {found} cannot follow record {last}")]
    OutOfOrder {
        /// Sequence number of the predecessor.
        last: u64,
        /// Sequence number of the record.
        found: u64,
    },
    /// The record has no JSON form.
    #[error("the record has no JSON form")]
    Json(#[source] serde_json::Error),
}

/// The header line with its newline: what a new journal holds.
#[must_use]
pub fn header() -> Vec<u8> {
    format!("{HEADER}\n").into_bytes()
}

/// The line of `record`, newline included, and the link for the record after it.
///
/// # Errors
/// [`EncodeError`]; nothing that [`parse`] would refuse is ever returned.
pub fn encode(record: &Record, last: &Link) -> Result<(Vec<u8>, Link), EncodeError> {
    let seq = record.seq;
    if last.seq.checked_add(1) != Some(seq) {
        return Err(EncodeError::OutOfOrder { last: last.seq, found: seq });
    }
    let json = serde_json::to_string(record).map_err(EncodeError::Json)?;
    let link = last.next(seq, json.as_bytes());
    let chain = hex(&link.chain);
    let check = crc32c::crc32c(format!("{seq} {chain} {json}").as_bytes());
    let line = format!("{seq} {check:08x} {chain} {json}\n").into_bytes();
    if line.len() > MAX_LINE {
        return Err(EncodeError::TooLong { seq, len: line.len() });
    }
    Ok((line, link))
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With a whole record, or the header.
    Clean,
    /// With a record that was being written when the writer stopped.
    Torn {
        /// Offset of its first byte: the length of the journal without it.
        from: u64,
        /// How many bytes.
        bytes: u64,
    },
}

/// A journal as read. Record `i` (from 0) stands on line `i + 2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The records, in order, without gaps.
    pub records: Vec<Record>,
    /// How the journal ends.
    pub tail: Tail,
    /// Where the next record goes in the chain.
    pub link: Link,
}

/// What is wrong with a damaged journal.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The first line is not a journal's.
    #[error("the file does not begin with `{HEADER}`: it is empty, cut, or not a journal")]
    NotAJournal,
    /// A journal, but of another version.
    #[error("the journal has version `{found}`, this program reads version 1: use the unsplit that wrote it")]
    Version {
        /// The version it names, cut to something printable.
        found: String,
    },
    /// More bytes than a journal may have.
    #[error("the file has {len} bytes, a journal has at most {MAX_JOURNAL}")]
    TooLarge {
        /// Its length.
        len: u64,
    },
    /// No end of line within the limit.
    #[error("the line, or the unreadable stretch at the end, is longer than {MAX_LINE} bytes: no record is")]
    TooLong,
    /// Not as it was written, and not the last: no crash does that.
    #[error("the line is not as it was written, and a record follows it on line {follower}")]
    Altered {
        /// The first line after it that is, or begins like, a record.
        follower: u64,
    },
    /// A whole record whose end of line is gone: a crash leaves nothing behind the last byte of an append.
    #[error("the line holds a whole record and then more: the end of its line was altered")]
    Joined,
    /// Lines are missing, repeated or moved.
    #[error("record {found} stands where record {expected} belongs: lines were removed, repeated or moved")]
    OutOfSequence {
        /// Sequence number that belongs there.
        expected: u64,
        /// Sequence number found.
        found: u64,
    },
    /// The line is intact, but was written after another predecessor.
    #[error("the line was not written after the line above it: lines were exchanged with another journal's")]
    Chain,
    /// The check is right, but the payload is not a record this version knows.
    #[error("the record is intact but not understood ({why}): a newer unsplit may have written it")]
    NotUnderstood {
        /// What the JSON reader said.
        why: String,
    },
    /// The sequence number in the payload is another.
    #[error("the record calls itself {inner}, its line {outer}")]
    Misnumbered {
        /// Number at the beginning of the line.
        outer: u64,
        /// Number inside the payload.
        inner: u64,
    },
}

/// Damage that no crash explains: the journal is refused as it is, and left as it is.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error(
    "line {line} (byte {offset}): {flaw}. Nothing was changed. Copy the state directory away, then restore the \
     journal from a backup; without one, settle every incident it names by hand before starting a new directory"
)]
pub struct Damage {
    /// Line number, from 1.
    pub line: u64,
    /// Offset of the line's first byte.
    pub offset: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

/// A line whose check is right.
struct Intact<'a> {
    seq: u64,
    chain: &'a [u8],
    json: &'a [u8],
}

/// Takes a line (without newline) apart; `None` unless every byte is as [`encode`] writes it.
fn intact(line: &[u8]) -> Option<Intact<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (seq_text, check, chain, json) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let seq: u64 = std::str::from_utf8(seq_text).ok()?.parse().ok()?;
    // Compared as text, so that there is one spelling only: no `+1`, no `01`, no capital digits.
    if seq.to_string().as_bytes() != seq_text || chain.len() != 32 {
        return None;
    }
    let crc = [seq_text, b" ", chain, b" ", json].into_iter().fold(0, crc32c::crc32c_append);
    (format!("{crc:08x}").as_bytes() == check).then_some(Intact { seq, chain, json })
}

/// The line that begins at `rest`, without its newline, and whether it has one.
fn first_line(rest: &[u8]) -> (&[u8], bool) {
    match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
        Some(end) => (&rest[..end], true),
        None => (rest, false),
    }
}

fn check_header(bytes: &[u8]) -> Result<(), Flaw> {
    let (line, ended) = first_line(&bytes[..bytes.len().min(256)]);
    if ended && line == HEADER.as_bytes() {
        return Ok(());
    }
    match line.strip_prefix(MAGIC.as_bytes()) {
        Some(version) if ended && line != HEADER.as_bytes() => Err(Flaw::Version {
            found: version.iter().take(20).flat_map(|b| b.escape_ascii()).map(char::from).collect(),
        }),
        _ => Err(Flaw::NotAJournal),
    }
}

/// Reads a whole journal.
///
/// # Errors
/// [`Damage`], with the first line that no crash explains.
pub fn parse(bytes: &[u8]) -> Result<Replay, Damage> {
    let damage = |line: u64, offset: usize, flaw: Flaw| Damage { line, offset: offset as u64, flaw };
    if bytes.len() as u64 > MAX_JOURNAL {
        return Err(damage(1, 0, Flaw::TooLarge { len: bytes.len() as u64 }));
    }
    check_header(bytes).map_err(|flaw| damage(1, 0, flaw))?;

    let mut offset = HEADER.len() + 1;
    let mut number = 2;
    let mut link = Link::start();
    let mut records = Vec::new();
    // Ends: every turn takes at least the newline off what is left.
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let (line, ended) = first_line(rest);
        let Some(found) = ended.then(|| intact(line)).flatten() else {
            tail::is_torn(rest, number, link.seq).map_err(|flaw| damage(number, offset, flaw))?;
            let tail = Tail::Torn { from: offset as u64, bytes: rest.len() as u64 };
            return Ok(Replay { records, tail, link });
        };
        let (record, next) = accept(&found, &link).map_err(|flaw| damage(number, offset, flaw))?;
        records.push(record);
        link = next;
        offset += line.len() + 1;
        number += 1;
    }
    Ok(Replay { records, tail: Tail::Clean, link })
}

/// An intact line becomes a record if it stands where it belongs.
fn accept(found: &Intact<'_>, last: &Link) -> Result<(Record, Link), Flaw> {
    if last.seq.checked_add(1) != Some(found.seq) {
        return Err(Flaw::OutOfSequence { expected: last.seq.saturating_add(1), found: found.seq });
    }
    let link = last.next(found.seq, found.json);
    if hex(&link.chain).as_bytes() != found.chain {
        return Err(Flaw::Chain);
    }
    let record: Record =
        serde_json::from_slice(found.json).map_err(|why| Flaw::NotUnderstood { why: why.to_string() })?;
    if record.seq != found.seq {
        return Err(Flaw::Misnumbered { outer: found.seq, inner: record.seq });
    }
    Ok((record, link))
}
