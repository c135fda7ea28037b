//! How far a long act has come.

/// Receives progress. Called often, from several threads: keep it cheap.
pub trait Progress: Send + Sync {
    /// A new phase begins: a word for it, and how many bytes it will go through.
    fn begin(&self, phase: &str, bytes: u64);
    /// That many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The phase is over.
    fn finish(&self);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}
