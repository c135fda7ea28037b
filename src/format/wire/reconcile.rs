//! The messages of a comparison across a link (`digest::link`, docs/link.md). One asks, the other answers.
//!
//! Layout: one byte for the kind, then the fields in the order of their declaration. Numbers are varints (seven bits a
//! byte, low ones first) unless their width is said; 128-bit sums are 16 bytes, low ones first; sets are
//! [`runs`](super::runs). What a set means (inside the volume? ascending from message to message?) is the
//! receiver's to check: it knows the volume.

use super::cursor::{Cursor, put_text, put_varint};
use super::runs::{decode_runs, encode_runs};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::Side;

/// The version of these messages. An answerer that knows another says so and ends.
pub const VERSION: u8 = 1;
/// Levels of the estimator.
pub const STRATA: usize = 24;
/// Counters on one level of the estimator, a byte each.
pub const BINS: usize = 128;
/// Longest text, in bytes.
pub const MOST_TEXT: usize = 200;
/// Most ranges that could not be read, in one message.
pub const MOST_GAPS: usize = 4096;
/// Most bytes of cells, values or hashes in one message.
pub const MOST_BYTES: usize = 256 << 10;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// It ends too early.
    #[error("a message ends too early")]
    Cut,
    /// Something stands behind its end.
    #[error("a message has more bytes than belong to it")]
    Trailing,
    /// A kind that this version does not know.
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    /// A number or a flag outside its range.
    #[error("a message holds a number outside its range")]
    Number,
    /// More of something than a message may hold.
    #[error("a message holds more than it may")]
    TooMany,
    /// A text that is too long or no UTF-8.
    #[error("a message holds a text that is too long or not readable")]
    Text,
}

/// Blocks that one side could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where, in bytes.
    pub extent: Extent,
    /// What the read said; at most [`MOST_TEXT`] bytes of it travel.
    pub why: String,
}

/// What the hashes of a [`Message::Batch`] are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Whole leaves.
    Leaves,
    /// The blocks of leaves.
    Blocks,
}

/// Which of the things that a batch asked about differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bits {
    /// None.
    None,
    /// Every one.
    All,
    /// One bit each, low bits first, filled up with zeros.
    Some(Vec<u8>),
}

/// The end of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The digest of the answerer's bytes in what differs.
    pub content: [u8; 32],
    /// Proves that both sides heard what the other said, all of it and nothing else.
    pub seal: [u8; 16],
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asker: let us compare. Begins with [`VERSION`]. Unless `whole`, [`Message::Scope`] messages follow.
    Ask {
        /// The asker's part of the key.
        nonce: [u8; 32],
        /// Bytes of replicated data.
        size: u64,
        /// First byte behind everything that was asked about, in bytes: the disk must reach that far.
        end: u64,
        /// The asker's side.
        side: Side,
        /// Everything below `size` is asked about.
        whole: bool,
    },
    /// Asker: more of the scope.
    Scope {
        /// No further such message follows.
        last: bool,
        /// Block numbers, ascending from message to message.
        blocks: ExtentSet,
    },
    /// Answerer: agreed.
    Begin {
        /// The answerer's part of the key.
        nonce: [u8; 32],
    },
    /// Answerer: my disk does not reach that far.
    Outside {
        /// Its size in bytes.
        has: u64,
        /// Its name.
        disk: String,
    },
    /// Either: I am still at it.
    Working,
    /// Asker: what I have.
    Summary {
        /// The sum of all leaf values.
        total: u128,
        /// [`STRATA`] times [`BINS`] counters.
        estimator: Vec<u8>,
        /// Leaves that could not be read, or more.
        lost: ExtentSet,
    },
    /// Answerer: the same, all of it.
    Equal {
        /// The sum of all leaf values.
        total: u128,
    },
    /// Answerer: a sketch of my leaves follows, in [`Message::Cells`].
    Table {
        /// How many leaves probably differ.
        estimate: u64,
        /// Cells in each of the three parts.
        fold: u32,
        /// Bytes of each of a cell's two sums, 4 to 8.
        width: u8,
        /// Leaves that could not be read, or more.
        lost: ExtentSet,
    },
    /// Answerer: some of the cells.
    Cells {
        /// Their sums.
        bytes: Vec<u8>,
    },
    /// Asker: the sketch was too small; complete it to this size.
    More {
        /// Cells in each of the three parts.
        fold: u32,
    },
    /// Asker: the sketch did not help; let me have your chunks' sums instead.
    WantChunks {
        /// In full, instead of in as many bytes as are probably enough.
        wide: bool,
    },
    /// Answerer: the sums of my chunks follow, in [`Message::Values`].
    Chunks {
        /// How many leaves probably differ.
        estimate: u64,
        /// Bytes of each, 1 to 16.
        width: u8,
        /// Leaves that could not be read, or more.
        lost: ExtentSet,
    },
    /// Answerer: some of the sums.
    Values {
        /// The low bytes of each.
        bytes: Vec<u8>,
    },
    /// Answerer: so much differs that we had better compare every block.
    Direct {
        /// Leaves that could not be read, or more.
        lost: ExtentSet,
    },
    /// Asker: my hashes of these.
    Batch {
        /// Of what.
        level: Level,
        /// Bytes of each, 1 to 16.
        width: u8,
        /// Leaf numbers, ascending from batch to batch of a level.
        leaves: ExtentSet,
        /// The low bytes of the value of each leaf or block that the scope touches.
        hashes: Vec<u8>,
        /// Blocks that the asker cannot read.
        unreadable: Vec<Gap>,
    },
    /// Answerer: what of a batch differs; in the order of the batches.
    Verdict {
        /// For each hash of the batch.
        differs: Bits,
        /// Blocks that the answerer cannot read.
        unreadable: Vec<Gap>,
    },
    /// Asker: no further batch of leaves.
    Turn,
    /// Asker: no further batch of blocks; do our sums agree?
    Closing {
        /// Of all leaves that were not suspected, by their first reading.
        rest: u128,
        /// Of all blocks that were found equal.
        equal: u128,
    },
    /// Answerer: my sums.
    Closed {
        /// Of all leaves that were not suspected, by their first reading.
        rest: u128,
        /// Of all blocks that were found equal.
        equal: u128,
        /// If both agree: the answerer's digest.
        content: Option<Sealed>,
    },
    /// Asker: that was all.
    Bye,
    /// Either: I give up.
    Abort {
        /// Why.
        why: String,
    },
}

