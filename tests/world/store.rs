//! A state directory in memory: contents behind a write cache, and names that are durable only after
//! `sync_dir` of their folder. Stricter than most file systems, exactly as strict as POSIX.

use super::cache::Cached;
use super::faults::{Faults, Op, Verdict};
use super::rng::Rng;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use unsplit::model::id::Digest;
use unsplit::ports::store::{Store, StoreFault};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// A change of names, atomic, durable with the folder it happened in.
#[derive(Debug, Clone)]
enum Change {
    Link(String, Node),
    Unlink(String),
    Rename(String, String),
}

impl Change {
    fn folder(&self) -> &str {
        let (Change::Link(path, _) | Change::Unlink(path) | Change::Rename(_, path)) = self;
        parent(path)
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Change::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Change::Unlink(path) => {
                names.remove(path);
            }
            Change::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    changes: Vec<Change>,
    files: Vec<Cached>,
}

impl State {
    fn file(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(index)) => Ok(*index),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn has_dir(&self, dir: &str) -> bool {
        dir.is_empty() || self.names.get(dir) == Some(&Node::Dir)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(index) => Some(self.files[*index].visible().len() as u64),
            Node::Dir => None,
        });
        files.sum()
    }

    /// What had become durable comes back, and of the other changes of each folder the first few.
    fn power_cut(&mut self, rng: &mut Rng) {
        let mut kept: BTreeMap<String, u64> = BTreeMap::new();
        for change in &self.changes {
            *kept.entry(change.folder().to_owned()).or_default() += 1;
        }
        for many in kept.values_mut() {
            *many = rng.below(*many + 1);
        }
        for change in std::mem::take(&mut self.changes) {
            let left = kept.get_mut(change.folder()).unwrap();
            if *left > 0 {
                *left -= 1;
                change.apply(&mut self.durable_names);
            }
        }
        self.drop_orphans();
        self.names.clone_from(&self.durable_names);
        for file in &mut self.files {
            file.power_cut(rng);
        }
    }

    /// What stands in a folder that is not there cannot be found.
    fn drop_orphans(&mut self) {
        let names = self.durable_names.clone();
        self.durable_names.retain(|path, _| {
            let mut dir = parent(path);
            while !dir.is_empty() {
                if names.get(dir) != Some(&Node::Dir) {
                    return false;
                }
                dir = parent(dir);
            }
            true
        });
    }
}

/// A state directory.
pub struct FakeStore {
    state: Mutex<State>,
    limit: u64,
    faults: Arc<Faults>,
}

impl FakeStore {
    /// Empty, with space for `limit` bytes.
    pub fn new(limit: u64, faults: Arc<Faults>) -> FakeStore {
        FakeStore { state: Mutex::default(), limit, faults }
    }

    /// A file's content as a reader sees it, without counting as an operation.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.file(path).ok().map(|index| state.files[index].visible().to_vec())
    }

    /// What is certain to survive a power cut, as a store of its own in which nothing goes wrong.
    pub fn certain(&self) -> FakeStore {
        let state = self.state.lock().unwrap();
        let files = state.files.iter().map(|file| Cached::durable(file.certain())).collect();
        let names = state.durable_names.clone();
        let mut certain = State { names: names.clone(), durable_names: names, changes: Vec::new(), files };
        certain.drop_orphans();
        FakeStore { state: Mutex::new(certain), limit: self.limit, faults: Arc::new(Faults::none()) }
    }

    /// A digest of the names and contents in a folder and below, without counting as an operation.
    pub fn fingerprint(&self, folder: &str) -> Digest {
        let state = self.state.lock().unwrap();
        let mut hasher = blake3::Hasher::new();
        for (path, node) in state.names.iter().filter(|(path, _)| path.starts_with(folder)) {
            let content = match node {
                Node::Dir => &[][..],
                Node::File(index) => state.files[*index].visible(),
            };
            hasher.update(path.as_bytes()).update(&(content.len() as u64).to_le_bytes()).update(content);
        }
        Digest(*hasher.finalize().as_bytes())
    }

    /// All files' paths, without counting as an operation.
    pub fn paths(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.names.iter().filter(|(_, node)| **node != Node::Dir).map(|(path, _)| path.clone()).collect()
    }

    /// Somebody else puts a file there, durably, without counting as an operation.
    pub fn plant(&self, path: &str, content: &[u8]) {
        let mut state = self.state.lock().unwrap();
        assert!(state.has_dir(parent(path)), "no folder for {path}");
        let node = Node::File(state.files.len());
        state.files.push(Cached::durable(content));
        state.names.insert(path.to_owned(), node);
        state.durable_names.insert(path.to_owned(), node);
    }

    /// The power goes.
    pub fn power_cut(&self, rng: &mut Rng) {
        self.state.lock().unwrap().power_cut(rng);
    }

    /// Counts one operation on `path`, then does `act`, or what the verdict leaves of it.
    fn operate<T>(
        &self,
        op: Op,
        act: &'static str,
        path: &str,
        run: impl FnOnce(&mut State, Option<&mut Verdict>) -> io::Result<T>,
    ) -> Result<T, StoreFault> {
        let fault = |source| StoreFault { act, path: self.locate(path), source };
        let safe = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !safe && !path.is_empty() {
            return Err(fault(io::ErrorKind::InvalidInput.into()));
        }
        let verdict = self.faults.next(op, || format!("{act} {path}")).map_err(fault)?;
        let mut state = self.state.lock().unwrap();
        match verdict {
            None => run(&mut state, None).map_err(fault),
            Some(mut verdict) => {
                // The operation's own error says less than the fault's.
                let _ = run(&mut state, Some(&mut verdict));
                Err(fault(verdict.error))
            }
        }
    }

    /// A change of names happens wholly or not at all.
    fn rename_names(
        &self,
        act: &'static str,
        path: &str,
        run: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> Result<(), StoreFault> {
        self.operate(Op::Write, act, path, |state, verdict| {
            let skipped = verdict.is_some_and(|verdict| !verdict.whole && verdict.rng.one_in(2));
            if skipped { Ok(()) } else { run(state) }
        })
    }
}

