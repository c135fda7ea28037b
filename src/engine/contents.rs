//! Comparing contents where they are: directly when both sides are on this machine, else across a link, whose bytes follow
//! what differs and not the size of the volume.

use super::inquiry::InquiryError;
use crate::digest::compare::{CompareOptions, Compared, compare};
use crate::digest::delta::{Question, delta, delta_across};
use crate::digest::link::{self, LinkError, LinkOptions};
use crate::model::delta::Delta;
use crate::model::extent::ExtentSet;
use crate::model::side::{Pair, Side};
use crate::ports::channel::ChannelFault;
use crate::ports::progress::Progress;
use crate::ports::replica::{FarEnd, Replica};

/// How often a comparison is made again after its link died.
const AGAIN: usize = 2;

/// Compares what `question` asks about, and digests what differs.
pub(super) fn difference(
    replicas: Pair<&dyn Replica>,
    question: Question,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Delta, InquiryError> {
    let ask = |side: Side, (mut sender, mut receiver): FarEnd| {
        let (near, asked) = (replicas[side].data(), question.clone());
        delta_across(near, side, asked, (&mut *sender, &mut *receiver), threads, progress)
    };
    match across(replicas, threads, ask) {
        Some(found) => Ok(found?),
        None => Ok(delta(replicas.a.data(), replicas.b.data(), question, threads, progress)?),
    }
}

/// Compares the blocks that `scope` touches, of `size` bytes that both sides have.
pub(super) fn same_within(
    replicas: Pair<&dyn Replica>,
    size: u64,
    scope: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Compared, InquiryError> {
    let ask = |side: Side, (mut sender, mut receiver): FarEnd| {
        let asked = link::Question { size, scope: scope.clone(), side };
        let options = LinkOptions { threads, ..LinkOptions::default() };
        link::ask(replicas[side].data(), &asked, &mut *sender, &mut *receiver, &options, progress)
    };
    match across(replicas, threads, ask) {
        Some(found) => Ok(found?.compared),
        None => {
            let options = CompareOptions { threads, ..CompareOptions::default() };
            Ok(compare(replicas.a.data(), replicas.b.data(), scope, &options, progress)?)
        }
    }
}

/// Asks the side that is far, if one is, from the side that is near. Comparing only reads: it may be done again.
fn across<T>(
    replicas: Pair<&dyn Replica>,
    threads: usize,
    ask: impl Fn(Side, FarEnd) -> Result<T, LinkError>,
) -> Option<Result<T, LinkError>> {
    let side = Side::BOTH.into_iter().find(|side| replicas[*side].is_far())?;
    let mut left = AGAIN;
    loop {
        let found = replicas[side].answering(threads).map_err(LinkError::from);
        match found.and_then(|far| ask(side.other(), far)) {
            // The replica makes a new link if that may be; if not, the next attempt says why.
            Err(LinkError::Channel(
                ChannelFault::Closed | ChannelFault::TimedOut(_) | ChannelFault::Io(_),
            )) if left > 0 => {
                left -= 1;
            }
            end => return Some(end),
        }
    }
}
