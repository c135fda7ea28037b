//! The after-sb policies that are put back when a healing is over.

use super::pair::LivePair;
use crate::model::drbd_live::tree::Connection;
use crate::model::drbd_live::words::AfterSplitBrain;
use crate::model::id::ResourceName;
use crate::model::node::{AfterSb, Configured, DrbdSeen, NodeReport};
use crate::model::side::{Pair, Side};
use crate::ports::node::Node;

/// What the kernels have now; except that a connection whose policies are all `disconnect` may have them from an earlier
/// healing, which set them so and was given up. Then it is what the configuration files say.
#[must_use]
pub fn to_restore(nodes: Pair<&dyn Node>, pair: &LivePair) -> Pair<Option<AfterSb>> {
    let ask = |side: Side| {
        let report = nodes[side].report().ok().and_then(|report| report.configured.ok());
        report.and_then(|all| of_files(&all, &pair.resource))
    };
    restored(pair, ask)
}

/// The same from what both told of their files already.
#[must_use]
pub fn to_restore_as_told(reports: &Pair<NodeReport>, pair: &LivePair) -> Pair<Option<AfterSb>> {
    restored(pair, |side| of_files(reports[side].configured.as_deref().ok()?, &pair.resource))
}

fn restored(pair: &LivePair, files: impl Fn(Side) -> Option<AfterSb>) -> Pair<Option<AfterSb>> {
    Pair::from_fn(|side: Side| match pair.policies[side] {
        Some(AfterSb::DISCONNECT) => Some(files(side).unwrap_or(AfterSb::DISCONNECT)),
        known => known,
    })
}

/// What the files say, where the kernel has `disconnect` for all three instead: a healing holds them so, or one that was given up
/// left them. `None` where both say the same, or one of them is not known.
#[must_use]
pub fn held(report: &NodeReport, resource: &str) -> Option<AfterSb> {
    let DrbdSeen::Told(live) = &report.state.drbd else { return None };
    let at_disconnect = |connection: &Connection| {
        let options = connection.options.as_ref();
        options.is_some_and(|options| {
            let told = [options.after_sb_0pri, options.after_sb_1pri, options.after_sb_2pri];
            told.iter().all(|policy| *policy == Some(AfterSplitBrain::Disconnect))
        })
    };
    let all = &live.resource(resource)?.connections;
    let files = of_files(report.configured.as_deref().ok()?, &ResourceName::new(resource).ok()?)?;
    (files != AfterSb::DISCONNECT && all.iter().any(at_disconnect)).then_some(files)
}

/// What the files say; `None` if they do not define the resource, or hold a word that is none of DRBD's.
fn of_files(all: &[Configured], resource: &ResourceName) -> Option<AfterSb> {
    let found = all.iter().find(|known| known.resource == resource.as_str())?;
    let policy = |name: &str| match found.net.iter().rev().find(|option| option.name == name) {
        Some(option) => AfterSplitBrain::of_word(&option.value),
        None => Some(AfterSplitBrain::Disconnect),
    };
    Some(AfterSb {
        zero: policy("after-sb-0pri")?,
        one: policy("after-sb-1pri")?,
        two: policy("after-sb-2pri")?,
    })
}
