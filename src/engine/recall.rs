//! Comparisons kept in the state directory, so that looking, planning and reporting do not read the same blocks again.
//!
//! What is kept counts only while everything it rests on is as it was: both superblocks, activity logs and bitmaps, what was
//! asked, and both sides' [`WriteStamp`]s, which change with every write. All of that is the key; whoever cannot say it again
//! does not find the answer. What overwrites never asks here: it reads.
//!
//! Whatever is wrong with the store or with what is kept costs a comparison, never an error.

use super::contents::difference;
use super::inquiry::{InquiryError, Sight, question};
use crate::digest::delta::Question;
use crate::format::comparison::{decode, encode};
use crate::model::delta::{Delta, Scope};
use crate::model::evidence::Source;
use crate::model::id::Digest;
use crate::model::remembered::{Remembered, WriteStamp};
use crate::model::seen::{Stamp, Why};
use crate::model::side::{Pair, Side};
use crate::ports::clock::Clock;
use crate::ports::progress::Progress;
use crate::ports::replica::Replica;
use crate::ports::store::{Store, StoreFault};

/// In the state directory.
const FOLDER: &str = "compared";
/// Comparisons kept, and bytes of them, together. A run takes four bytes or so.
const MOST: usize = 8;
const MOST_BYTES: u64 = 256 << 20;
/// Milliseconds after which what is kept is not believed any more, whatever it says.
const LONGEST: i64 = 7 * 24 * 3600 * 1000;

/// Where comparisons are kept.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// There is no state directory (yet).
    Nowhere,
    /// In one that is open for writing.
    Open(&'a dyn Store),
    /// In one that others may want to write to while disks are read: it is opened for writing only to keep the result.
    Briefly {
        /// For finding.
        reading: &'a dyn Store,
        /// For keeping.
        writing: &'a dyn Fn() -> Result<Box<dyn Store>, Why>,
    },
}

/// Where comparisons are kept, and how to go about it.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// Where.
    pub place: Place<'a>,
    /// For ages.
    pub clock: &'a dyn Clock,
    /// Whether what is kept may be used. If not, everything is read, and kept anew.
    pub believe: bool,
}

/// What a comparison came to, and where it came from.
#[derive(Debug)]
pub struct Recalled {
    /// The divergence.
    pub delta: Delta,
    /// When the comparison was made, if not now.
    pub compared_at: Option<Stamp>,
    /// Sentences about kept comparisons that were passed over because they are damaged or foreign.
    pub remarks: Vec<String>,
    /// Why the result was not kept for later, if so.
    pub not_kept: Option<Why>,
}

/// Compares contents as [`super::inquiry::diff`] does, or finds that it was done before and that nothing changed since.
///
/// # Errors
/// [`InquiryError`].
pub fn diff(
    replicas: Pair<&dyn Replica>,
    sight: &Sight,
    full: bool,
    threads: usize,
    progress: &dyn Progress,
    memory: &Memory<'_>,
) -> Result<Recalled, InquiryError> {
    let question = question(sight, full)?;
    let began = memory.clock.now();
    let (reading, stamps) = match memory.place {
        Place::Open(store) | Place::Briefly { reading: store, .. } => (Some(store), stamps(replicas)),
        Place::Nowhere => (None, Err(Why::from("there is no state directory"))),
    };
    let sources = Pair::from_fn(|side| &sight.evidence[side].source);
    let mut remarks = Vec::new();
    let key = stamps.as_ref().map(|stamps| key(sight, &question, stamps)).map_err(Clone::clone);
    if let (Some(store), Ok(key), true) = (reading, &key, memory.believe)
        && let Some(kept) = find(store, key, &question, began, &mut remarks)
    {
        let compared_at = Some(kept.at);
        return Ok(Recalled { delta: answer(question, kept), compared_at, remarks, not_kept: None });
    }
    let delta = difference(replicas, question, threads, progress)?;
    let not_kept = key.and_then(|key| {
        let before = stamps?;
        let bytes = worth_keeping(&key, &delta, began, &before, || self::stamps(replicas))?;
        let name = Entry::name_of(began, &pair(sources), &key);
        let put = |store: &dyn Store| put(store, &name, &bytes, began);
        match memory.place {
            Place::Open(store) => put(store),
            Place::Briefly { writing, .. } => put(&*writing()?),
            Place::Nowhere => return Err(Why::from("there is no state directory")),
        }
        .map_err(|fault| Why(format!("{fault}: {}", fault.source)))
    });
    let not_kept = not_kept.err();
    Ok(Recalled { delta, compared_at: None, remarks, not_kept })
}

