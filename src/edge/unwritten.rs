//! Whether anything was written to a file or device: what the system counts and dates by itself, as one stamp.
//!
//! A stamp is refused rather than guessed wherever a write could pass it by: somebody has the disk open for writing, the
//! file system is not one whose time stamps are kept by this kernel, the device's counters are switched off, or what lies
//! below could be written by another machine or be set back.

use super::blockdev::{BlockFile, Identity};
use super::holders;
use crate::model::remembered::WriteStamp;
use crate::model::seen::{Stamp, Why};
use crate::ports::disk::Disk;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// File systems whose `ctime` this kernel sets on every write, also on those through a mapping (`statfs(2)`): ext2 to 4,
/// XFS, Btrfs, F2FS, ZFS, overlayfs. Not tmpfs, which does not date writes through a mapping, and nothing on a network.
const DATED: [u64; 6] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x2FC1_2FC1, 0x794C_7630];
/// How long a time stamp can stay the same while writes go on, in milliseconds: a tick of the slowest kernel clock, many
/// times over; and where stamps seem to be whole seconds, as on ext3, some seconds.
const FINE: i64 = 200;
const COARSE: i64 = 4000;
/// Devices upon devices; more is a circle or nothing we know.
const DEEPEST: u32 = 16;

/// The stamp of some disks that belong together, now. Whatever is still on its way to them is waited for.
///
/// # Errors
/// In words, why there is none: then nothing may rest on it that nothing was written.
pub fn write_stamp<'a>(disks: impl IntoIterator<Item = &'a BlockFile>) -> Result<WriteStamp, Why> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|_| Why::from("no boot id"))?;
    let mut stamp = WriteStamp { words: format!("boot {}", boot.trim()), settled_at: Stamp(i64::MIN) };
    for disk in disks {
        let found = fs::metadata(disk.name()).ok().as_ref().and_then(Identity::of);
        if found != Some(disk.identity()) {
            return Err(format!("{} leads elsewhere by now", disk.name()).into());
        }
        if let Some(by) = holders::open_for_change(disk.identity()).into_iter().next() {
            return Err(format!("{} is in use by {by}", disk.name()).into());
        }
        match disk.identity() {
            Identity::File { .. } => file(disk.file(), disk.name(), &mut stamp)?,
            Identity::Device { rdev } => {
                // What stands in the page cache is not counted yet.
                disk.file().sync_data().map_err(|error| Why(format!("{}: {error}", disk.name())))?;
                device(&number(rdev), DEEPEST, &mut stamp)?;
            }
        }
    }
    Ok(stamp)
}

fn file(file: &File, name: &str, stamp: &mut WriteStamp) -> Result<(), Why> {
    let failed = |error: std::io::Error| Why(format!("{name}: {error}"));
    let kind = rustix::fs::fstatfs(file).map_err(|error| failed(error.into()))?.f_type;
    if !DATED.iter().any(|dated| i128::from(kind) & 0xFFFF_FFFF == i128::from(*dated)) {
        return Err(format!("{name} is on a file system that may not date every write").into());
    }
    // Written back, a mapped page is protected again: the next write to it is dated.
    file.sync_data().map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let _ = write!(
        stamp.words,
        "\nfile {} {} size {} modified {}.{:09} changed {}.{:09}",
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec()
    );
    // The change time cannot be set by anybody, the other one can.
    let millis = found.ctime().saturating_mul(1000).saturating_add(found.ctime_nsec() / 1_000_000);
    let fine = found.ctime_nsec() % 10_000_000 != 0;
    let settled = millis.saturating_add(if fine { FINE } else { COARSE });
    stamp.settled_at = stamp.settled_at.max(Stamp(settled));
    Ok(())
}

/// A device, what it is a part of, and all that it stands on.
fn device(number: &str, depth: u32, stamp: &mut WriteStamp) -> Result<(), Why> {
    let unknown = |what: &str| Why(format!("device {number}: {what}"));
    let deeper = depth.checked_sub(1).ok_or_else(|| unknown("stands on too many others"))?;
    let node = fs::canonicalize(format!("/sys/dev/block/{number}")).map_err(|_| unknown("not in /sys"))?;
    let read = |name: &str| fs::read_to_string(node.join(name)).map(|text| text.trim().to_owned()).ok();
    let kernel_name = node.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = node.display().to_string();
    // Others can write to these, or set them back, without any of our counters moving.
    let elsewhere = ["nbd", "rbd", "drbd", "zd", "zram", "ublk", "rnbd"];
    if elsewhere.iter().any(|kind| kernel_name.starts_with(kind))
        || ["/session", "/rport-", "/nvme-fabrics/", "/nvme-subsystem/"]
            .iter()
            .any(|part| path.contains(part))
    {
        return Err(unknown("can be changed by others than this machine"));
    }
    let _ = write!(stamp.words, "\ndevice {number} {kernel_name}");
    if read("partition").is_some() {
        let whole = node.parent().and_then(|parent| fs::read_to_string(parent.join("dev")).ok());
        device(whole.ok_or_else(|| unknown("its disk is not in /sys"))?.trim(), deeper, stamp)?;
    } else {
        // Counted only while this is on.
        if read("queue/iostats").as_deref() != Some("1") {
            return Err(unknown("its writes are not counted"));
        }
        let sequence = read("diskseq").ok_or_else(|| unknown("the kernel does not number it"))?;
        let _ = write!(stamp.words, " diskseq {sequence} {}", read("dm/uuid").unwrap_or_default());
    }
    let counters = read("stat").and_then(|stat| counters(&stat)).ok_or_else(|| unknown("no counters"))?;
    let flying = read("inflight").and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    if flying != Some(0) {
        return Err(unknown("is being written"));
    }
    let _ = write!(stamp.words, " written {} discarded {}", counters.0, counters.1);
    if let Some(backing) = read("loop/backing_file") {
        let behind = File::open(&backing).map_err(|error| unknown(&format!("{backing}: {error}")))?;
        let identity = behind.metadata().ok().as_ref().and_then(Identity::of);
        let identity = identity.ok_or_else(|| unknown("stands on something strange"))?;
        if let Some(by) = holders::writers(identity).into_iter().next() {
            return Err(format!("{backing} is in use by {by}").into());
        }
        match identity {
            Identity::File { .. } => file(&behind, &backing, stamp)?,
            Identity::Device { rdev } => self::device(&self::number(rdev), deeper, stamp)?,
        }
    }
    let mut below: Vec<String> = fs::read_dir(node.join("slaves"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("dev")).ok())
        .map(|number| number.trim().to_owned())
        .collect();
    below.sort();
    for number in below {
        let lower = File::open(format!("/dev/block/{number}"));
        lower.and_then(|lower| lower.sync_data()).map_err(|error| unknown(&format!("below it, {error}")))?;
        self::device(&number, deeper, stamp)?;
    }
    Ok(())
}

/// Sectors written and sectors discarded (`Documentation/block/stat.rst`).
fn counters(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> = stat.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // Kernels before 4.18 do not count discards.
    Some((*fields.get(6)?, fields.get(13).copied()?))
}

fn number(rdev: u64) -> String {
    format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_those_of_writing() {
        let stat = "   1  2  3  4  5  6  7  8  9  10  11  12  13  14  15  16  17\n";
        assert_eq!(counters(stat), Some((7, 14)));
        assert_eq!(counters("1 2 3 4 5 6 7 8 9 10 11"), None);
        assert_eq!(counters(""), None);
    }
}
