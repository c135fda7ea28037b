//! The answering side. Whatever the asker sends, the worst that happens here is an error.

use super::ask::{BATCH, check_chunks, check_lost, nonce, short_width};
use super::examine::{Blocks, Subject};
use super::grid::{Grid, LARGEST};
use super::order::{Step, in_order};
use super::pass::{Summary, first_pass};
use super::sketch::{Sketch, fold_for, next_fold, width_for};
use super::talk::{In, Out, Wire, end, while_listening};
use super::value::Key;
use super::verdict::{Tally, in_gaps, low, lows, put_low, to_bits};
use super::{LinkError, LinkOptions};
use crate::digest::compare::Compared;
use crate::digest::content::content_digest;
use crate::format::wire::reconcile::{Gap, Level, MOST_BYTES, Message, Sealed};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::Side;
use crate::model::size::BLOCK;
use crate::ports::channel::{Receiver, Sender};
use crate::ports::disk::Disk;
use crate::ports::progress::Progress;

/// Most runs of a scope: 256 MiB of memory.
const MOST_SCOPE: usize = 1 << 24;
/// Most turns of one session. An honest asker needs half as many.
const MOST_TURNS: u32 = 32;

/// What this side learned while it answered: the same as the asker, but for the digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of replicated data, as the asker said.
    pub size: u64,
    /// Which side this disk was.
    pub side: Side,
    /// What differs, what could not be read, and how much was compared.
    pub compared: Compared,
    /// What it cost on the link. This side does not count round trips.
    pub wire: Wire,
}

/// Answers one [`ask`](super::ask()). Memory as there.
///
/// # Errors
/// [`LinkError`]; the channel is then of no further use.
pub fn answer(
    disk: &dyn Disk,
    sender: &mut dyn Sender,
    receiver: &mut dyn Receiver,
    options: &LinkOptions,
    progress: &dyn Progress,
) -> Result<Answered, LinkError> {
    let (mut out, mut from) = (Out::new(sender), In::new(receiver));
    let result = session(disk, options, progress, &mut out, &mut from);
    let (size, side, compared) = end(result, &mut out, &mut from)?;
    let wire = Wire { sent: out.bytes, received: from.bytes, round_trips: 0 };
    Ok(Answered { size, side, compared, wire })
}

fn session(
    disk: &dyn Disk,
    options: &LinkOptions,
    progress: &dyn Progress,
    out: &mut Out<'_>,
    from: &mut In<'_>,
) -> Result<(u64, Side, Compared), LinkError> {
    let (grid, key, side) = greet(disk, out, from)?;
    let (summary, theirs) = while_listening(
        out,
        from,
        options.pulse,
        |early| matches!(early, Message::Summary { .. }),
        |stop| Ok(first_pass(disk, &grid, &key, options, progress, stop)),
        |_, _| Ok(()),
    )?;
    let Message::Summary { total, estimator, lost } = theirs else {
        return Err(LinkError::rules("a comparison must begin with a summary"));
    };
    check_lost(&grid, &lost)?;
    let subject = Subject { disk, grid: &grid, key: &key, lost: &summary.lost, piece: options.piece() };
    let mut answerer = Answerer {
        subject,
        summary: &summary,
        side,
        options,
        progress,
        estimate: summary.estimator.estimate(&estimator),
        fold: 0,
    };
    let tally = answerer.reply(total, &lost, out, from)?;
    Ok((grid.size, side, tally.finish(grid.blocks.bytes())))
}

