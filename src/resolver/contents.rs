//! Comparing the contents of two sides, and what was found.

use super::failure::{Failure, Kind};
use crate::edge::clock::local;
use crate::edge::layout::read_layout_within;
use crate::edge::state_dir::StateDir;
use crate::engine::inquiry::{InquiryError, Sight};
use crate::engine::recall::{self, Memory, Place};
use crate::judge::units::{UnitReport, attribute};
use crate::model::delta::Delta;
use crate::model::id::NodeName;
use crate::model::seen::{Stamp, Why};
use crate::model::shell::shell_word;
use crate::model::side::Pair;
use crate::model::unit::Layout;
use crate::ports::progress::Progress;
use crate::ports::replica::Replica;
use crate::ports::store::Store;
use std::path::Path;

/// Compares contents, or finds that this was done, and says which units differ. Whoever reads over a link asks afterwards
/// whether it still stands: what a lost link left unread is not unreadable.
///
/// # Errors
/// [`InquiryError`].
pub fn contents(
    replicas: Pair<&dyn Replica>,
    sight: &Sight,
    full: bool,
    threads: usize,
    progress: &dyn Progress,
    memory: &Memory<'_>,
) -> Result<Found, InquiryError> {
    let recalled = recall::diff(replicas, sight, full, threads, progress, memory)?;
    if let Some(why) = &recalled.not_kept {
        tracing::debug!(%why, "the comparison is not kept for later");
    }
    let delta = recalled.delta;
    let mut remarks = recalled.remarks;
    remarks.extend(
        recalled
            .compared_at
            .map(|at| format!("Compared at {}, nothing written since; --no-cache reads again.", local(at))),
    );
    let layouts = Pair::from_fn(|side| read_layout_within(replicas[side].data(), delta.size));
    let units = attribute(&delta, &layouts);
    let names = sight.evidence.as_ref().map(|seen| seen.name.clone());
    Ok(Found { names, delta, layouts, units, compared_at: recalled.compared_at, remarks })
}

/// With the state directory, if there is one, as a place for comparisons.
pub(super) fn briefly<T>(state_dir: &Path, work: impl FnOnce(Place<'_>) -> T) -> T {
    // Not held open for writing while disks are read: others have incidents to go on with.
    let reading = StateDir::open_read_only(state_dir).ok();
    let writing = || match StateDir::open(state_dir) {
        Ok(store) => Ok(Box::new(store) as Box<dyn Store>),
        Err(error) => Err(Why(error.to_string())),
    };
    work(match &reading {
        Some(reading) => Place::Briefly { reading, writing: &writing },
        None => Place::Nowhere,
    })
}

/// What a comparison of contents found.
#[derive(Debug)]
pub struct Found {
    /// What the sides are called.
    pub names: Pair<NodeName>,
    /// What differs.
    pub delta: Delta,
    /// Each side's units.
    pub layouts: Pair<Layout>,
    /// What differs in each unit.
    pub units: UnitReport,
    /// When the comparison was made, if it was found and not made now.
    pub compared_at: Option<Stamp>,
    /// Sentences about where the comparison came from.
    pub remarks: Vec<String>,
}

/// An error of the inquiry, as a failure of the command.
pub(super) fn inquiry_failure(error: InquiryError) -> Failure {
    let kind = match &error {
        InquiryError::SameDevice { .. } | InquiryError::SameNode { .. } => Kind::Usage,
        InquiryError::Unrelated { .. } => Kind::Held,
        _ => Kind::Evidence,
    };
    let hint = match &error {
        InquiryError::Room { .. } => Some(
            "give the partitions (or what is behind the header) alone, `losetup -f --show -r -o START --sizelimit LENGTH FILE`; only if \
             DRBD uses less than both devices hold (`disk { size ...; }`, or both were grown and it was not told yet), add --as-is-a"
                .to_owned(),
        ),
        InquiryError::Sizes { smaller, need, .. } => Some(format!(
            "if it was resized during the split: make {smaller}'s backing device at least {need} bytes, move its metadata to the new end \
             (`drbdadm check-resize RES` on its node, before it is attached), and give both sides again; while the resource runs, \
             `unsplit status RES --peer PEER` says what to do"
        )),
        InquiryError::Grown { side, .. } => Some(format!(
            "`drbdadm check-resize RES` on {side}'s node moves the metadata to the new end (before it is attached); then give both \
             sides again"
        )),
        InquiryError::Unrelated { .. } => Some(
            "`unsplit diff` of the same two with --full compares everything and changes nothing; if the two belong together, keep one \
             and give the other fresh metadata (`drbdadm create-md`), so that DRBD syncs it fully: that OVERWRITES it, copy it first"
                .to_owned(),
        ),
        InquiryError::Shifted { side, path, start, len } => Some(format!(
            "losetup -f --show -r -o {start} --sizelimit {len} {} prints the device to give instead (leave -r out when it is to \
             be healed); only if DRBD uses the whole of it all the same, add --as-is-{side}",
            shell_word(path)
        )),
        _ => None,
    };
    let failure = Failure::new(kind, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
