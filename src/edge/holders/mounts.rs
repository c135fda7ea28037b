//! File systems on devices, in every mount namespace.

use super::roots::{Number, Roots, names, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mount {
    /// The mount's number: no two mounts of a machine share one, whatever their namespaces.
    pub(super) id: u64,
    /// Where, as the namespace's processes see it.
    pub(super) place: String,
    /// A process of its namespace; `None` for ours.
    pub(super) process: Option<u32>,
}

/// Process ids.
pub(super) fn processes(roots: &Roots) -> Vec<u32> {
    names(&roots.proc).iter().filter_map(|name| name.parse().ok()).collect()
}

/// Every mount of these devices, each once.
pub(super) fn mounts(roots: &Roots, devices: &BTreeSet<Number>) -> Vec<Mount> {
    let namespace = |who: &str| std::fs::read_link(roots.proc.join(who).join("ns/mnt")).ok();
    let ours = namespace("self");
    let mut lists: Vec<(PathBuf, Option<u32>)> = vec![(roots.proc.join("self/mountinfo"), None)];
    let mut seen: BTreeSet<PathBuf> = ours.into_iter().collect();
    for pid in processes(roots) {
        let Some(namespace) = namespace(&pid.to_string()) else { continue };
        if seen.insert(namespace) {
            lists.push((roots.proc.join(pid.to_string()).join("mountinfo"), Some(pid)));
        }
    }
    let mut found = BTreeMap::new();
    for (list, process) in lists {
        for line in text(&list).unwrap_or_default().lines() {
            let Some((id, number, place, source)) = fields(line) else { continue };
            // A file system over several devices (btrfs) has a number of its own: it names one of them as its source.
            let on = devices.contains(&number)
                || (number.major == 0
                    && Path::new(&source).starts_with(&roots.dev)
                    && (roots.number_at)(Path::new(&source)).is_some_and(|source| devices.contains(&source)));
            if on {
                found.entry(id).or_insert(Mount { id, place, process });
            }
        }
    }
    let mut found: Vec<Mount> = found.into_values().collect();
    found.sort_by(|a, b| (a.process, &a.place).cmp(&(b.process, &b.place)));
    // Copies of one mount in the namespaces of a machine's services: one of them is enough to say where.
    found.dedup_by(|b, a| a.place == b.place && a.process == b.process);
    found
}

/// proc(5): mount id, parent, device, root, mount point, options, optional fields, `-`, type, source.
fn fields(line: &str) -> Option<(u64, Number, String, String)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut words = head.split(' ');
    let id = words.next()?.parse().ok()?;
    let number = words.nth(1)?.parse().ok()?;
    let place = unescaped(words.nth(1)?);
    Some((id, number, place, unescaped(tail.split(' ').nth(1)?)))
}

/// Swap areas on these devices: the devices' paths.
pub(super) fn swaps(roots: &Roots, devices: &BTreeSet<Number>) -> Vec<String> {
    let list = text(&roots.proc.join("swaps")).unwrap_or_default();
    let paths = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescaped);
    paths.filter(|path| (roots.number_at)(Path::new(path)).is_some_and(|at| devices.contains(&at))).collect()
}

/// Files that are swapped to: their paths.
pub(super) fn swap_files(roots: &Roots) -> Vec<String> {
    let list = text(&roots.proc.join("swaps")).unwrap_or_default();
    let fields = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let files = fields.filter(|words| words.get(1) == Some(&"file"));
    files.filter_map(|words| words.first().map(|path| unescaped(path))).collect()
}

/// The kernel writes blanks and the like as three octal digits.
pub(super) fn unescaped(word: &str) -> String {
    let bytes = word.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| bytes[at] == b'\\').and_then(|text| u8::from_str_radix(text, 8).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo() {
        let line = r"36 35 147:0 / /srv/my\040data rw,noatime master:1 - ext4 /dev/drbd0 rw";
        let number = Number { major: 147, minor: 0 };
        assert_eq!(fields(line), Some((36, number, "/srv/my data".into(), "/dev/drbd0".into())));
        for bad in ["", " - ", "a b c - d e", "1 2 3 4 5 6 - x y", r"1 2 147:0 / \9 - x"] {
            assert_eq!(fields(bad).filter(|found| found.1 == number), None, "{bad}");
        }
        assert_eq!(unescaped(r"a\134b\04"), r"a\b\04");
    }
}
