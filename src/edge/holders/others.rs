//! Everybody else who can write to a file or device now, whether or not they asked for its locks.

use super::exports::served;
use super::footing::{Footing, Ground, footings, shared};
use super::mounts::{processes, swap_files};
use super::open::process;
use super::reach::way;
use super::remote::Remote;
use super::roots::Roots;
use super::sought::Sought;
use super::stack::loop_files;
use crate::edge::blockdev::Identity;
use std::path::Path;

/// Words for every other process that can write to it.
pub(super) fn writers(roots: &Roots, identity: Identity) -> Vec<String> {
    having(roots, identity, true)
}

/// Words for every other process that has it open or in its memory.
pub(super) fn users(roots: &Roots, identity: Identity) -> Vec<String> {
    having(roots, identity, false)
}

fn having(roots: &Roots, identity: Identity, writing: bool) -> Vec<String> {
    let sought = Sought::of(roots, identity);
    let mut remote = Remote::default();
    let others = processes(roots).into_iter().filter(|pid| *pid != roots.own);
    let found = others.filter_map(|pid| Some((pid, way(roots, pid, &sought, writing, &mut remote)?)));
    found.map(|(pid, way)| format!("process {pid} ({}){}", process(roots, pid).name, way.words())).collect()
}

/// What the kernel itself writes to it for, without having claimed it: loop devices, LIO, the NVMe target, swap. File
/// systems, device mapper, md and DRBD claim what they use.
pub(super) fn kernel(roots: &Roots, identity: Identity) -> Vec<String> {
    let sought = Sought::of(roots, identity);
    let is_at = |path: &Path| !Remote::path(roots, path) && sought.is_at(roots, path);
    let mut by: Vec<String> = served(roots, &is_at).into_iter().map(|user| user.who).collect();
    if matches!(sought, Sought::File(_)) {
        by.extend(
            swap_files(roots)
                .into_iter()
                .filter(|path| is_at(Path::new(path)))
                .map(|path| format!("swap ({path})")),
        );
    }
    let own = footings(roots, identity);
    by.extend(loops(roots, &own));
    by.extend(behind(roots, &own));
    by
}

/// The loop devices that lead to some of the bytes that these are, and are not one of them.
fn loops(roots: &Roots, own: &[Footing]) -> Vec<String> {
    let all = loop_files(roots).into_iter();
    let leads = all.filter(|(_, number, _)| {
        let theirs = footings(roots, number.identity());
        !own.iter().any(|own| own.of == Ground::Seen(number.identity())) && shared(own, &theirs).is_some()
    });
    leads.map(|(name, _, _)| format!("the loop device /dev/{name}")).collect()
}

/// For a loop device or its partition: who else leads to the file or device that it stands on. Which bytes of it they mean is
/// known of loop devices only.
fn behind(roots: &Roots, own: &[Footing]) -> Vec<String> {
    let mut by = Vec::new();
    for below in own.iter().filter(|below| below.behind_a_loop) {
        let Ground::Seen(file) = below.of else { continue };
        let sought = Sought::of(roots, file);
        let is_at = |path: &Path| !Remote::path(roots, path) && sought.is_at(roots, path);
        let served = served(roots, &is_at).into_iter().map(|user| user.who);
        by.extend(
            served
                .chain(writers(roots, file))
                .map(|who| format!("{who}, which writes to the file behind it")),
        );
    }
    by
}