const FLAGS: [bool; 2] = [false, true];

fn flag(from: &mut Cursor<'_>) -> Result<bool, WireError> {
    FLAGS.get(usize::from(from.byte()?)).copied().ok_or(WireError::Number)
}

fn put_gaps(out: &mut Vec<u8>, gaps: &[Gap]) {
    put_varint(out, gaps.len() as u64);
    let mut last = "";
    for gap in gaps {
        put_varint(out, gap.extent.start);
        put_varint(out, gap.extent.len);
        // Mostly the reason is the one before.
        out.push(u8::from(gap.why != last));
        if gap.why != last {
            put_text(out, &gap.why, MOST_TEXT);
        }
        last = &gap.why;
    }
}

fn gaps(from: &mut Cursor<'_>) -> Result<Vec<Gap>, WireError> {
    let count = from.varint()?;
    if count > MOST_GAPS as u64 {
        return Err(WireError::TooMany);
    }
    let mut gaps: Vec<Gap> = Vec::new();
    for _ in 0..count {
        let extent = Extent { start: from.varint()?, len: from.varint()? };
        if extent.len == 0 || extent.start.checked_add(extent.len).is_none() {
            return Err(WireError::Number);
        }
        let why = match (flag(from)?, gaps.last()) {
            (true, _) => from.text(MOST_TEXT)?,
            (false, Some(last)) => last.why.clone(),
            (false, None) => String::new(),
        };
        gaps.push(Gap { extent, why });
    }
    Ok(gaps)
}

fn bytes(from: &mut Cursor<'_>) -> Result<Vec<u8>, WireError> {
    let rest = from.rest();
    if rest.len() > MOST_BYTES { Err(WireError::TooMany) } else { Ok(rest.to_vec()) }
}

fn counted(from: &mut Cursor<'_>) -> Result<Vec<u8>, WireError> {
    let len = from.len()?;
    if len > MOST_BYTES { Err(WireError::TooMany) } else { Ok(from.take(len)?.to_vec()) }
}

fn width(from: &mut Cursor<'_>) -> Result<u8, WireError> {
    let width = from.byte()?;
    if (1..=16).contains(&width) { Ok(width) } else { Err(WireError::Number) }
}

fn fold(from: &mut Cursor<'_>) -> Result<u32, WireError> {
    u32::try_from(from.varint()?).map_err(|_| WireError::Number)
}

