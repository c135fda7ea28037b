//! Who uses a file or device, as far as `/proc` and `/sys` tell. For messages and as a last check: what
//! cannot be read is left out, the locks and the kernel's own claims decide.

use super::blockdev::Identity;
use std::fs;
use std::path::Path;

/// Words for everybody known to hold the file or device.
pub(super) fn of(identity: Identity) -> Vec<String> {
    let mut by = match identity {
        Identity::File { .. } => processes(identity, false),
        Identity::Device { rdev } => device_holders(rdev),
    };
    if by.is_empty() && matches!(identity, Identity::Device { .. }) {
        by = processes(identity, false);
    }
    by.sort();
    by.dedup();
    by
}

/// Words for every other process that has it open for writing.
pub(super) fn writers(identity: Identity) -> Vec<String> {
    processes(identity, true)
}

/// The loop device that a file backs, in words.
pub(super) fn loop_device(identity: Identity) -> Option<String> {
    if !matches!(identity, Identity::File { .. }) {
        return None;
    }
    names("/sys/block").into_iter().filter(|name| name.starts_with("loop")).find_map(|name| {
        let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        let metadata = fs::metadata(backing.strip_suffix('\n').unwrap_or(&backing)).ok()?;
        (Identity::of(&metadata) == Some(identity)).then(|| format!("the loop device /dev/{name}"))
    })
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn major_minor(rdev: u64) -> String {
    format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

/// File systems, swap and stacked devices on a device or its partitions.
fn device_holders(rdev: u64) -> Vec<String> {
    let node = format!("/sys/dev/block/{}", major_minor(rdev));
    let mut parts = vec![(node.clone(), major_minor(rdev))];
    for name in names(&node) {
        if Path::new(&format!("{node}/{name}/partition")).exists()
            && let Ok(number) = fs::read_to_string(format!("{node}/{name}/dev"))
        {
            parts.push((format!("{node}/{name}"), number.trim().to_owned()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let mut by = Vec::new();
    for (dir, number) in parts {
        for holder in names(&format!("{dir}/holders")) {
            by.push(format!("the device /dev/{holder} on it"));
        }
        // proc(5): the third field of a line is the device's number, the fifth the mount point.
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').take(5).collect();
            if let [_, _, device, _, place] = fields[..]
                && device == number
            {
                by.push(format!("the file system mounted at {place}"));
            }
        }
        for path in swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
            let device = fs::metadata(path).ok().and_then(|metadata| Identity::of(&metadata));
            if let Some(Identity::Device { rdev }) = device
                && major_minor(rdev) == number
            {
                by.push("swap".to_owned());
            }
        }
    }
    by
}

/// Other processes that have it open.
fn processes(identity: Identity, writing: bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut by = Vec::new();
    for pid in names("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        if pid == own {
            continue;
        }
        if names(&format!("/proc/{pid}/fd")).iter().any(|fd| is_open(&pid, fd, identity, writing)) {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            by.push(format!("process {pid} ({})", command.trim_end()));
        }
    }
    by
}

fn is_open(pid: &str, fd: &str, identity: Identity, writing: bool) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let field = |key: &str| info.lines().find_map(|line| line.strip_prefix(key).map(str::trim));
    if writing {
        // proc(5): the flags of open(2), octal; the lowest two bits are the access mode, 0 for reading.
        let flags = field("flags:").and_then(|text| u32::from_str_radix(text, 8).ok());
        if flags.is_none_or(|flags| flags & 3 == 0) {
            return false;
        }
    }
    let link = format!("/proc/{pid}/fd/{fd}");
    // Asking a file's identity can hang on a dead network file system: only ask where it may be ours.
    let maybe = match identity {
        Identity::File { ino, .. } => {
            field("ino:").and_then(|text| text.parse().ok()).is_none_or(|number: u64| number == ino)
                && fs::read_link(&link).is_ok_and(|target| target.starts_with("/"))
        }
        Identity::Device { .. } => fs::read_link(&link).is_ok_and(|target| target.starts_with("/dev")),
    };
    maybe && fs::metadata(&link).is_ok_and(|metadata| Identity::of(&metadata) == Some(identity))
}
