//! A census over crafted trees, and over a real loop device where the system lets us make one.

#![allow(clippy::print_stderr)]

use super::{Number, Roots, Upper, users};
use crate::edge::blockdev::Identity;
use crate::model::node::DeviceUser;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const DRBD0: Number = Number { major: 147, minor: 0 };

/// A machine of files. A device node is a file that holds the device's number.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        machine.file("proc/self/mountinfo", "");
        machine.link("proc/self/ns/mnt", "mnt:[1]");
        machine.device("drbd0", "147:0");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A block device: its node, and its folder under its three names.
    fn device(&self, name: &str, number: &str) {
        self.file(&format!("dev/{name}"), number);
        self.file(&format!("sys/devices/virtual/block/{name}/dev"), &format!("{number}\n"));
        let real = self.path(&format!("sys/devices/virtual/block/{name}"));
        for place in [format!("block/{name}"), format!("class/block/{name}"), format!("dev/block/{number}")] {
            self.link(&format!("sys/{place}"), &real);
        }
    }

    fn partition(&self, disk: &str, name: &str, number: &str) {
        self.device(name, number);
        let inside = format!("sys/devices/virtual/block/{disk}/{name}");
        self.file(&format!("{inside}/dev"), number);
        self.file(&format!("{inside}/partition"), "1\n");
    }

    fn stacked(&self, below: &str, name: &str) {
        self.file(&format!("sys/devices/virtual/block/{below}/holders/{name}"), "");
    }

    fn mapping(&self, below: &str, name: &str, number: &str, mapped: &str, uuid: &str) {
        self.device(name, number);
        self.file(&format!("sys/devices/virtual/block/{name}/dm/name"), &format!("{mapped}\n"));
        self.file(&format!("sys/devices/virtual/block/{name}/dm/uuid"), &format!("{uuid}\n"));
        self.stacked(below, name);
    }

    fn process(&self, pid: u32, name: &str, words: &[&str], cgroup: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.file(
            &format!("proc/{pid}/cmdline"),
            &words.iter().map(|word| format!("{word}\0")).collect::<String>(),
        );
        self.file(&format!("proc/{pid}/cgroup"), &format!("{cgroup}\n"));
        self.link(&format!("proc/{pid}/ns/mnt"), "mnt:[1]");
        self.link(&format!("proc/{pid}/cwd"), "/");
        fs::create_dir_all(self.path(&format!("proc/{pid}/fd"))).unwrap();
    }

    fn opened(&self, pid: u32, fd: u32, to: impl AsRef<Path>, mount: u64) {
        self.link(&format!("proc/{pid}/fd/{fd}"), to);
        self.file(
            &format!("proc/{pid}/fdinfo/{fd}"),
            &format!("pos:\t0\nflags:\t0100002\nmnt_id:\t{mount}\nino:\t5\n"),
        );
    }

    fn roots(&self) -> Roots {
        Roots {
            proc: self.path("proc"),
            sys: self.path("sys"),
            dev: self.path("dev"),
            number_at: |path| fs::read_to_string(path).ok()?.trim().parse().ok(),
            // None of the made processes is the one that runs this test, whatever its number.
            own: 0,
        }
    }

    fn users(&self, uppers: &[Upper]) -> Vec<(String, String)> {
        let found = users(&self.roots(), DRBD0, uppers, Duration::from_secs(60));
        found.into_iter().map(|DeviceUser { who, ends_with }| (who, ends_with.unwrap_or_default())).collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(who, ends_with)| ((*who).to_owned(), (*ends_with).to_owned())).collect()
}

#[test]
fn nobody() {
    let machine = Machine::new();
    machine.device("sda", "8:0");
    machine.process(5, "idle", &["idle"], "0::/");
    machine.opened(5, 3, machine.path("dev/sda"), 20);
    assert_eq!(machine.users(&[]), []);
}

