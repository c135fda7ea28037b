//! The asking side.

use super::examine::{Blocks, Subject};
use super::grid::{Grid, LARGEST, in_leaves, in_units};
use super::order::{Step, in_order, lock};
use super::pass::{Summary, first_pass};
use super::sketch::{Sketch, next_fold};
use super::talk::{In, Out, Wire, end, while_listening};
use super::value::Key;
use super::verdict::{Tally, from_bits, low, lows, put_low};
use super::{LinkError, LinkOptions};
use crate::digest::compare::Compared;
use crate::digest::content::{ContentHasher, content_digest};
use crate::format::wire::reconcile::{Level, Message};
use crate::format::wire::runs::MOST_RUNS;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::ports::channel::{ChannelFault, Receiver, Sender};
use crate::ports::disk::Disk;
use crate::ports::progress::Progress;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// Most leaves in a batch.
pub(super) const BATCH: u64 = 1024;
/// Most batches sent and not yet answered.
const UNANSWERED: usize = 64;

/// What is to be found out.
#[derive(Debug, Clone)]
pub struct Question {
    /// Bytes of replicated data that both sides have.
    pub size: u64,
    /// What to compare; widened to whole blocks of 4 KiB, cut at `size`.
    pub scope: ExtentSet,
    /// Which side the asker's disk is.
    pub side: Side,
}

/// What was found, as a comparison on one machine would have found it, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCompared {
    /// What differs, what could not be read, and how much was compared.
    pub compared: Compared,
    /// The digest of each side's bytes in what differs (`digest::content`).
    pub content: Pair<Digest>,
    /// What it cost on the link.
    pub wire: Wire,
}

/// Asks the agent at the other end to compare its disk with this one. Memory: some pieces a thread, 27 MiB at most of
/// sums, and the runs of the scope and the result.
///
/// # Errors
/// [`LinkError`]; the channel is then of no further use.
pub fn ask(
    disk: &dyn Disk,
    question: &Question,
    sender: &mut dyn Sender,
    receiver: &mut dyn Receiver,
    options: &LinkOptions,
    progress: &dyn Progress,
) -> Result<LinkCompared, LinkError> {
    let (mut out, mut from) = (Out::new(sender), In::new(receiver));
    let mut asker = Asker { disk, question, options, progress, round_trips: 0 };
    let result = asker.session(&mut out, &mut from);
    let round_trips = asker.round_trips;
    let (compared, content) = end(result, &mut out, &mut from)?;
    let wire = Wire { sent: out.bytes, received: from.bytes, round_trips };
    Ok(LinkCompared { compared, content, wire })
}

struct Asker<'a> {
    disk: &'a dyn Disk,
    question: &'a Question,
    options: &'a LinkOptions,
    progress: &'a dyn Progress,
    round_trips: u32,
}

/// The leaves to look at closer, and whether everything short was sent in full.
struct Suspects {
    leaves: ExtentSet,
    wide: bool,
}

