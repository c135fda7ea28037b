//! The state directory: journal, plans, salvages. Paths are relative, `/`-separated, without `.` or `..`.

use std::io;

/// Why the state directory refused. Says what was tried on which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}")]
pub struct StoreFault {
    /// What was tried, in words: `append to`, `sync`, ...
    pub act: &'static str,
    /// The file or folder, as far as known with its full path.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Files that survive: created, written, synced, renamed. Nothing is durable before `sync` of the file
/// *and*, for a new name, `sync_dir` of its folder.
pub trait Store: Send + Sync {
    /// Full path of a file for people and for other programs (a qcow2's backing file).
    fn locate(&self, path: &str) -> String;
    /// Creates a folder and its parents; fine if it exists.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn create_dir(&self, dir: &str) -> Result<(), StoreFault>;
    /// Creates an empty file, or empties an existing one.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn create(&self, path: &str) -> Result<(), StoreFault>;
    /// Length in bytes; `None` when there is no such file. An unreadable file is an error, not `None`.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn len(&self, path: &str) -> Result<Option<u64>, StoreFault>;
    /// Fills the whole buffer from `offset`.
    ///
    /// # Errors
    /// [`StoreFault`], also when the file is shorter.
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), StoreFault>;
    /// Writes the whole buffer at `offset`, growing the file as needed.
    ///
    /// # Errors
    /// [`StoreFault`]; any part may then have been written.
    fn write_at(&self, path: &str, offset: u64, buffer: &[u8]) -> Result<(), StoreFault>;
    /// Cuts or grows a file to a length.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn set_len(&self, path: &str, len: u64) -> Result<(), StoreFault>;
    /// Makes a file's content and length durable.
    ///
    /// # Errors
    /// [`StoreFault`]; nothing is then known about earlier writes.
    fn sync(&self, path: &str) -> Result<(), StoreFault>;
    /// Makes a folder's names durable. `""` is the state directory itself.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn sync_dir(&self, dir: &str) -> Result<(), StoreFault>;
    /// Renames a file, replacing the target.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreFault>;
    /// Removes a file; fine if it is not there.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn remove(&self, path: &str) -> Result<(), StoreFault>;
    /// Names in a folder, sorted; empty when there is no such folder.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn list(&self, dir: &str) -> Result<Vec<String>, StoreFault>;
    /// Bytes that can still be written.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn free_space(&self) -> Result<u64, StoreFault>;
}
