//! What stands on a block device: partitions, and whatever the kernel stacked on them, to the top.

use super::roots::{Number, Roots, names, text};
use crate::model::node::DeviceUser;
use drbd_sys::netlink::MAJOR as DRBD;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A DRBD resource that stands on another block device. Not every DRBD tells `/sys` so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) struct Upper {
    /// Its own minor number.
    pub(in crate::edge) minor: u32,
    /// The resource.
    pub(in crate::edge) resource: String,
    /// Its backing device.
    pub(in crate::edge) disk: String,
}

/// What a device of the stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The device that was asked for.
    Base,
    /// A partition of the one below.
    Partition,
    /// An LVM volume.
    Lvm { group: String, volume: String },
    /// Another mapping of the device mapper: the beginning of its uuid, and its name.
    Mapping { kind: String, name: String },
    /// A device of another driver.
    Other,
    /// A loop device.
    Loop,
    /// A DRBD resource.
    Drbd { resource: Option<String> },
}

/// A device of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) number: Number,
    /// The kernel's name: `drbd0`, `dm-3`.
    pub(super) name: String,
    pub(super) what: What,
}

/// A machine with more devices on one device is not looked at further: nobody reads such a list.
const MOST: usize = 4096;

/// The device and everything on it, from below to above.
pub(super) fn stack(roots: &Roots, base: Number, uppers: &[Upper]) -> Vec<Layer> {
    let loops = loops(roots);
    let uppers: Vec<(Number, &Upper)> =
        uppers.iter().filter_map(|upper| Some(((roots.number_at)(Path::new(&upper.disk))?, upper))).collect();
    let mut seen = BTreeSet::from([base]);
    let name = name_of(roots, base).unwrap_or_else(|| format!("block device {base}"));
    let mut layers = vec![Layer { number: base, name, what: What::Base }];
    let mut at = 0;
    while let Some(below) = layers.get(at).cloned() {
        at += 1;
        let folder = folder(roots, below.number);
        let partitions =
            names(&folder).into_iter().filter(|name| folder.join(name).join("partition").exists());
        let mut above: Vec<Layer> = partitions
            .filter_map(|name| {
                let number = text(&folder.join(&name).join("dev"))?.parse().ok()?;
                Some(Layer { number, name, what: What::Partition })
            })
            .collect();
        above.extend(names(&folder.join("holders")).into_iter().filter_map(|name| {
            let number: Number =
                text(&roots.sys.join("class/block").join(&name).join("dev"))?.parse().ok()?;
            let what = what_is(roots, number, &name);
            Some(Layer { number, name, what })
        }));
        let on_it = loops.iter().filter(|(_, _, backing)| *backing == below.number);
        above.extend(on_it.map(|(name, number, _)| Layer {
            number: *number,
            name: name.clone(),
            what: What::Loop,
        }));
        let on_it = uppers.iter().filter(|(disk, _)| *disk == below.number);
        above.extend(on_it.map(|(_, upper)| Layer {
            number: Number { major: DRBD, minor: upper.minor },
            name: format!("drbd{}", upper.minor),
            what: What::Drbd { resource: Some(upper.resource.clone()) },
        }));
        for layer in above {
            if layers.len() < MOST && seen.insert(layer.number) {
                layers.push(layer);
            }
        }
    }
    layers
}

fn folder(roots: &Roots, number: Number) -> PathBuf {
    roots.sys.join("dev/block").join(number.to_string())
}

fn name_of(roots: &Roots, number: Number) -> Option<String> {
    let full = std::fs::canonicalize(folder(roots, number)).ok()?;
    Some(full.file_name()?.to_str()?.to_owned())
}

/// Loop devices over block devices: name, number, number of what is below.
fn loops(roots: &Roots) -> Vec<(String, Number, Number)> {
    loop_files(roots)
        .into_iter()
        .filter_map(|(name, number, backing)| Some((name, number, (roots.number_at)(Path::new(&backing))?)))
        .collect()
}

