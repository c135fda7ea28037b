//! The divergence of two disks: what their marks claim and what their contents say.

use super::compare::{CompareError, CompareOptions, Compared, compare_and_digest};
use crate::model::delta::{Delta, Scope};
use crate::model::extent::ExtentSet;
use crate::model::side::Pair;
use crate::ports::disk::Disk;
use crate::ports::progress::Progress;

/// What is to be found out.
#[derive(Debug, Clone)]
pub struct Question {
    /// Bytes of replicated data that both sides have.
    pub size: u64,
    /// What each side marked as changed; clipped to `size`.
    pub marked: Pair<ExtentSet>,
    /// What each side may have written although the other marked it; clipped to `size`.
    pub doubt: Pair<ExtentSet>,
    /// Whether the marks explain every difference.
    pub marks_complete: bool,
    /// What to compare: the union of the marks, or everything.
    pub scope: Scope,
}

/// Compares two disks and digests what differs, in one pass: the digests are of the bytes that were
/// compared, also where somebody writes meanwhile. Blocks that cannot be read on a side are listed in
/// `unreadable` and are in neither `differs` nor the digests.
///
/// # Errors
/// [`CompareError`]: the size does not fit the disks.
pub fn delta(
    a: &dyn Disk,
    b: &dyn Disk,
    question: Question,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Delta, CompareError> {
    let Question { size, marked, doubt, marks_complete, scope } = question;
    let marked = marked.map(|marks| marks.clip(size));
    let doubt = doubt.map(|doubt| doubt.clip(size));
    let extents = match scope {
        Scope::Candidates => marked.a.union(&marked.b),
        Scope::Everything => ExtentSet::whole(size),
    };
    let options = CompareOptions { threads, size: Some(size), ..CompareOptions::default() };
    let (Compared { differs, unreadable, compared }, content) =
        compare_and_digest(a, b, &extents, &options, progress)?;
    Ok(Delta { size, scope, marked, doubt, marks_complete, differs, content, unreadable, compared })
}
