//! The divergence of two disks: what their marks claim and what their contents say.

use super::compare::{CompareError, CompareOptions, Compared, compare_and_digest};
use super::link::{self, LinkError, LinkOptions};
use crate::model::delta::{Delta, Scope};
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::side::{Pair, Side};
use crate::ports::channel::{Receiver, Sender};
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

impl Question {
    /// The extents to be compared.
    #[must_use]
    pub fn extents(&self) -> ExtentSet {
        match self.scope {
            Scope::Candidates => self.marked.a.clip(self.size).union(&self.marked.b.clip(self.size)),
            Scope::Everything => ExtentSet::whole(self.size),
        }
    }

    fn answered(self, compared: Compared, content: Pair<Digest>) -> Delta {
        let Question { size, marked, doubt, marks_complete, scope } = self;
        let (marked, doubt) = (marked.map(|set| set.clip(size)), doubt.map(|set| set.clip(size)));
        let Compared { differs, unreadable, compared } = compared;
        Delta { size, scope, marked, doubt, marks_complete, differs, content, unreadable, compared }
    }
}

/// The same as [`delta`], with the other disk at the far end of a channel, where [`answer`](super::link::answer()) serves it.
/// `side` says which one `near` is.
///
/// # Errors
/// [`LinkError`].
pub fn delta_across(
    near: &dyn Disk,
    side: Side,
    question: Question,
    (sender, receiver): (&mut dyn Sender, &mut dyn Receiver),
    threads: usize,
    progress: &dyn Progress,
) -> Result<Delta, LinkError> {
    let asked = link::Question { size: question.size, scope: question.extents(), side };
    let options = LinkOptions { threads, ..LinkOptions::default() };
    let found = link::ask(near, &asked, sender, receiver, &options, progress)?;
    Ok(question.answered(found.compared, found.content))
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
    let options = CompareOptions { threads, size: Some(question.size), ..CompareOptions::default() };
    let (compared, content) = compare_and_digest(a, b, &question.extents(), &options, progress)?;
    Ok(question.answered(compared, content))
}