fn stamps(replicas: Pair<&dyn Replica>) -> Result<Pair<WriteStamp>, Why> {
    Ok(Pair::new(replicas.a.write_stamp()?, replicas.b.write_stamp()?))
}

fn answer(question: Question, kept: Remembered) -> Delta {
    let Question { size, marked, doubt, marks_complete, scope } = question;
    let Remembered { compared, differs, content, .. } = kept;
    let (marked, doubt) = (marked.map(|set| set.clip(size)), doubt.map(|set| set.clip(size)));
    Delta { size, scope, marked, doubt, marks_complete, differs, content, unreadable: Vec::new(), compared }
}

/// All that a comparison rests on. Sides are not interchangeable.
fn key(sight: &Sight, question: &Question, stamps: &Pair<WriteStamp>) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("unsplit 1 comparison");
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for side in Side::BOTH {
        let (evidence, source) = (&sight.evidence[side], &sight.evidence[side].source);
        field(&sight.superblocks[side].0[..]);
        field(&evidence.superblock_digest.0);
        field(&evidence.area_digest.0);
        field(format!("{} {} {:?}", source.data_size, source.metadata_size, source.place).as_bytes());
        field(&source.superblock_at.to_le_bytes());
        field(stamps[side].words.as_bytes());
        // Marks follow from the above and from the role that the operator told; they are what was asked.
        for set in [&question.marked[side], &question.doubt[side]] {
            field(&(set.runs() as u64).to_le_bytes());
            for run in set {
                field(&run.start.to_le_bytes());
                field(&run.len.to_le_bytes());
            }
        }
    }
    field(&question.size.to_le_bytes());
    field(&[u8::from(question.marks_complete), u8::from(question.scope == Scope::Everything)]);
    Digest(*hasher.finalize().as_bytes())
}

/// Which pair of disks, by their paths: for removing what is kept of it.
fn pair(sources: Pair<&Source>) -> String {
    let mut hasher = blake3::Hasher::new();
    for path in [&sources.a.data, &sources.a.metadata, &sources.b.data, &sources.b.metadata] {
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes()).short()
}

/// A kept comparison's file: names sort by age.
struct Entry {
    name: String,
    at: Stamp,
}

impl Entry {
    fn name_of(at: Stamp, pair: &str, key: &Digest) -> String {
        format!("{:016}-{pair}-{key}", at.0.max(0))
    }

    fn parse(name: String) -> Option<Entry> {
        let (at, rest) = name.split_once('-')?;
        let (pair, key) = rest.split_once('-')?;
        let at = Stamp(at.parse().ok()?);
        (pair.len() == 12 && key.parse::<Digest>().is_ok()).then_some(Entry { name, at })
    }

    fn path(&self) -> String {
        format!("{FOLDER}/{}", self.name)
    }
}

/// What is kept, oldest first.
fn entries(store: &dyn Store) -> Result<Vec<Entry>, StoreFault> {
    Ok(store.list(FOLDER)?.into_iter().filter_map(Entry::parse).collect())
}