/// Hears the question, and agrees on a key.
fn greet(disk: &dyn Disk, out: &mut Out<'_>, from: &mut In<'_>) -> Result<(Grid, Key, Side), LinkError> {
    let Message::Ask { size, end, side, whole, .. } = from.next()? else {
        return Err(LinkError::rules("a session must begin with a question"));
    };
    let mut blocks = if whole { ExtentSet::whole(size.div_ceil(BLOCK)) } else { ExtentSet::empty() };
    let mut more = !whole;
    while more {
        let Message::Scope { last, blocks: next } = from.next()? else {
            return Err(LinkError::rules("a scope must come in one go"));
        };
        // Empty only if it is all there is: otherwise there would be no end.
        let behind = next.first().is_none_or(|run| run.start >= blocks.end());
        if !behind || (next.is_empty() && !(last && blocks.is_empty())) || next.end() > size.div_ceil(BLOCK) {
            return Err(LinkError::rules("a scope must ascend and lie inside the volume"));
        }
        next.iter().for_each(|run| blocks.push(run));
        if blocks.runs() > MOST_SCOPE {
            return Err(LinkError::TooScattered { most: MOST_SCOPE });
        }
        more = !last;
    }
    let side = side.other();
    if size > LARGEST {
        return Err(LinkError::TooLarge { size });
    }
    let end = end.max(size);
    if end > disk.size() {
        let (name, has) = (disk.name().to_owned(), disk.size());
        out.say(&Message::Outside { has, disk: name.clone() })?;
        return Err(LinkError::Outside { side, disk: name, has, end });
    }
    let mut scope = ExtentSet::empty();
    blocks.iter().for_each(|run| scope.push(Extent { start: run.start * BLOCK, len: run.len * BLOCK }));
    let mine = nonce()?;
    let question = from.heard();
    out.say(&Message::Begin { nonce: mine })?;
    Ok((Grid::new(size, &scope), Key::new(&question, &mine), side))
}

struct Answerer<'a> {
    subject: Subject<'a>,
    summary: &'a Summary,
    side: Side,
    options: &'a LinkOptions,
    progress: &'a dyn Progress,
    /// How many leaves probably differ.
    estimate: f64,
    /// Cells a part of the sketch that the asker has.
    fold: u32,
}