impl Asker<'_> {
    fn session(
        &mut self,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<(Compared, Pair<Digest>), LinkError> {
        let Question { size, scope, side } = self.question;
        let end = scope.end().max(*size);
        if end > self.disk.size() {
            let (disk, has) = (self.disk.name().to_owned(), self.disk.size());
            return Err(LinkError::Outside { side: *side, disk, has, end });
        }
        if *size > LARGEST {
            return Err(LinkError::TooLarge { size: *size });
        }
        let grid = Grid::new(*size, scope);
        let key = self.greet(&grid, end, out, from)?;

        self.round_trips += 1;
        let (options, progress, disk) = (self.options, self.progress, self.disk);
        let (summary, reply) = while_listening(
            out,
            from,
            options.pulse,
            |_| false,
            |stop| Ok(first_pass(disk, &grid, &key, options, progress, stop)),
            |out, summary| {
                out.say(&Message::Summary {
                    total: summary.total,
                    estimator: summary.estimator.bins().to_vec(),
                    lost: summary.lost_leaves(&grid),
                })
            },
        )?;
        let subject = Subject { disk, grid: &grid, key: &key, lost: &summary.lost, piece: options.piece() };

        let mut suspects = match reply {
            Message::Equal { total } => {
                if total != summary.total || !summary.lost.is_empty() {
                    return Err(LinkError::rules("what is not equal was called equal"));
                }
                out.say(&Message::Bye)?;
                let nothing = ContentHasher::default().finish();
                let compared = Tally::new(*side).finish(grid.blocks.bytes());
                return Ok((compared, Pair::new(nothing, nothing)));
            }
            Message::Direct { lost } => {
                check_lost(&grid, &lost)?;
                Suspects { leaves: grid.asked_leaves(), wide: false }
            }
            Message::Table { fold, width, lost, .. } => {
                check_lost(&grid, &lost)?;
                match self.unfold(&key, &grid, &summary, fold, width, out, from)? {
                    Some(found) => {
                        Suspects { leaves: found.union(&lost).union(&in_leaves(&summary.lost)), wide: false }
                    }
                    None => self.by_chunks(&subject, &summary, None, false, out, from)?,
                }
            }
            Message::Chunks { .. } => self.by_chunks(&subject, &summary, Some(reply), false, out, from)?,
            _ => return Err(LinkError::rules("a summary must be answered by where to look")),
        };
        loop {
            let (tally, closed, content) = self.by_blocks(&subject, &summary, &suspects, out, from)?;
            let rest = summary.total.wrapping_sub(tally.suspects);
            let Message::Closed { rest: their_rest, equal, content: theirs } = closed else {
                return Err(LinkError::rules("the last batch must be answered by sums"));
            };
            if (rest, tally.equal) == (their_rest, equal) {
                let theirs = theirs.ok_or(LinkError::rules("sums that agree must come with a digest"))?;
                if theirs.seal != key.seal(&out.said(), &from.heard_before(), &theirs.content) {
                    return Err(
                        ChannelFault::Corrupt("the peer heard or said something else".to_owned()).into()
                    );
                }
                let theirs = theirs.content;
                let content = match side {
                    Side::A => Pair::new(content, Digest(theirs)),
                    Side::B => Pair::new(Digest(theirs), content),
                };
                if !tally.differs.is_empty() && content.a == content.b {
                    return Err(LinkError::Moving { side: *side });
                }
                out.say(&Message::Bye)?;
                return Ok((tally.finish(grid.blocks.bytes()), content));
            }
            if suspects.wide {
                // Every chunk was read again as it was, so only what was suspected can have changed since.
                return Err(LinkError::Moving { side: *side });
            }
            suspects = self.by_chunks(&subject, &summary, None, true, out, from)?;
        }
    }

    /// Agrees on what to compare and on a key.
    fn greet(
        &mut self,
        grid: &Grid,
        end: u64,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<Key, LinkError> {
        let Question { size, side, .. } = *self.question;
        let nonce = nonce()?;
        let whole = grid.blocks == ExtentSet::whole(size);
        out.put(&Message::Ask { nonce, size, end, side, whole })?;
        if !whole {
            let blocks = in_units(&grid.blocks, BLOCK);
            let mut runs = blocks.iter();
            loop {
                let blocks: ExtentSet = runs.by_ref().take(MOST_RUNS).collect();
                let last = runs.len() == 0;
                out.put(&Message::Scope { last, blocks })?;
                if last {
                    break;
                }
            }
        }
        out.flush()?;
        self.round_trips += 1;
        match from.next()? {
            // The whole question is part of the key: a side that understood another one gets other sums.
            Message::Begin { nonce: theirs } => Ok(Key::new(&out.said(), &theirs)),
            Message::Outside { has, disk } => {
                let disk = disk.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                Err(LinkError::Outside { side: side.other(), disk, has, end })
            }
            _ => Err(LinkError::rules("a question must be accepted or refused")),
        }
    }

    /// Takes the answerer's sketch, and a larger one where it does not suffice. `None`: none does.
    #[allow(clippy::too_many_arguments)]
    fn unfold(
        &mut self,
        key: &Key,
        grid: &Grid,
        summary: &Summary,
        mut fold: u32,
        width: u8,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<Option<ExtentSet>, LinkError> {
        if fold == 0 {
            return Ok(Some(ExtentSet::empty()));
        }
        if !super::sketch::FULL.is_multiple_of(fold) {
            return Err(LinkError::rules("a sketch must be a fold of the full one"));
        }
        let [a, b, c, _] = key.seeds;
        let mut theirs: Option<Sketch> = None;
        loop {
            let known = theirs.as_ref().map_or(0, Sketch::cells_a_part);
            let bytes = take(from, Sketch::bytes_beyond(fold, known, width), |message| match message {
                Message::Cells { bytes } => Some(bytes),
                _ => None,
            })?;
            let table = Sketch::completed([a, b, c], fold, width, &bytes, theirs.as_ref());
            if let Ok(found) = summary.sketch.folded(fold).peel(&table, width, grid.leaves()) {
                let leaves: ExtentSet = found.into_iter().map(|start| Extent { start, len: 1 }).collect();
                return Ok(Some(leaves));
            }
            let Some(next) = next_fold(fold) else { return Ok(None) };
            fold = next;
            theirs = Some(table);
            self.round_trips += 1;
            out.say(&Message::More { fold })?;
        }
    }

    /// Finds the suspects by the sums of chunks, and then by their leaves.
    fn by_chunks(
        &mut self,
        subject: &Subject<'_>,
        summary: &Summary,
        reply: Option<Message>,
        wide: bool,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<Suspects, LinkError> {
        let grid = subject.grid;
        let reply = match reply {
            Some(reply) => reply,
            None => {
                self.round_trips += 1;
                out.say(&Message::WantChunks { wide })?;
                from.next()?
            }
        };
        let Message::Chunks { estimate, width, lost } = reply else {
            return Err(LinkError::rules("a wish for chunks must be granted"));
        };
        check_lost(grid, &lost)?;
        let asked = grid.asked_chunks();
        let count = usize::try_from(asked.bytes()).unwrap_or(usize::MAX);
        let bytes = take(from, count.saturating_mul(usize::from(width)), |message| match message {
            Message::Values { bytes } => Some(bytes),
            _ => None,
        })?;
        let mut differing = ExtentSet::empty();
        let numbers = asked.iter().flat_map(|run| run.start..run.end());
        for (chunk, theirs) in numbers.zip(lows(&bytes, width)) {
            let mine = usize::try_from(chunk).ok().and_then(|at| summary.chunks.get(at));
            if mine.is_none_or(|mine| low(*mine, width) != theirs) {
                differing.push(Extent { start: chunk, len: 1 });
            }
        }
        let lost = lost.union(&in_leaves(&summary.lost));
        let leaves = grid.leaves_of(&differing).intersect(&grid.asked_leaves());
        // Where most of it differs anyway, hashes of leaves would only be added to those of blocks.
        if !wide && estimate.saturating_mul(2) > leaves.bytes() {
            return Ok(Suspects { leaves: leaves.union(&lost), wide });
        }
        let found = self.by_leaves(subject, summary, &differing, wide, out, from)?;
        Ok(Suspects { leaves: found.union(&lost), wide })
    }

    /// Compares the leaves of some chunks. Each chunk must still have the sum that it had in the first pass.
    fn by_leaves(
        &mut self,
        subject: &Subject<'_>,
        summary: &Summary,
        chunks: &ExtentSet,
        wide: bool,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<ExtentSet, LinkError> {
        let grid = subject.grid;
        let per_chunk = grid.leaves_per_chunk();
        let width = if wide { 16 } else { short_width(chunks.bytes().saturating_mul(per_chunk)) };
        // Whole chunks, at least one.
        let batches = batches(chunks, (BATCH / per_chunk).max(1)).map(|chunks| grid.leaves_of(&chunks));
        let side = self.question.side;
        let work = |leaves: ExtentSet| {
            let values = subject.leaf_values(&leaves).map_err(LinkError::Again)?;
            check_chunks(grid, summary, &values, side)?;
            Ok((leaves, values))
        };
        let batch = |(leaves, values): &(ExtentSet, Vec<(u64, u128)>)| {
            let mut hashes = Vec::with_capacity(values.len() * usize::from(width));
            values.iter().for_each(|(_, value)| put_low(&mut hashes, *value, width));
            Message::Batch {
                level: Level::Leaves,
                width,
                leaves: leaves.clone(),
                hashes,
                unreadable: Vec::new(),
            }
        };
        let mut found = ExtentSet::empty();
        let judge = |(_, values): (ExtentSet, Vec<(u64, u128)>), verdict: Message| {
            let Message::Verdict { differs, unreadable } = verdict else {
                return Err(LinkError::rules("a batch must be answered by a verdict"));
            };
            if !unreadable.is_empty() {
                return Err(LinkError::rules("only blocks can be unreadable"));
            }
            let differs = from_bits(&differs, values.len())?;
            for ((leaf, _), _) in values.iter().zip(differs).filter(|(_, differs)| *differs) {
                found.push(Extent { start: *leaf, len: 1 });
            }
            Ok(())
        };
        self.round_trips += 1;
        self.progress.begin("examine", grid.leaves_of(chunks).bytes().saturating_mul(super::LEAF));
        self.exchange(batches, work, batch, judge, out, from)?;
        self.progress.finish();
        out.say(&Message::Turn)?;
        Ok(found)
    }

    /// Compares the blocks of the suspects. The result: what was found, the answerer's sums, and this side's digest.
    fn by_blocks(
        &mut self,
        subject: &Subject<'_>,
        summary: &Summary,
        suspects: &Suspects,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<(Tally, Message, Digest), LinkError> {
        let grid = subject.grid;
        let leaves = suspects.leaves.intersect(&grid.asked_leaves());
        let count = leaves.bytes().saturating_mul(super::LEAF / BLOCK);
        let width = if suspects.wide { 16 } else { short_width(count) };
        let work = |leaves: ExtentSet| {
            let blocks = subject.block_values(&leaves).map_err(LinkError::Again)?;
            Ok((leaves, blocks))
        };
        let batch = |(leaves, blocks): &(ExtentSet, Blocks)| {
            let mut hashes = Vec::with_capacity(blocks.blocks.len() * usize::from(width));
            blocks.blocks.iter().for_each(|(_, value)| put_low(&mut hashes, value.unwrap_or(0), width));
            let (leaves, unreadable) = (leaves.clone(), blocks.gaps.clone());
            Message::Batch { level: Level::Blocks, width, leaves, hashes, unreadable }
        };
        let mut tally = Tally::new(self.question.side);
        let judge = |(_, mine): (ExtentSet, Blocks), verdict: Message| {
            let Message::Verdict { differs, unreadable } = verdict else {
                return Err(LinkError::rules("a batch must be answered by a verdict"));
            };
            tally.enter(&mine, &unreadable, &from_bits(&differs, mine.blocks.len())?)
        };
        self.round_trips += 1;
        self.progress.begin("examine", leaves.bytes().saturating_mul(super::LEAF));
        self.exchange(batches(&leaves, BATCH), work, batch, judge, out, from)?;
        self.progress.finish();
        let rest = summary.total.wrapping_sub(tally.suspects);
        out.say(&Message::Closing { rest, equal: tally.equal })?;
        let (disk, threads, progress) = (self.disk, self.options.threads(), self.progress);
        let differs = &tally.differs;
        let (content, closed) = while_listening(
            out,
            from,
            self.options.pulse,
            |early| matches!(early, Message::Closed { .. }),
            |_| content_digest(disk, differs, threads, progress).map_err(LinkError::Again),
            |_, _| Ok(()),
        )?;
        Ok((tally, closed, content))
    }

    /// Sends batches while their answers come in: this side reads and hashes ahead, and neither waits for the other.
    fn exchange<T: Send>(
        &self,
        mut batches: impl Iterator<Item = ExtentSet> + Send,
        work: impl Fn(ExtentSet) -> Result<T, LinkError> + Sync,
        batch: impl Fn(&T) -> Message,
        mut judge: impl FnMut(T, Message) -> Result<(), LinkError> + Send,
        out: &mut Out<'_>,
        from: &mut In<'_>,
    ) -> Result<(), LinkError> {
        let line = Line { state: Mutex::new(Unanswered::new()), changed: Condvar::new() };
        let advance = |leaves: &ExtentSet| self.progress.advance(leaves.bytes().saturating_mul(super::LEAF));
        std::thread::scope(|scope| {
            let listen = || {
                // Also after a panic: the sender must not wait for ever.
                let _hang_up = HangUp { line: &line };
                let mut ended = None;
                while let Some(sent) = line.next() {
                    match from.next() {
                        Err(error) => {
                            let gone = matches!(error, LinkError::Channel(_));
                            ended.get_or_insert(error);
                            line.deafen();
                            if gone {
                                break;
                            }
                        }
                        // What is on its way after an error is taken all the same, or the peer could not read on.
                        Ok(verdict) if ended.is_none() => {
                            ended = judge(sent, verdict).inspect_err(|_| line.deafen()).err();
                        }
                        Ok(_) => {}
                    }
                    line.answered();
                }
                ended
            };
            let listener =
                std::thread::Builder::new().spawn_scoped(scope, listen).map_err(LinkError::NoThread)?;
            let source = || {
                let next = batches.next();
                next.iter().for_each(&advance);
                Ok(next)
            };
            let sent = in_order(self.options.threads(), self.options.pulse, source, work, |step| {
                let Step::Done(done) = step else { return out.say(&Message::Working) };
                let done = done.inspect_err(|error| out.abort(error))?;
                let message = batch(&done);
                // Entered before it is sent: the answer may be faster than this thread.
                if !line.enter(done) {
                    // The listener knows why.
                    return Err(LinkError::rules("the listener ended"));
                }
                out.say(&message)
            });
            line.close();
            let heard = listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match heard {
                // What the peer said explains more than that sending failed; but not if it only answered our own abort.
                Some(error)
                    if !matches!(
                        (&error, &sent),
                        (LinkError::Peer { .. }, Err(LinkError::Again(_) | LinkError::Moving { .. }))
                    ) =>
                {
                    Err(error)
                }
                _ => sent,
            }
        })
    }
}

/// Batches that were sent and not answered yet.
struct Unanswered<T> {
    waiting: VecDeque<T>,
    /// Sent, taken by the listener, and not yet judged.
    open: usize,
    /// No further batch will be sent.
    closed: bool,
    /// Nobody listens any more.
    deaf: bool,
}

impl<T> Unanswered<T> {
    fn new() -> Self {
        Unanswered { waiting: VecDeque::new(), open: 0, closed: false, deaf: false }
    }
}

struct Line<T> {
    state: Mutex<Unanswered<T>>,
    changed: Condvar,
}

impl<T> Line<T> {
    /// Enters a batch about to be sent, once few enough are open; `false` when nobody listens any more.
    fn enter(&self, sent: T) -> bool {
        let mut state = lock(&self.state);
        while state.open >= UNANSWERED && !state.deaf {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let heard = !state.deaf;
        state.open += 1;
        state.waiting.push_back(sent);
        self.changed.notify_all();
        heard
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// The next batch to be answered; nothing when all are.
    fn next(&self) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(sent) = state.waiting.pop_front() {
                return Some(sent);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn deafen(&self) {
        lock(&self.state).deaf = true;
        self.changed.notify_all();
    }

    fn answered(&self) {
        lock(&self.state).open -= 1;
        self.changed.notify_all();
    }
}

/// Tells the sender that nobody listens any more.
struct HangUp<'a, T> {
    line: &'a Line<T>,
}

impl<T> Drop for HangUp<'_, T> {
    fn drop(&mut self) {
        self.line.deafen();
    }
}

/// The set cut into portions of at most `most` numbers, ascending.
fn batches(set: &ExtentSet, most: u64) -> impl Iterator<Item = ExtentSet> + Send + use<> {
    // Clones share their bytes.
    let set = set.clone();
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut batch = ExtentSet::empty();
        let mut left = most;
        for run in set.iter_from(at) {
            if left == 0 {
                break;
            }
            // Of the first run a part may have been in the batch before.
            let start = run.start.max(at);
            let taken = (run.end() - start).min(left);
            batch.push(Extent { start, len: taken });
            left -= taken;
        }
        // Several threads may ask again behind the end.
        at = at.max(batch.end());
        Some(batch).filter(|batch| !batch.is_empty())
    })
}

/// Each chunk, of which all leaves are given, must have the sum that it had in the first pass.
pub(super) fn check_chunks(
    grid: &Grid,
    summary: &Summary,
    values: &[(u64, u128)],
    side: Side,
) -> Result<(), LinkError> {
    let chunk = |leaf: u64| leaf / grid.leaves_per_chunk();
    for leaves in values.chunk_by(|one, next| chunk(one.0) == chunk(next.0)) {
        let sum = leaves.iter().fold(0u128, |sum, (_, value)| sum.wrapping_add(*value));
        let before =
            leaves.first().and_then(|(leaf, _)| summary.chunks.get(usize::try_from(chunk(*leaf)).ok()?));
        if before != Some(&sum) {
            return Err(LinkError::Moving { side });
        }
    }
    Ok(())
}

/// Bytes of a short hash where that many are compared: a wrong "equal" is to be rarer than once in a thousand
/// comparisons. It is found out by the sums at the end and costs a second try.
pub(super) fn short_width(count: u64) -> u8 {
    let bits = 64 - count.leading_zeros() + 10;
    u8::try_from(bits.div_ceil(8).clamp(2, 16)).unwrap_or(16)
}

/// What the peer could not read must be leaves of this volume.
pub(super) fn check_lost(grid: &Grid, lost: &ExtentSet) -> Result<(), LinkError> {
    if lost.end() > grid.leaves() {
        return Err(LinkError::rules("what cannot be read must lie inside the volume"));
    }
    Ok(())
}

/// Takes exactly `len` bytes from as many messages as it needs.
fn take(
    from: &mut In<'_>,
    len: usize,
    bytes_of: impl Fn(Message) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, LinkError> {
    let mut all = Vec::new();
    while all.len() < len {
        let bytes = bytes_of(from.next()?).ok_or(LinkError::rules("a table must come in one go"))?;
        if bytes.is_empty() || bytes.len() > len - all.len() {
            return Err(LinkError::rules("a table must have the size that was said"));
        }
        all.extend(bytes);
    }
    Ok(all)
}

/// Random bytes.
pub(super) fn nonce() -> Result<[u8; 32], LinkError> {
    let mut nonce = [0; 32];
    let mut filled = 0;
    while filled < nonce.len() {
        filled += rustix::rand::getrandom(&mut nonce[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| LinkError::Random(error.into()))?;
    }
    Ok(nonce)
}
