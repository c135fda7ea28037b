//! Everybody else who can write to a file or device now, whether or not they asked for its locks.

use super::exports::served;
use super::mounts::{processes, swap_files};
use super::open::process;
use super::reach::way;
use super::remote::Remote;
use super::roots::{Number, Roots};
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
    by.extend(loop_over(roots, &is_at, None));
    if let Identity::Device { rdev } = identity {
        by.extend(behind(roots, Number::of(rdev)));
    }
    by
}

/// The loop devices over what `is_at` finds, other than the one with the number `own`.
fn loop_over(roots: &Roots, is_at: &dyn Fn(&Path) -> bool, own: Option<Number>) -> Vec<String> {
    let all = loop_files(roots).into_iter();
    let over = all.filter(|(_, number, backing)| Some(*number) != own && is_at(Path::new(backing)));
    over.map(|(name, _, _)| format!("the loop device /dev/{name}")).collect()
}

/// For a loop device: who else leads to the file that it stands on.
fn behind(roots: &Roots, own: Number) -> Vec<String> {
    let Some((_, _, backing)) = loop_files(roots).into_iter().find(|(_, number, _)| *number == own) else {
        return Vec::new();
    };
    let backing = Path::new(&backing);
    if Remote::path(roots, backing) {
        return Vec::new();
    }
    let Some(file) = std::fs::metadata(backing).ok().as_ref().and_then(Identity::of) else {
        return Vec::new();
    };
    let sought = Sought::of(roots, file);
    let is_at = |path: &Path| !Remote::path(roots, path) && sought.is_at(roots, path);
    let mut by = loop_over(roots, &is_at, Some(own));
    let served = served(roots, &is_at).into_iter().map(|user| user.who);
    by.extend(
        served.chain(writers(roots, file)).map(|who| format!("{who}, which writes to the file behind it")),
    );
    by
}
