//! A comparison that was made before, and what shows that nothing was written since.

use super::delta::Scope;
use super::extent::ExtentSet;
use super::id::Digest;
use super::seen::Stamp;
use super::side::Pair;

/// What a write to a side would have changed: equal stamps mean that nothing was written between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStamp {
    /// Identities, sizes, times and counters, in words.
    pub words: String,
    /// The stamp tells apart only writes from this moment on: one shortly before may share the newest time stamp with a
    /// later one. Reads that began earlier are not vouched for.
    pub settled_at: Stamp,
}

/// What a comparison found; everything in it was readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// When the comparison began.
    pub at: Stamp,
    /// What was compared.
    pub scope: Scope,
    /// Bytes of replicated data.
    pub size: u64,
    /// Bytes compared on each side.
    pub compared: u64,
    /// What differed.
    pub differs: ExtentSet,
    /// Digest of each side's bytes in `differs`.
    pub content: Pair<Digest>,
}