impl Message {
    /// The message as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Message::Ask { nonce, size, end, side, whole } => {
                out.extend([1, VERSION]);
                out.extend(nonce);
                put_varint(&mut out, *size);
                put_varint(&mut out, *end);
                out.extend([u8::from(*side == Side::B), u8::from(*whole)]);
            }
            Message::Scope { last, blocks } => {
                out.extend([2, u8::from(*last)]);
                encode_runs(&mut out, blocks);
            }
            Message::Begin { nonce } => {
                out.push(3);
                out.extend(nonce);
            }
            Message::Outside { has, disk } => {
                out.push(4);
                put_varint(&mut out, *has);
                put_text(&mut out, disk, MOST_TEXT);
            }
            Message::Working => out.push(5),
            Message::Summary { total, estimator, lost } => {
                out.push(6);
                out.extend(total.to_le_bytes());
                out.extend(estimator);
                encode_runs(&mut out, lost);
            }
            Message::Equal { total } => {
                out.push(7);
                out.extend(total.to_le_bytes());
            }
            Message::Table { estimate, fold, width, lost } => {
                out.push(8);
                put_varint(&mut out, *estimate);
                put_varint(&mut out, u64::from(*fold));
                out.push(*width);
                encode_runs(&mut out, lost);
            }
            Message::Cells { bytes } => {
                out.push(9);
                out.extend(bytes);
            }
            Message::More { fold } => {
                out.push(10);
                put_varint(&mut out, u64::from(*fold));
            }
            Message::WantChunks { wide } => out.extend([11, u8::from(*wide)]),
            Message::Chunks { estimate, width, lost } => {
                out.push(12);
                put_varint(&mut out, *estimate);
                out.push(*width);
                encode_runs(&mut out, lost);
            }
            Message::Values { bytes } => {
                out.push(13);
                out.extend(bytes);
            }
            Message::Direct { lost } => {
                out.push(14);
                encode_runs(&mut out, lost);
            }
            Message::Batch { level, width, leaves, hashes, unreadable } => {
                out.extend([15, u8::from(*level == Level::Blocks), *width]);
                encode_runs(&mut out, leaves);
                put_gaps(&mut out, unreadable);
                put_varint(&mut out, hashes.len() as u64);
                out.extend(hashes);
            }
            Message::Verdict { differs, unreadable } => {
                out.push(16);
                put_gaps(&mut out, unreadable);
                match differs {
                    Bits::None => out.push(0),
                    Bits::All => out.push(1),
                    Bits::Some(bits) => {
                        out.push(2);
                        out.extend(bits);
                    }
                }
            }
            Message::Turn => out.push(17),
            Message::Closing { rest, equal } => {
                out.push(18);
                out.extend(rest.to_le_bytes());
                out.extend(equal.to_le_bytes());
            }
            Message::Closed { rest, equal, content } => {
                out.push(19);
                out.extend(rest.to_le_bytes());
                out.extend(equal.to_le_bytes());
                out.push(u8::from(content.is_some()));
                if let Some(Sealed { content, seal }) = content {
                    out.extend(content);
                    out.extend(seal);
                }
            }
            Message::Bye => out.push(20),
            Message::Abort { why } => {
                out.push(21);
                put_text(&mut out, why, MOST_TEXT);
            }
        }
        out
    }

    /// Reads a message. Reserves no more memory than a small multiple of its length.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Message::encode`] does not write.
    pub fn decode(bytes_: &[u8]) -> Result<Message, WireError> {
        let from = &mut Cursor::new(bytes_);
        let kind = from.byte()?;
        let message = match kind {
            1 => {
                if from.byte()? != VERSION {
                    return Err(WireError::Kind(kind));
                }
                let nonce = from.array()?;
                let (size, end) = (from.varint()?, from.varint()?);
                let side = if flag(from)? { Side::B } else { Side::A };
                Message::Ask { nonce, size, end, side, whole: flag(from)? }
            }
            2 => Message::Scope { last: flag(from)?, blocks: decode_runs(from)? },
            3 => Message::Begin { nonce: from.array()? },
            4 => Message::Outside { has: from.varint()?, disk: from.text(MOST_TEXT)? },
            5 => Message::Working,
            6 => {
                let total = from.u128()?;
                let estimator = from.take(STRATA * BINS)?.to_vec();
                Message::Summary { total, estimator, lost: decode_runs(from)? }
            }
            7 => Message::Equal { total: from.u128()? },
            8 => {
                let (estimate, fold, width) = (from.varint()?, fold(from)?, from.byte()?);
                if !(4..=8).contains(&width) {
                    return Err(WireError::Number);
                }
                Message::Table { estimate, fold, width, lost: decode_runs(from)? }
            }
            9 => Message::Cells { bytes: bytes(from)? },
            10 => Message::More { fold: fold(from)? },
            11 => Message::WantChunks { wide: flag(from)? },
            12 => Message::Chunks { estimate: from.varint()?, width: width(from)?, lost: decode_runs(from)? },
            13 => Message::Values { bytes: bytes(from)? },
            14 => Message::Direct { lost: decode_runs(from)? },
            15 => {
                let level = if flag(from)? { Level::Blocks } else { Level::Leaves };
                let width = width(from)?;
                let leaves = decode_runs(from)?;
                let unreadable = gaps(from)?;
                Message::Batch { level, width, leaves, hashes: counted(from)?, unreadable }
            }
            16 => {
                let unreadable = gaps(from)?;
                let differs = match from.byte()? {
                    0 => Bits::None,
                    1 => Bits::All,
                    2 => Bits::Some(bytes(from)?),
                    _ => return Err(WireError::Number),
                };
                Message::Verdict { differs, unreadable }
            }
            17 => Message::Turn,
            18 => Message::Closing { rest: from.u128()?, equal: from.u128()? },
            19 => {
                let (rest, equal) = (from.u128()?, from.u128()?);
                let content = match flag(from)? {
                    true => Some(Sealed { content: from.array()?, seal: from.array()? }),
                    false => None,
                };
                Message::Closed { rest, equal, content }
            }
            20 => Message::Bye,
            21 => Message::Abort { why: from.text(MOST_TEXT)? },
            other => return Err(WireError::Kind(other)),
        };
        from.end()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = ExtentSet> {
        prop::collection::vec((0..1u64 << 30, 1..500u64), 0..20)
            .prop_map(|all| all.into_iter().map(Extent::from).collect())
    }

    fn some_gaps() -> impl Strategy<Value = Vec<Gap>> {
        let gap = (0..1u64 << 44, 1..1u64 << 20, "[a-c]{0,2}");
        let gap = gap.prop_map(|(start, len, why)| Gap { extent: Extent { start, len }, why });
        prop::collection::vec(gap, 0..5)
    }

    fn messages() -> impl Strategy<Value = Message> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let bits = prop_oneof![Just(Bits::None), Just(Bits::All), bytes().prop_map(Bits::Some)];
        prop_oneof![
            (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
                |(nonce, size, end, b, whole)| {
                    let side = if b { Side::B } else { Side::A };
                    Message::Ask { nonce, size, end, side, whole }
                }
            ),
            (any::<bool>(), sets()).prop_map(|(last, blocks)| Message::Scope { last, blocks }),
            any::<[u8; 32]>().prop_map(|nonce| Message::Begin { nonce }),
            (any::<u64>(), ".{0,40}").prop_map(|(has, disk)| Message::Outside { has, disk }),
            Just(Message::Working),
            (any::<u128>(), any::<u8>(), sets()).prop_map(|(total, fill, lost)| Message::Summary {
                total,
                estimator: vec![fill; STRATA * BINS],
                lost
            }),
            any::<u128>().prop_map(|total| Message::Equal { total }),
            (any::<u64>(), any::<u32>(), 4..9u8, sets())
                .prop_map(|(estimate, fold, width, lost)| Message::Table { estimate, fold, width, lost }),
            bytes().prop_map(|bytes| Message::Cells { bytes }),
            any::<u32>().prop_map(|fold| Message::More { fold }),
            any::<bool>().prop_map(|wide| Message::WantChunks { wide }),
            (any::<u64>(), 1..17u8, sets()).prop_map(|(estimate, width, lost)| Message::Chunks {
                estimate,
                width,
                lost
            }),
            bytes().prop_map(|bytes| Message::Values { bytes }),
            sets().prop_map(|lost| Message::Direct { lost }),
            (any::<bool>(), 1..17u8, sets(), bytes(), some_gaps()).prop_map(
                |(leaves_, width, leaves, hashes, unreadable)| {
                    let level = if leaves_ { Level::Leaves } else { Level::Blocks };
                    Message::Batch { level, width, leaves, hashes, unreadable }
                }
            ),
            (bits, some_gaps()).prop_map(|(differs, unreadable)| Message::Verdict { differs, unreadable }),
            Just(Message::Turn),
            (any::<u128>(), any::<u128>()).prop_map(|(rest, equal)| Message::Closing { rest, equal }),
            (any::<u128>(), any::<u128>(), any::<Option<([u8; 32], [u8; 16])>>()).prop_map(
                |(rest, equal, content)| {
                    let content = content.map(|(content, seal)| Sealed { content, seal });
                    Message::Closed { rest, equal, content }
                }
            ),
            Just(Message::Bye),
            ".{0,40}".prop_map(|why| Message::Abort { why }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn messages_come_back(message in messages()) {
            let bytes = message.encode();
            prop_assert_eq!(Message::decode(&bytes), Ok(message));
        }

        #[test]
        fn a_cut_or_lengthened_message_is_none_or_another(message in messages(), at in any::<prop::sample::Index>()) {
            let bytes = message.encode();
            let cut = &bytes[..at.index(bytes.len())];
            prop_assert_ne!(Message::decode(cut), Ok(message.clone()));
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert_ne!(Message::decode(&longer), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(kind in 0..24u8, rest in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = Message::decode(&[&[kind], rest.as_slice()].concat()) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = Message::Abort { why: "ä".repeat(1000) };
        let Ok(Message::Abort { why }) = Message::decode(&long.encode()) else { panic!("no message") };
        assert_eq!(why, "ä".repeat(MOST_TEXT / 2));
    }
}
