//! Two ends that are connected: what goes on between them.

use super::apart::reason;
use super::link::{Seen, Work, working};
use crate::model::drbd_live::words::{DiskState, ReplicationState};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::standing::{Class, Finding, LinkVolume, Source};

/// What goes on over a connection that stands.
pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    seen.link.volumes.iter().filter_map(|volume| judge_volume(seen, volume)).collect()
}

fn judge_volume(seen: &Seen, volume: &LinkVolume) -> Option<Finding> {
    let names = seen.link.nodes.as_ref().map(String::as_str);
    let number = volume.volume;
    let work = Side::BOTH.into_iter().find_map(|side| Some((side, working(volume.replication[side]?)?)));
    let reasons = |side: Side| {
        let state = volume.replication[side].map_or_else(String::new, |state| state.to_string());
        vec![reason(Source::State, Some(names[side]), format!("volume {number}: {state}"))]
    };
    let finding = |class, says, reasons| {
        let nodes = vec![names.a.to_owned(), names.b.to_owned()];
        Some(Finding { class, cause: None, says, nodes, volumes: vec![number], reasons })
    };
    let percent = volume.done.map(|done| format!(", {}.{}% done", done / 10, done % 10)).unwrap_or_default();
    let Some((side, work)) = work else {
        return marked(volume, names)
            .and_then(|(class, says, why)| finding(class, says, vec![reason(Source::State, None, why)]));
    };
    let (from, to) = match work {
        Work::From | Work::PausedFrom => (names[side], names[side.other()]),
        _ => (names[side.other()], names[side]),
    };
    match work {
        Work::Verify => {
            let says = format!("{} and {} compare volume {number} online{percent}", names.a, names.b);
            finding(Class::Verify, says, reasons(side))
        }
        Work::From | Work::To => {
            let says = format!("{to} is being brought up to date by {from}, volume {number}{percent}");
            finding(Class::Resync, says, reasons(side))
        }
        Work::PausedFrom | Work::PausedTo => {
            let says = match volume.replication[side] {
                Some(ReplicationState::Ahead | ReplicationState::Behind) => {
                    format!("{from} has run ahead of {to} because the network is congested, volume {number}")
                }
                _ => format!("the resync of {to} from {from} waits, volume {number}{percent}"),
            };
            finding(Class::ResyncPaused, says, reasons(side))
        }
    }
}

/// Connected and idle, both up to date, and yet blocks are marked as different (LINBIT/drbd#145, or a verify that found
/// differences): no resync is under way or due.
fn marked(volume: &LinkVolume, names: Pair<&str>) -> Option<(Class, String, String)> {
    let good = |state: Option<DiskState>| matches!(state, Some(DiskState::UpToDate | DiskState::Consistent));
    let idle = volume.replication.iter().any(|(_, state)| *state == Some(ReplicationState::Established));
    let bytes = volume.out_of_sync.iter().filter_map(|(_, bytes)| *bytes).max().unwrap_or(0);
    if !idle || bytes == 0 || !good(volume.disk.a) || !good(volume.disk.b) {
        return None;
    }
    let says = format!(
        "{} and {} count as equal, but {} of volume {} are marked as different and nothing syncs them",
        names.a,
        names.b,
        human(bytes),
        volume.volume
    );
    let each = |side: Side| {
        volume.out_of_sync[side]
            .map_or_else(String::new, |bytes| format!("{} has {} marked", names[side], human(bytes)))
    };
    let each: Vec<_> = Side::BOTH.into_iter().map(each).filter(|text| !text.is_empty()).collect();
    let why = format!("volume {}: connected, both UpToDate, no resync; {}", volume.volume, each.join(", "));
    Some((Class::MarkedButEqual, says, why))
}
