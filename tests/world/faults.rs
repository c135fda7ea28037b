//! What goes wrong, and when: a schedule over the count of all port operations of a world.

use super::rng::Rng;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, OnceLock};

/// What an operation does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Looks.
    Read,
    /// Changes content, length or names, in the cache only.
    Write,
    /// Makes durable.
    Flush,
}

/// What can go wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`. A write has then been done in any part; after a flush part of the cache is lost for good,
    /// although it can still be read, and the next flush says nothing of it.
    Io,
    /// A write that ends early (`WriteZero`); any other operation fails with `EIO`.
    Short,
    /// `ENOSPC` on a write, after any part of it; any other operation goes well.
    NoSpace,
    /// Somebody else writes to a side's data, just before the operation. Not before a write: between looking at a piece and
    /// replacing it nobody can see it, so it comes after that.
    Foreign,
    /// A read fails, and so does every later one of that disk that touches the same bytes, until the reboot. Any other
    /// operation goes well.
    Bad,
    /// A disk says that it wrote, and did not. On anything but a write to a side's devices nothing goes wrong.
    Lost,
    /// From here on the devices are not ours alone any more.
    Claim,
    /// The power goes: the operation is done in the cache or not at all, and fails, and so does every
    /// operation after it, until the reboot.
    Cut,
}

/// The error of every operation while the power is off. Recognise it with [`is_power_cut`].
#[derive(Debug, thiserror::Error)]
#[error("the power is off")]
pub struct PowerIsOff;

/// Whether an error, or any of its causes, says that the power is off.
pub fn is_power_cut(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<PowerIsOff>() {
            return true;
        }
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.get_ref().is_some_and(|inner| inner.is::<PowerIsOff>())
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// What others do when a fault comes: the fault, the operation, and the operation in words.
pub type Others = Box<dyn Fn(Fault, Op, &str) + Send + Sync>;

#[derive(Debug)]
struct State {
    count: u64,
    schedule: BTreeMap<u64, Fault>,
    off: bool,
    /// A disk's bytes that cannot be read.
    bad: Option<(String, u64, u64)>,
    rng: Rng,
    log: Vec<String>,
    /// Whether operations count; they do not while a test looks at the world.
    paused: bool,
}

/// The schedule. Shared by everything in one world; operations are counted from 0.
pub struct Faults(Mutex<State>, OnceLock<Others>);

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.0).finish()
    }
}

impl Faults {
    /// Is told of every fault when it comes. Once only.
    pub fn tell(&self, others: Others) {
        assert!(self.1.set(others).is_ok(), "one listener");
    }

    /// Faults at these operations.
    pub fn schedule(seed: u64, faults: impl IntoIterator<Item = (u64, Fault)>) -> Faults {
        let state = State {
            count: 0,
            schedule: faults.into_iter().collect(),
            off: false,
            bad: None,
            rng: Rng::new(seed ^ 0xFA17),
            log: Vec::new(),
            paused: false,
        };
        Faults(Mutex::new(state), OnceLock::new())
    }

    /// Nothing goes wrong.
    pub fn none() -> Faults {
        Faults::schedule(0, [])
    }

    /// One fault.
    pub fn at(op: u64, fault: Fault) -> Faults {
        Faults::schedule(op, [(op, fault)])
    }

    /// Up to `most` faults of any kind, among the first `ops` operations.
    pub fn from_seed(seed: u64, ops: u64, most: u64) -> Faults {
        let mut rng = Rng::new(seed);
        let many = rng.below(most + 1);
        let faults: Vec<_> = (0..many)
            .map(|_| {
                let fault = [Fault::Io, Fault::Short, Fault::NoSpace, Fault::Cut];
                (rng.below(ops), fault[usize::try_from(rng.below(4)).unwrap()])
            })
            .collect();
        Faults::schedule(seed, faults)
    }