fn find(
    store: &dyn Store,
    key: &Digest,
    question: &Question,
    now: Stamp,
    remarks: &mut Vec<String>,
) -> Option<Remembered> {
    let end = format!("-{key}");
    // A store that cannot be read holds nothing; what keeps the plan there will say so.
    for entry in entries(store).ok()?.into_iter().rev().filter(|entry| entry.name.ends_with(&end)) {
        if expired(entry.at, now) {
            continue;
        }
        let why = match read(store, &entry).map(|bytes| decode(key, &bytes)) {
            Ok(Ok(kept)) if kept.scope == question.scope && kept.size == question.size => return Some(kept),
            Ok(Ok(_)) => "it answers another question".to_owned(),
            Ok(Err(flaw)) => flaw.to_string(),
            Err(fault) => fault,
        };
        remarks.push(format!(
            "A kept comparison, {}, is not used: {why}. The disks are read instead",
            store.locate(&entry.path())
        ));
    }
    None
}

fn expired(at: Stamp, now: Stamp) -> bool {
    now.0.saturating_sub(at.0) > LONGEST
}

fn read(store: &dyn Store, entry: &Entry) -> Result<Vec<u8>, String> {
    let fault = |fault: StoreFault| format!("{fault}: {}", fault.source);
    let len = store.len(&entry.path()).map_err(fault)?.unwrap_or(0);
    if len > MOST_BYTES {
        return Err("it is far too long".to_owned());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    store.read_at(&entry.path(), 0, &mut bytes).map_err(fault)?;
    Ok(bytes)
}

/// The bytes to keep, if the result is good for later.
fn worth_keeping(
    key: &Digest,
    delta: &Delta,
    began: Stamp,
    before: &Pair<WriteStamp>,
    after: impl FnOnce() -> Result<Pair<WriteStamp>, Why>,
) -> Result<Vec<u8>, Why> {
    if !delta.unreadable.is_empty() {
        return Err(Why::from("not everything could be read"));
    }
    for side in Side::BOTH {
        if began < before[side].settled_at {
            return Err(format!("side {side} was written a moment before").into());
        }
    }
    if after()? != *before {
        return Err(Why::from("something was written meanwhile"));
    }
    let kept = Remembered {
        at: began,
        scope: delta.scope,
        size: delta.size,
        compared: delta.compared,
        differs: delta.differs.clone(),
        content: delta.content,
    };
    let bytes = encode(key, &kept);
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Why::from("it is too large"));
    }
    Ok(bytes)
}

/// Writes beside, syncs, renames; the oldest ones make room.
fn put(store: &dyn Store, name: &str, bytes: &[u8], now: Stamp) -> Result<(), StoreFault> {
    let len = bytes.len() as u64;
    store.create_dir(FOLDER)?;
    // What a cut left half written has no name that counts.
    for left in store.list(FOLDER)?.into_iter().filter(|name| name.ends_with(".tmp")) {
        store.remove(&format!("{FOLDER}/{left}"))?;
    }
    let key = name.rsplit('-').next().unwrap_or(name);
    let (mut count, mut total) = (1, len);
    for entry in entries(store)?.into_iter().rev() {
        let size = store.len(&entry.path())?.unwrap_or(0);
        let over = count >= MOST || total.saturating_add(size) > MOST_BYTES;
        if over || expired(entry.at, now) || entry.name.ends_with(key) {
            store.remove(&entry.path())?;
        } else {
            (count, total) = (count + 1, total + size);
        }
    }
    let path = format!("{FOLDER}/{name}");
    let beside = format!("{path}.tmp");
    store.create(&beside)?;
    store.write_at(&beside, 0, bytes)?;
    store.sync(&beside)?;
    store.rename(&beside, &path)?;
    store.sync_dir(FOLDER)
}

/// Removes what is kept of a pair: its incident is over.
///
/// # Errors
/// [`StoreFault`]; harmless, since what is left answers to nothing that can still be asked.
pub fn forget(store: &dyn Store, sources: Pair<&Source>) -> Result<(), StoreFault> {
    let tag = format!("-{}-", pair(sources));
    for entry in entries(store)?.iter().filter(|entry| entry.name.contains(&tag)) {
        store.remove(&entry.path())?;
    }
    Ok(())
}
