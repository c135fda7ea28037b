//! On which bytes a file or device stands. Partitions and loop devices are parts of something else, and two of them may
//! share bytes although each has a number of its own.
//!
//! What the device mapper, md and the like make is not followed: `/sys` does not tell which bytes below are whose.

use super::remote::Remote;
use super::roots::{Number, Roots, text};
use crate::edge::blockdev::Identity;
use crate::model::extent::Extent;
use crate::model::size::SECTOR;
use std::fs;
use std::path::Path;

/// Devices upon devices; more is a circle or nothing we know.
const DEEPEST: usize = 16;
/// Of what is not told: it may be any of the bytes.
const ALL: Extent = Extent { start: 0, len: u64::MAX };

/// Whose bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ground {
    /// A file or device that can be looked at.
    Seen(Identity),
    /// The name of a file that cannot, or must not be looked at.
    Named(String),
}

/// Bytes that something stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) struct Footing {
    pub(super) of: Ground,
    /// What it is called; nothing for what was asked about, which the asker can call by name.
    pub(in crate::edge) name: Option<String>,
    /// A loop device leads to it.
    pub(super) behind_a_loop: bool,
    pub(in crate::edge) extent: Extent,
}

/// The thing itself, all of it, and what it stands on, from above to below.
pub(in crate::edge) fn footings(roots: &Roots, identity: Identity) -> Vec<Footing> {
    let mut all = vec![Footing { of: Ground::Seen(identity), name: None, behind_a_loop: false, extent: ALL }];
    while all.len() < DEEPEST
        && let Some(below) = all.last().and_then(|above| below(roots, above))
    {
        all.push(below);
    }
    all
}

/// The uppermost bytes that both stand on.
pub(in crate::edge) fn shared(a: &[Footing], b: &[Footing]) -> Option<Footing> {
    a.iter().find_map(|a| {
        b.iter().filter(|b| a.of == b.of).find_map(|b| {
            let extent = a.extent.intersect(&b.extent)?;
            let name = a.name.clone().or_else(|| b.name.clone());
            Some(Footing { of: a.of.clone(), name, behind_a_loop: a.behind_a_loop, extent })
        })
    })
}

fn below(roots: &Roots, above: &Footing) -> Option<Footing> {
    let Ground::Seen(Identity::Device { rdev }) = above.of else { return None };
    let folder = fs::canonicalize(roots.sys.join("dev/block").join(Number::of(rdev).to_string())).ok()?;
    let told = |name: &str| text(&folder.join(name))?.trim().parse::<u64>().ok();
    let part = folder.join("partition").exists();
    let (of, name, start) = if part {
        let disk = folder.parent()?;
        let number: Number = text(&disk.join("dev"))?.parse().ok()?;
        let name = format!("/dev/{}", disk.file_name()?.to_str()?);
        (Ground::Seen(number.identity()), name, told("start").and_then(|start| start.checked_mul(SECTOR)))
    } else {
        let file = text(&folder.join("loop/backing_file"))?.trim_end_matches('\n').to_owned();
        let seen = identity_at(roots, Path::new(&file));
        (seen.map_or_else(|| Ground::Named(file.clone()), Ground::Seen), file, told("loop/offset"))
    };
    let len = told("size").and_then(|sectors| sectors.checked_mul(SECTOR));
    let extent = start.zip(len).map_or(ALL, |(start, len)| {
        let whole = Extent { start, len };
        let part = Extent { start: start.saturating_add(above.extent.start), len: above.extent.len };
        whole.intersect(&part).unwrap_or(Extent { start, len: 0 })
    });
    Some(Footing { of, name: Some(name), behind_a_loop: !part, extent })
}

/// What a path leads to, where asking cannot hang.
fn identity_at(roots: &Roots, path: &Path) -> Option<Identity> {
    if Remote::path(roots, path) {
        return None;
    }
    match (roots.number_at)(path) {
        Some(number) => Some(number.identity()),
        None => fs::metadata(path).ok().as_ref().and_then(Identity::of),
    }
}