    /// How many operations there were.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap().count
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.0.lock().unwrap().off
    }

    /// The power is on again, and nothing more goes wrong.
    pub fn reboot(&self) {
        let mut state = self.0.lock().unwrap();
        state.off = false;
        state.bad = None;
        state.schedule.clear();
    }

    /// From here on operations neither count nor fail, even while the power is off: a test looks.
    pub fn pause(&self) {
        self.0.lock().unwrap().paused = true;
    }

    /// The test has looked.
    pub fn unpause(&self) {
        self.0.lock().unwrap().paused = false;
    }

    /// Faults from here on: operation 0 of the schedule is the next one.
    pub fn go_on(&self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        let mut state = self.0.lock().unwrap();
        let count = state.count;
        state.schedule = faults.into_iter().map(|(op, fault)| (count + op, fault)).collect();
    }

    /// Every operation so far, in words, for the message of a failing test.
    pub fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    /// Counts one operation. `Ok(None)`: do it. `Ok(Some(..))`: do what the verdict says, then fail.
    ///
    /// # Errors
    /// The operation does nothing and fails so.
    pub fn next(&self, op: Op, words: impl FnOnce() -> String) -> io::Result<Option<Verdict>> {
        let mut state = self.0.lock().unwrap();
        if state.paused {
            return Ok(None);
        }
        if state.off {
            return Err(power_is_off());
        }
        let index = state.count;
        state.count += 1;
        let fault = state.schedule.remove(&index);
        let fault = match fault {
            Some(Fault::Foreign) if op == Op::Write => {
                state.schedule.entry(index + 1).or_insert(Fault::Foreign);
                None
            }
            other => other,
        };
        let note = fault.map_or_else(String::new, |fault| format!(" <- {fault:?}"));
        let words = words();
        state.log.push(format!("{index}: {words}{note}"));
        if let (Some(fault), Some(others)) = (fault, self.1.get()) {
            drop(state);
            others(fault, op, &words);
            state = self.0.lock().unwrap();
        }
        let verdict = |state: &mut State, error: io::Error| {
            Ok(Some(Verdict { rng: Rng::new(state.rng.next()), whole: false, silent: false, error }))
        };
        if let (Some((disk, start, end)), Some(read)) = (&state.bad, read_of(&words))
            && *disk == read.0
            && read.1 < *end
            && *start < read.2
        {
            return Err(io_error());
        }
        match (fault, op) {
            (None | Some(Fault::Foreign | Fault::Claim), _)
            | (Some(Fault::NoSpace), Op::Read | Op::Flush) => Ok(None),
            (Some(Fault::Lost), Op::Write) if words.starts_with("write /dev/") => {
                let rng = Rng::new(state.rng.next());
                Ok(Some(Verdict { rng, whole: false, silent: true, error: io_error() }))
            }
            (Some(Fault::Lost), _) => Ok(None),
            (Some(Fault::Bad), Op::Read) => {
                state.bad = read_of(&words);
                Err(io_error())
            }
            (Some(Fault::Bad), _) => Ok(None),
            (Some(Fault::Cut), _) => {
                state.off = true;
                if state.rng.one_in(2) {
                    return Err(power_is_off());
                }
                let rng = Rng::new(state.rng.next());
                Ok(Some(Verdict { rng, whole: true, silent: false, error: power_is_off() }))
            }
            (Some(Fault::Io | Fault::Short), Op::Read) => Err(io_error()),
            (Some(Fault::Io), _) | (Some(Fault::Short), Op::Flush) => verdict(&mut state, io_error()),
            (Some(Fault::Short), Op::Write) => verdict(&mut state, io::ErrorKind::WriteZero.into()),
            (Some(Fault::NoSpace), Op::Write) => verdict(&mut state, io::ErrorKind::StorageFull.into()),
        }
    }
}

/// The disk, first byte and end of a read, by the words for it.
fn read_of(words: &str) -> Option<(String, u64, u64)> {
    let (disk, place) = words.strip_prefix("read ")?.split_once(" at ")?;
    let (start, len) = place.split_once(" for ")?;
    let (start, len): (u64, u64) = (start.parse().ok()?, len.parse().ok()?);
    Some((disk.to_owned(), start, start + len))
}

/// What a failing operation does before it fails.
#[derive(Debug)]
pub struct Verdict {
    /// Where chance is needed.
    pub rng: Rng,
    /// Whether it is done wholly (a cut just after it), rather than in any part.
    pub whole: bool,
    /// Whether nothing is done and nothing is said.
    pub silent: bool,
    /// How it fails.
    pub error: io::Error,
}

impl Verdict {
    /// How many of `len` bytes a write gets through.
    pub fn part(&mut self, len: usize) -> usize {
        if self.whole { len } else { usize::try_from(self.rng.below(len as u64 + 1)).unwrap() }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other(PowerIsOff)
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}