impl Store for FakeStore {
    fn locate(&self, path: &str) -> String {
        format!("/state/{path}")
    }

    fn create_dir(&self, dir: &str) -> Result<(), StoreFault> {
        self.rename_names("create the folder", dir, |state| {
            let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
            for end in ends {
                match state.names.get(&dir[..end]) {
                    Some(Node::Dir) => {}
                    Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                    None => state.change(Change::Link(dir[..end].to_owned(), Node::Dir)),
                }
            }
            Ok(())
        })
    }

    fn create(&self, path: &str) -> Result<(), StoreFault> {
        self.rename_names("create", path, |state| {
            if !state.has_dir(parent(path)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            match state.file(path) {
                Ok(index) => state.files[index].set_len(0),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let node = Node::File(state.files.len());
                    state.files.push(Cached::default());
                    state.change(Change::Link(path.to_owned(), node));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })
    }

    fn len(&self, path: &str) -> Result<Option<u64>, StoreFault> {
        self.operate(Op::Read, "look at", path, |state, _| match state.file(path) {
            Ok(index) => Ok(Some(state.files[index].visible().len() as u64)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), StoreFault> {
        self.operate(Op::Read, "read", path, |state, _| {
            let bytes = state.files[state.file(path)?].visible();
            let start = usize::try_from(offset).unwrap();
            let found = bytes.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, path: &str, offset: u64, buffer: &[u8]) -> Result<(), StoreFault> {
        let limit = self.limit;
        self.operate(Op::Write, "write to", path, |state, verdict| {
            let index = state.file(path)?;
            let start = usize::try_from(offset).unwrap();
            let mut part = verdict.map_or(buffer.len(), |verdict| verdict.part(buffer.len()));
            let grows = (start + part).saturating_sub(state.files[index].visible().len());
            let room = usize::try_from(limit.saturating_sub(state.used())).unwrap();
            let full = grows > room;
            if full {
                part = part.saturating_sub(grows - room);
            }
            state.files[index].write(start, &buffer[..part]);
            if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn set_len(&self, path: &str, len: u64) -> Result<(), StoreFault> {
        self.rename_names("set the length of", path, |state| {
            let index = state.file(path)?;
            state.files[index].set_len(usize::try_from(len).unwrap());
            Ok(())
        })
    }

    fn sync(&self, path: &str) -> Result<(), StoreFault> {
        self.operate(Op::Flush, "sync", path, |state, verdict| {
            let index = state.file(path)?;
            match verdict {
                Some(verdict) if !verdict.whole => state.files[index].fail_flush(&mut verdict.rng),
                _ => state.files[index].flush(),
            }
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> Result<(), StoreFault> {
        self.operate(Op::Flush, "sync the folder", dir, |state, verdict| {
            if !state.has_dir(dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let fails = verdict.is_some_and(|verdict| !verdict.whole && verdict.rng.one_in(2));
            if !fails {
                let (done, open) = std::mem::take(&mut state.changes)
                    .into_iter()
                    .partition(|change: &Change| change.folder() == dir);
                state.changes = open;
                let done: Vec<Change> = done;
                done.iter().for_each(|change| change.apply(&mut state.durable_names));
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreFault> {
        self.rename_names("rename", from, |state| {
            state.file(from)?;
            if !state.has_dir(parent(to)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.change(Change::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Result<(), StoreFault> {
        self.rename_names("remove", path, |state| match state.file(path) {
            Ok(_) => {
                state.change(Change::Unlink(path.to_owned()));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreFault> {
        self.operate(Op::Read, "list", dir, |state, _| {
            let below = if dir.is_empty() { String::new() } else { format!("{dir}/") };
            let names = state.names.keys().filter_map(|path| path.strip_prefix(&below));
            Ok(names.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect())
        })
    }

    fn free_space(&self) -> Result<u64, StoreFault> {
        let limit = self.limit;
        self.operate(
            Op::Read,
            "ask for the free space",
            "",
            |state, _| Ok(limit.saturating_sub(state.used())),
        )
    }
}