#[test]
fn lvm_on_a_partition_down_to_its_guests() {
    let machine = Machine::new();
    machine.partition("drbd0", "drbd0p1", "147:1");
    machine.mapping("drbd0p1", "dm-0", "253:0", "vg-vm--101--disk--0", "LVM-aaaabbbb");
    machine.mapping("drbd0p1", "dm-1", "253:1", "vg-root", "LVM-aaaacccc");
    machine.mapping("dm-1", "dm-2", "253:2", "secret", "CRYPT-LUKS2-x-secret");
    machine.file(
        "proc/self/mountinfo",
        "30 1 253:2 / /srv/my\\040data rw - ext4 /dev/mapper/secret rw\n31 1 8:0 / / rw - ext4 /dev/sda rw\n",
    );
    machine.process(
        101,
        "kvm",
        &["/usr/bin/kvm", "-id", "101", "-name", "web,debug-threads=on"],
        "0::/qemu.slice/101.scope",
    );
    machine.opened(101, 14, machine.path("dev/dm-0"), 22);
    machine.process(300, "smbd", &["smbd"], "0::/system.slice/smbd.service");
    machine.opened(300, 4, "/srv/my data/file", 30);
    machine.process(301, "bash", &["bash"], "0::/user.slice");
    fs::remove_file(machine.path("proc/301/cwd")).unwrap();
    machine.link("proc/301/cwd", "/srv/my data/deep");
    assert_eq!(
        machine.users(&[]),
        pairs(&[
            ("process 101 (kvm), guest 101 (web)", "qm shutdown 101"),
            (
                "process 300 (smbd), service smbd.service, with files under /srv/my data",
                "systemctl stop smbd.service"
            ),
            ("process 301 (bash), with files under /srv/my data", "kill 301"),
            ("the file system mounted at /srv/my data", "umount '/srv/my data'"),
            ("encrypted volume secret", "cryptsetup close secret"),
            ("LVM volume vg/root (dm-1)", "vgchange -an vg"),
            ("LVM volume vg/vm-101-disk-0 (dm-0)", "vgchange -an vg"),
        ])
    );
}