/// Loop devices: name, number, path of what is below.
pub(super) fn loop_files(roots: &Roots) -> Vec<(String, Number, String)> {
    let folder = roots.sys.join("block");
    names(&folder)
        .into_iter()
        .filter(|name| name.starts_with("loop"))
        .filter_map(|name| {
            let backing = text(&folder.join(&name).join("loop/backing_file"))?;
            let number = text(&folder.join(&name).join("dev"))?.parse().ok()?;
            Some((name, number, backing.trim_end_matches('\n').to_owned()))
        })
        .collect()
}

fn what_is(roots: &Roots, number: Number, name: &str) -> What {
    if number.major == DRBD {
        return What::Drbd { resource: None };
    }
    let folder = roots.sys.join("class/block").join(name).join("dm");
    let Some(mapped) = text(&folder.join("name")) else { return What::Other };
    let mapped = mapped.trim_end().to_owned();
    let uuid = text(&folder.join("uuid")).unwrap_or_default();
    if uuid.starts_with("LVM-")
        && let Some((group, volume)) = lvm_names(&mapped)
    {
        return What::Lvm { group, volume };
    }
    let kind = uuid.split('-').next().unwrap_or_default().trim().to_owned();
    What::Mapping { kind, name: mapped }
}

/// Group and volume of a mapping's name: joined by one `-`, those inside doubled.
fn lvm_names(mapped: &str) -> Option<(String, String)> {
    let bytes = mapped.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'-' {
            if bytes.get(at + 1) != Some(&b'-') {
                let plain = |text: &str| text.replace("--", "-");
                let (group, volume) = (plain(mapped.get(..at)?), plain(mapped.get(at + 1..)?));
                return (!group.is_empty() && !volume.is_empty()).then_some((group, volume));
            }
            at += 1;
        }
        at += 1;
    }
    None
}

impl Layer {
    /// This device as a user of those below it; nothing for the device that was asked for, and for partitions, which use
    /// nothing by being there.
    pub(super) fn as_user(&self) -> Option<DeviceUser> {
        let name = &self.name;
        let (who, ends_with) = match &self.what {
            What::Base | What::Partition => return None,
            What::Lvm { group, volume } => {
                (format!("LVM volume {group}/{volume} ({name})"), Some(format!("vgchange -an {group}")))
            }
            What::Mapping { kind, name: mapped } => match kind.as_str() {
                "CRYPT" => (format!("encrypted volume {mapped}"), Some(format!("cryptsetup close {mapped}"))),
                "mpath" => (
                    format!("multipath device {mapped}, which multipathd made of it"),
                    Some(format!("multipath -f {mapped}")),
                ),
                kind if kind.starts_with("part") => {
                    (format!("partition mapping {mapped}"), Some(format!("dmsetup remove {mapped}")))
                }
                _ => (format!("device mapping {mapped} ({name})"), Some(format!("dmsetup remove {mapped}"))),
            },
            What::Loop => (format!("loop device /dev/{name}"), Some(format!("losetup -d /dev/{name}"))),
            What::Drbd { resource: Some(resource) } => {
                (format!("DRBD resource {resource} (/dev/{name})"), Some(format!("drbdadm down {resource}")))
            }
            What::Drbd { resource: None } => (format!("another DRBD resource (/dev/{name})"), None),
            What::Other if name.starts_with("md") => {
                (format!("RAID array /dev/{name}"), Some(format!("mdadm --stop /dev/{name}")))
            }
            What::Other if name.starts_with("bcache") => (
                format!("bcache device /dev/{name}"),
                Some(format!("echo 1 > /sys/block/{name}/bcache/stop")),
            ),
            What::Other => (format!("the device /dev/{name} on it"), None),
        };
        Some(DeviceUser { who, ends_with })
    }
}

#[cfg(test)]
mod tests {
    use super::lvm_names;

    #[test]
    fn a_mapping_names_group_and_volume() {
        let names = |text| lvm_names(text).map(|(group, volume)| format!("{group}/{volume}"));
        assert_eq!(names("vg-lv").as_deref(), Some("vg/lv"));
        assert_eq!(names("my--vg-vm--101--disk--0").as_deref(), Some("my-vg/vm-101-disk-0"));
        assert_eq!(names("vg-pool_tdata").as_deref(), Some("vg/pool_tdata"));
        assert_eq!(names("plain"), None);
        assert_eq!(names("a--b"), None);
        assert_eq!(names("-x"), None);
        assert_eq!(names("x-"), None);
    }
}