impl Answerer<'_> {
    /// Answers the summary in the cheapest way, and then whatever the asker goes on with.
    fn reply(
        &mut self,
        total: u128,
        lost: &ExtentSet,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<Tally, LinkError> {
        self.opening(total, lost, out)?;
        let mut next = from.next()?;
        let mut ended: Option<Tally> = None;
        for _ in 0..MOST_TURNS {
            next = match next {
                Message::More { fold } => {
                    let known = self.fold;
                    if known == 0 || next_fold(known) != Some(fold) {
                        return Err(LinkError::rules("a sketch can only grow to the next size"));
                    }
                    self.fold = fold;
                    self.cells(known, out)?;
                    from.next()?
                }
                Message::WantChunks { wide } => {
                    ended = None;
                    self.chunks(wide, out)?;
                    from.next()?
                }
                Message::Batch { level: Level::Leaves, .. } | Message::Turn => {
                    match self.leaves(next, out, from)? {
                        Message::Turn => from.next()?,
                        _ => return Err(LinkError::rules("batches of leaves must come in one go")),
                    }
                }
                Message::Batch { level: Level::Blocks, .. } | Message::Closing { .. } => {
                    let (tally, after) = self.blocks(next, out, from)?;
                    ended = tally;
                    after
                }
                Message::Bye => {
                    return match ended {
                        Some(tally) => Ok(tally),
                        None if self.equal(total, lost) => Ok(Tally::new(self.side)),
                        None => Err(LinkError::rules("an asker must not leave before the end")),
                    };
                }
                _ => return Err(LinkError::rules("an asker must not say this here")),
            };
        }
        Err(LinkError::rules("a session must come to an end"))
    }

    fn equal(&self, total: u128, lost: &ExtentSet) -> bool {
        total == self.summary.total && lost.is_empty() && self.summary.lost.is_empty()
    }

    fn opening(&mut self, total: u128, lost: &ExtentSet, out: &mut Out<'_>) -> Result<(), LinkError> {
        let grid = self.subject.grid;
        if self.equal(total, lost) {
            return out.say(&Message::Equal { total });
        }
        let my_lost = self.summary.lost_leaves(grid);
        if total == self.summary.total {
            // Only what could not be read is in question.
            return out.say(&Message::Table { estimate: 0, fold: 0, width: 8, lost: my_lost });
        }
        let estimate = self.estimate.max(1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an estimate, not negative
        let leaves = estimate as u64;
        let width = width_for(grid.leaves());
        let block = u64::from(short_width(leaves.saturating_mul(super::LEAF / BLOCK)));
        let asked = grid.asked_blocks();
        let all = asked.saturating_mul(u64::from(short_width(asked))).saturating_add(asked / 8);
        // A suspect costs its place, hashes of its four blocks, and their verdict.
        let each = leaves.saturating_mul(3 + 4 * block);
        let fold = fold_for(estimate).filter(|_| leaves <= self.options.sketch_up_to);
        let by_table = fold.map(|fold| each.saturating_add(Sketch::bytes_beyond(fold, 0, width) as u64));
        if by_table.is_some_and(|bytes| all <= bytes) || leaves > asked / 4 {
            return out.say(&Message::Direct { lost: my_lost });
        }
        match fold {
            Some(fold) => {
                self.fold = fold;
                out.put(&Message::Table { estimate: leaves, fold, width, lost: my_lost })?;
                self.cells(0, out)
            }
            None => self.chunks(false, out),
        }
    }

    /// The sketch as far as the asker does not have it.
    fn cells(&self, known: u32, out: &mut Out<'_>) -> Result<(), LinkError> {
        let bytes =
            self.summary.sketch.folded(self.fold).beyond(known, width_for(self.subject.grid.leaves()));
        for bytes in bytes.chunks(MOST_BYTES) {
            out.put(&Message::Cells { bytes: bytes.to_vec() })?;
        }
        out.flush()
    }

    /// The sums of all chunks asked about.
    fn chunks(&self, wide: bool, out: &mut Out<'_>) -> Result<(), LinkError> {
        let grid = self.subject.grid;
        let chunks = grid.asked_chunks();
        let width = if wide { 16 } else { short_width(chunks.bytes()) };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an estimate, not negative
        let estimate = self.estimate as u64;
        out.put(&Message::Chunks { estimate, width, lost: self.summary.lost_leaves(grid) })?;
        let mut bytes = Vec::new();
        for chunk in chunks.iter().flat_map(|run| run.start..run.end()) {
            let sum = usize::try_from(chunk).ok().and_then(|at| self.summary.chunks.get(at));
            put_low(&mut bytes, sum.copied().unwrap_or_default(), width);
            if bytes.len() + 16 > MOST_BYTES {
                out.put(&Message::Values { bytes: std::mem::take(&mut bytes) })?;
            }
        }
        if !bytes.is_empty() {
            out.put(&Message::Values { bytes })?;
        }
        out.flush()
    }

    /// Compares leaves, batch by batch, until something else comes: that is returned.
    fn leaves(&self, first: Message, out: &mut Out<'_>, from: &mut In<'_>) -> Result<Message, LinkError> {
        let grid = self.subject.grid;
        let work = |batch: Batch| {
            let values = self.subject.leaf_values(&batch.leaves).map_err(LinkError::Again)?;
            check_chunks(grid, self.summary, &values, self.side)?;
            check_hashes(batch.hashes.len(), values.len(), batch.width)?;
            let differs: Vec<bool> = values
                .iter()
                .zip(lows(&batch.hashes, batch.width))
                .map(|((_, mine), theirs)| low(*mine, batch.width) != theirs)
                .collect();
            Ok(Message::Verdict { differs: to_bits(&differs), unreadable: Vec::new() })
        };
        self.batches(Level::Leaves, first, work, Ok, out, from)
    }

    /// Compares blocks, batch by batch, and then the sums. The result: what was found, if the sums agree, and the
    /// asker's next message.
    fn blocks(
        &self,
        first: Message,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<(Option<Tally>, Message), LinkError> {
        let mut tally = Tally::new(self.side);
        let work = |batch: Batch| {
            let mine = self.subject.block_values(&batch.leaves).map_err(LinkError::Again)?;
            check_hashes(batch.hashes.len(), mine.blocks.len(), batch.width)?;
            let lost = in_gaps(&mine.blocks, &batch.unreadable)?;
            let hashes = lows(&batch.hashes, batch.width);
            let differs: Vec<bool> = mine
                .blocks
                .iter()
                .zip(lost)
                .zip(hashes)
                .map(|(((_, mine), lost), theirs)| {
                    !lost && mine.is_some_and(|mine| low(mine, batch.width) != theirs)
                })
                .collect();
            Ok((mine, batch.unreadable, differs))
        };
        let enter = |(mine, theirs, differs): (Blocks, Vec<Gap>, Vec<bool>)| {
            tally.enter(&mine, &theirs, &differs)?;
            Ok(Message::Verdict { differs: to_bits(&differs), unreadable: mine.gaps })
        };
        let ending = self.batches(Level::Blocks, first, work, enter, out, from)?;
        let Message::Closing { rest: their_rest, equal: their_equal } = ending else {
            return Err(LinkError::rules("batches of blocks must come in one go"));
        };
        let rest = self.summary.total.wrapping_sub(tally.suspects);
        let equal = tally.equal;
        if (rest, equal) != (their_rest, their_equal) {
            out.say(&Message::Closed { rest, equal, content: None })?;
            return Ok((None, from.next()?));
        }
        let (disk, threads, progress) = (self.subject.disk, self.options.threads(), self.progress);
        let (differs, key) = (&tally.differs, self.subject.key);
        let heard = from.heard();
        let (_, after) = while_listening(
            out,
            from,
            self.options.pulse,
            |_| false,
            |_| content_digest(disk, differs, threads, progress).map_err(LinkError::Again),
            |out, content| {
                let content = content.0;
                let seal = key.seal(&heard, &out.said(), &content);
                out.say(&Message::Closed { rest, equal, content: Some(Sealed { content, seal }) })
            },
        )?;
        Ok((Some(tally), after))
    }

    /// Takes batches of one level off the link, works on several at once, answers them in their order. Returns the first
    /// message that is no such batch.
    fn batches<U: Send>(
        &self,
        level: Level,
        first: Message,
        work: impl Fn(Batch) -> Result<U, LinkError> + Sync,
        mut enter: impl FnMut(U) -> Result<Message, LinkError>,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<Message, LinkError> {
        let grid = self.subject.grid;
        let mut first = Some(first);
        let mut ending = None;
        let mut behind = 0;
        let source = || {
            let message = match first.take() {
                Some(message) => message,
                None => from.next()?,
            };
            match message {
                Message::Batch { level: found, width, leaves, hashes, unreadable } if found == level => {
                    let batch = Batch { width, leaves, hashes, unreadable };
                    behind = batch.check(grid, level, behind)?;
                    Ok(Some(batch))
                }
                other => {
                    ending = Some(other);
                    Ok(None)
                }
            }
        };
        in_order(self.options.threads(), self.options.pulse, source, work, |step| {
            let Step::Done(done) = step else { return out.say(&Message::Working) };
            // Told at once: a thread may be waiting for the asker's next batch, and the asker for this answer.
            done.and_then(&mut enter)
                .inspect_err(|error| out.abort(error))
                .and_then(|verdict| out.say(&verdict))
        })?;
        ending.ok_or(LinkError::rules("a thread ended early"))
    }
}

/// What the asker sent of some leaves.
struct Batch {
    width: u8,
    leaves: ExtentSet,
    hashes: Vec<u8>,
    unreadable: Vec<Gap>,
}

impl Batch {
    /// Whether it is one that may come after all leaves below `behind`; what the next one must come after.
    fn check(&self, grid: &Grid, level: Level, behind: u64) -> Result<u64, LinkError> {
        let wrong = Err(LinkError::rules("a batch must be of some leaves behind those before"));
        let per_chunk = grid.leaves_per_chunk();
        let most = match level {
            Level::Leaves => BATCH.max(per_chunk),
            Level::Blocks => BATCH,
        };
        let end = self.leaves.end();
        let begins = self.leaves.first().is_some_and(|run| run.start >= behind);
        if !begins || end > grid.leaves() || self.leaves.bytes() > most {
            return wrong;
        }
        let whole = |at: u64| at.is_multiple_of(per_chunk) || at == grid.leaves();
        let whole = self.leaves.iter().all(|run| whole(run.start) && whole(run.end()));
        if level == Level::Leaves && !(whole && self.unreadable.is_empty()) {
            return wrong;
        }
        Ok(end)
    }
}

fn check_hashes(bytes: usize, count: usize, width: u8) -> Result<(), LinkError> {
    let fits = bytes == count.saturating_mul(usize::from(width));
    if fits { Ok(()) } else { Err(LinkError::rules("a batch must have one hash for each leaf or block")) }
}