#[test]
fn every_kind_of_device_on_top() {
    let machine = Machine::new();
    for (name, number) in
        [("md7", "9:7"), ("bcache0", "252:0"), ("loop3", "7:3"), ("drbd1", "147:1"), ("sdx", "8:99")]
    {
        machine.device(name, number);
    }
    for name in ["md7", "bcache0", "sdx"] {
        machine.stacked("drbd0", name);
    }
    machine.mapping("drbd0", "dm-0", "253:0", "mpatha", "mpath-3600");
    machine.mapping("drbd0", "dm-1", "253:1", "drbd0p1", "part1-x");
    machine.mapping("drbd0", "dm-2", "253:2", "cow", "");
    machine.file(
        "sys/devices/virtual/block/loop3/loop/backing_file",
        &format!("{}\n", machine.path("dev/drbd0").display()),
    );
    machine.file(
        "proc/swaps",
        &format!(
            "Filename Type Size Used Priority\n{} partition 1 0 -2\n",
            machine.path("dev/md7").display()
        ),
    );
    let disk = machine.path("dev/drbd0").display().to_string();
    let uppers = [Upper { minor: 1, resource: "upper".into(), disk }];
    let mut found = machine.users(&uppers);
    found.sort();
    let swap = format!("swapoff {}", machine.path("dev/md7").display());
    let mut expected = pairs(&[
        ("swap", &swap),
        ("RAID array /dev/md7", "mdadm --stop /dev/md7"),
        ("bcache device /dev/bcache0", "echo 1 > /sys/block/bcache0/bcache/stop"),
        ("the device /dev/sdx on it", ""),
        ("multipath device mpatha, which multipathd made of it", "multipath -f mpatha"),
        ("partition mapping drbd0p1", "dmsetup remove drbd0p1"),
        ("device mapping cow (dm-2)", "dmsetup remove cow"),
        ("loop device /dev/loop3", "losetup -d /dev/loop3"),
        ("DRBD resource upper (/dev/drbd1)", "drbdadm down upper"),
    ]);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn other_namespaces_are_named() {
    let machine = Machine::new();
    let mount = |id: u32, place: &str| format!("{id} 1 147:0 / {place} rw - xfs /dev/drbd0 rw\n");
    for (pid, name, cgroup, namespace, mounts) in [
        (70, "mysqld", "0::/lxc/102/system.slice/mysql.service", "mnt:[2]", mount(40, "/var/lib/mysql")),
        (71, "sshd", "0::/lxc/102/system.slice/ssh.service", "mnt:[2]", mount(40, "/var/lib/mysql")),
        (72, "left", "0::/", "mnt:[3]", mount(41, "/mnt")),
    ] {
        machine.process(pid, name, &[name], cgroup);
        fs::remove_file(machine.path(&format!("proc/{pid}/ns/mnt"))).unwrap();
        machine.link(&format!("proc/{pid}/ns/mnt"), namespace);
        machine.file(&format!("proc/{pid}/mountinfo"), &mounts);
    }
    assert_eq!(
        machine.users(&[]),
        pairs(&[
            (
                "the file system mounted at /mnt in the mount namespace of process 72 (left)",
                "nsenter -t 72 -m umount /mnt"
            ),
            (
                "the file system mounted at /var/lib/mysql in the mount namespace of container 102 (process 70)",
                "pct shutdown 102"
            ),
        ])
    );
}

#[test]
fn what_the_kernel_serves() {
    let machine = Machine::new();
    let config = "sys/kernel/config";
    let disk = machine.path("dev/drbd0").display().to_string();
    machine.file(&format!("{config}/target/core/iblock_0/disk0/udev_path"), &disk);
    machine.file(&format!("{config}/target/core/fileio_1/image/udev_path"), "/srv/image");
    machine.file(&format!("{config}/target/core/iblock_2/other/udev_path"), "/dev/nothing");
    let backstore = machine.path(&format!("{config}/target/core/iblock_0/disk0"));
    machine.link(&format!("{config}/target/iscsi/iqn.2003-01.x/tpgt_1/lun/lun_0/4a5b"), backstore);
    let namespaces = format!("{config}/nvmet/subsystems/nqn.x/namespaces");
    machine.file(&format!("{namespaces}/1/device_path"), &disk);
    machine.file(&format!("{namespaces}/1/enable"), "1\n");
    machine.file(&format!("{namespaces}/2/device_path"), &disk);
    machine.file(&format!("{namespaces}/2/enable"), "0\n");
    machine.file("proc/self/mountinfo", "30 1 147:0 / /srv rw - ext4 /dev/drbd0 rw\n");
    machine.file("proc/fs/nfsd/exports", "# Version 1.1\n/srv/nfs\t10.0.0.0/8(rw)\n/other\t*(ro)\n");
    let enable = format!("echo 0 > {}", machine.path(&format!("{namespaces}/1/enable")).display());
    assert_eq!(
        machine.users(&[]),
        pairs(&[
            ("the iSCSI/LIO backstore image", "targetcli /backstores/fileio delete image"),
            (
                "the iSCSI/LIO backstore disk0, exported as iqn.2003-01.x",
                "targetcli /backstores/block delete disk0"
            ),
            ("namespace 1 of the NVMe target nqn.x", &enable),
            ("the NFS export /srv/nfs", "systemctl stop nfs-server"),
            ("the file system mounted at /srv", "umount /srv"),
        ])
    );
}

/// A machine of files on which processes and the kernel use one regular file.
fn writers_of_a_file(arrange: impl Fn(&Machine, &Path)) -> Vec<String> {
    let machine = Machine::new();
    let path = machine.path("srv/a.img");
    machine.file("srv/a.img", "x");
    machine.file("srv/other.img", "x");
    arrange(&machine, &path);
    let identity = Identity::of(&fs::metadata(&path).unwrap()).unwrap();
    let roots = machine.roots();
    let mut by = super::others::writers(&roots, identity);
    by.extend(super::others::kernel(&roots, identity));
    by
}

fn descriptor(machine: &Machine, pid: u32, to: &Path, flags: &str) {
    machine.link(&format!("proc/{pid}/fd/3"), to);
    machine.file(&format!("proc/{pid}/fdinfo/3"), &format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t7\n"));
    let mounts = "7 1 254:1 / / rw - ext4 /dev/sda1 rw\n8 1 0:50 / /far rw - nfs4 host:/ rw\n";
    machine.file(&format!("proc/{pid}/mountinfo"), mounts);
}

#[test]
fn descriptors_that_write() {
    for (flags, writes) in [("0100000", false), ("0100001", true), ("0100002", true)] {
        let by = writers_of_a_file(|machine, path| {
            machine.process(5, "writer", &["writer"], "0::/");
            descriptor(machine, 5, path, flags);
        });
        assert_eq!(by, if writes { vec!["process 5 (writer)"] } else { vec![] }, "{flags}");
    }
    let by = writers_of_a_file(|machine, _| {
        machine.process(5, "writer", &["writer"], "0::/");
        descriptor(machine, 5, &machine.path("srv/other.img"), "0100002");
    });
    assert_eq!(by, [""; 0], "another file");
    // Its first thread has ended: what the others have is found with them.
    let by = writers_of_a_file(|machine, path| {
        machine.process(5, "writer", &["writer"], "0::/");
        machine.file("proc/5/task/5/comm", "");
        machine.file("proc/5/task/6/comm", "");
        descriptor(machine, 6, path, "0100002");
    });
    assert!(by.contains(&"process 5 (writer)".to_owned()), "{by:?}");
}

#[test]
fn memory_that_writes() {
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    for (permissions, flags, writes) in [
        ("rw-s", "", true),
        // It may be made writable at any time; or it may not.
        ("r--s", "rd sh mr mw me ms", true),
        ("r--s", "rd sh mr me ms", false),
        ("rw-p", "", false),
    ] {
        let by = writers_of_a_file(|machine, path| {
            machine.process(5, "mapper", &["mapper"], "0::/");
            let line = format!("1000-3000 {permissions} 00000000 fe:01 {} /gone (deleted)\n", inode(path));
            machine.file("proc/5/maps", &format!("0-1000 rw-p 00000000 00:00 0 \n{line}"));
            machine.file("proc/5/smaps", &format!("{line}Size: 8 kB\nVmFlags: {flags}\n"));
            machine.link("proc/5/map_files/1000-3000", path);
        });
        let named = ["process 5 (mapper), which has it mapped into its memory"];
        assert_eq!(by, named[..usize::from(writes)], "{permissions} {flags}");
    }
    // The inode's number alone says nothing.
    let by = writers_of_a_file(|machine, path| {
        machine.process(5, "mapper", &["mapper"], "0::/");
        machine.file("proc/5/maps", &format!("1000-3000 rw-s 0 fe:01 {} /x\n", inode(path)));
        machine.link("proc/5/map_files/1000-3000", machine.path("srv/other.img"));
    });
    assert_eq!(by, [""; 0]);
}

#[test]
fn rings_that_may_write() {
    let by = writers_of_a_file(|machine, path| {
        machine.process(5, "ring", &["ring"], "0::/");
        machine.link("proc/5/fd/4", "anon_inode:[io_uring]");
        let files = format!("UserFiles:\t2\n    0: <none>\n    1: {}\n", path.display());
        machine.file("proc/5/fdinfo/4", &format!("pos:\t0\n{files}UserBufs:\t0\n"));
    });
    assert_eq!(by, ["process 5 (ring), through an io_uring"]);
}

#[test]
fn what_the_kernel_writes_to_a_file_for() {
    let by = writers_of_a_file(|machine, path| {
        let config = "sys/kernel/config";
        let shown = path.display();
        machine.file(&format!("{config}/target/core/fileio_1/image/udev_path"), "\n");
        machine.file(
            &format!("{config}/target/core/fileio_1/image/info"),
            &format!(
                "Status: ACTIVATED\n        TCM FILEIO ID: 0        File: {shown}  Size: 1  Mode: O_DSYNC\n"
            ),
        );
        machine.file(&format!("{config}/target/core/fileio_2/named/udev_path"), &format!("{shown}\n"));
        machine.file(&format!("{config}/target/core/fileio_3/other/udev_path"), "/srv/nothing\n");
        let namespace = format!("{config}/nvmet/subsystems/nqn.x/namespaces/1");
        machine.file(&format!("{namespace}/device_path"), &format!("{shown}\n"));
        machine.file(&format!("{namespace}/enable"), "1\n");
        machine.file("proc/swaps", &format!("Filename Type Size Used Priority\n{shown} file 1 0 -2\n"));
        machine.device("loop3", "7:3");
        machine.file("sys/devices/virtual/block/loop3/loop/backing_file", &format!("{shown}\n"));
    });
    let [first, second, third, swap, last] = &by[..] else { panic!("{by:?}") };
    assert_eq!([first, second], ["the iSCSI/LIO backstore image", "the iSCSI/LIO backstore named"]);
    assert_eq!(third, "namespace 1 of the NVMe target nqn.x");
    assert!(swap.starts_with("swap ("), "{swap}");
    assert_eq!(last, "the loop device /dev/loop3");
}

/// What opens a whole disk, or a partition, asks for no exclusiveness of the other: both lead to the same bytes.
#[test]
fn writers_of_the_whole_disk_and_of_its_partitions() {
    let machine = Machine::new();
    machine.device("sda", "8:0");
    machine.partition("sda", "sda1", "8:1");
    machine.partition("sda", "sda2", "8:2");
    fs::remove_file(machine.path("sys/dev/block/8:1")).unwrap();
    machine.link("sys/dev/block/8:1", machine.path("sys/devices/virtual/block/sda/sda1"));
    for (pid, device) in [(5, "sda"), (6, "sda1"), (7, "sda2")] {
        machine.process(pid, device, &["x"], "0::/");
        descriptor(&machine, pid, &machine.path(&format!("dev/{device}")), "0100002");
    }
    let by = |minor| {
        let identity = Identity::Device { rdev: rustix::fs::makedev(8, minor) };
        super::others::writers(&machine.roots(), identity)
    };
    assert_eq!(by(0), ["process 5 (sda)", "process 6 (sda1)", "process 7 (sda2)"]);
    assert_eq!(by(1), ["process 5 (sda)", "process 6 (sda1)"]);
    // A target or a second loop device opens a device beside others, too.
    let shown = machine.path("dev/sda1").display().to_string();
    machine.file("sys/kernel/config/target/core/fileio_1/raw/udev_path", &shown);
    let identity = Identity::Device { rdev: rustix::fs::makedev(8, 1) };
    assert_eq!(super::others::kernel(&machine.roots(), identity), ["the iSCSI/LIO backstore raw"]);
}

/// A device that is mapped is used, though nobody has a descriptor of it; its node may be anywhere.
#[test]
fn a_mapped_device_is_used() {
    let machine = Machine::new();
    machine.process(5, "mapper", &["mapper"], "0::/");
    machine.file("srv/node", "147:0");
    machine.file("proc/5/maps", "1000-3000 rw-s 00000000 fe:01 99 /gone\n");
    machine.link("proc/5/map_files/1000-3000", machine.path("srv/node"));
    assert_eq!(
        machine.users(&[]),
        pairs(&[("process 5 (mapper), which has it mapped into its memory", "kill 5")])
    );
}

#[test]
fn pools_are_found_in_what_zpool_prints() {
    let machine = Machine::new();
    let roots = machine.roots();
    let status = format!(
        "  pool: tank\n state: ONLINE\nconfig:\n\n\tNAME  STATE\n\ttank  ONLINE\n\t  {}  ONLINE  0 0 0\n\n  pool: other\n",
        machine.path("dev/drbd0").display()
    );
    let found = super::exports::pools(&roots, &[DRBD0].into(), &status);
    assert_eq!(
        found,
        [DeviceUser { who: "the ZFS pool tank".into(), ends_with: Some("zpool export tank".into()) }]
    );
}

#[test]
fn damaged_trees_name_nobody_and_end() {
    let machine = Machine::new();
    // A loop of holders, a holder that is gone, devices without numbers, nonsense instead of text.
    machine.device("dm-0", "253:0");
    machine.stacked("drbd0", "dm-0");
    machine.stacked("dm-0", "drbd0");
    machine.stacked("dm-0", "gone");
    machine.file("sys/devices/virtual/block/dm-0/dm/name", "\u{0}\n");
    machine.file("sys/block/loop0/dev", "x");
    machine.file("sys/block/loop0/loop/backing_file", "");
    machine.file("proc/self/mountinfo", "\n - \n1 2 3\n9 9 x:y / / - a b\n");
    machine.file("proc/swaps", "\n\n\n");
    machine.file("proc/99999999999/comm", "");
    machine.link("proc/7/fd", "/nowhere");
    machine.file("proc/8/fd/3", "no link");
    assert_eq!(machine.users(&[]).len(), 1);
}

#[test]
fn a_real_loop_device() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let made = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
    let Some(device) = made.ok().filter(|made| made.status.success()) else {
        crate::skipped::needs_root("no loop device can be made here");
        return;
    };
    let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
    let roots = Roots::of_this_machine();
    let number = (roots.number_at)(Path::new(&device)).unwrap();
    let mut reader = Command::new("sleep").arg("60").stdin(fs::File::open(&device).unwrap()).spawn().unwrap();
    let limit = Duration::from_secs(60);
    let held = users(&roots, number, &[], limit);
    reader.kill().unwrap();
    reader.wait().unwrap();
    let after = users(&roots, number, &[], limit);
    Command::new("losetup").args(["--detach", &device]).status().unwrap();
    assert!(
        held.iter().any(|user| user.who.starts_with(&format!("process {} (sleep)", reader.id()))),
        "{held:?}"
    );
    assert!(!after.iter().any(|user| user.who.contains("(sleep)")), "{after:?}");
}

#[test]
fn a_real_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let (image, place) = (folder.path().join("image"), folder.path().join("mounted here"));
    fs::write(&image, vec![0; 4 << 20]).unwrap();
    fs::create_dir(&place).unwrap();
    let ran = |program: &str, words: &[&Path]| {
        Command::new(program).args(words).output().is_ok_and(|ran| ran.status.success())
    };
    let made = ran("mkfs.ext4", &[Path::new("-q"), &image]);
    if !made || !ran("mount", &[Path::new("-o"), Path::new("loop"), &image, &place]) {
        crate::skipped::needs_root("no file system can be mounted here");
        return;
    }
    let roots = Roots::of_this_machine();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains("mounted\\040here")).unwrap();
    let number = line.split(' ').nth(2).unwrap().parse().unwrap();
    let mut inside = Command::new("sleep").arg("60").current_dir(&place).spawn().unwrap();
    let found = users(&roots, number, &[], Duration::from_secs(60));
    inside.kill().unwrap();
    inside.wait().unwrap();
    assert!(ran("umount", &[&place]));
    let who: Vec<&str> = found.iter().map(|user| user.who.as_str()).collect();
    let of_place = |user: &&DeviceUser| user.who == format!("the file system mounted at {}", place.display());
    let ends_with = found.iter().find(of_place).unwrap_or_else(|| panic!("{who:?}")).ends_with.clone();
    assert_eq!(ends_with, Some(format!("umount '{}'", place.display())));
    let with_files = format!("with files under {}", place.display());
    assert!(
        who.iter()
            .any(|who| who.starts_with(&format!("process {}", inside.id())) && who.ends_with(&with_files)),
        "{who:?}"
    );
}
