//! Something else in place of the backing device: containers, compressed files, archives, whole disks, stores, members
//! of a RAID. Also where DRBD's superblock stands at the right place all the same. And what a volume may well hold.

use super::scene::{BLOCK, SIZE, Scene, image, image_with_external_metadata, skipped};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use unsplit::format::lvm2::write::{Identifier, VolumeGroupSpec, VolumeSpec, describe};
use unsplit::format::offered::kinds;
use unsplit::format::qcow2::owned::{Owner, owner};

const MIB: u64 = 1 << 20;

/// Every command that takes two sides, with `x.img` as the second one.
const COMMANDS: [&[&str]; 5] = [
    &["status", "a.img", "x.img"],
    &["diff", "a.img", "x.img"],
    &["plan", "a.img", "x.img", "--keep", "a"],
    &["report", "a.img", "x.img"],
    &["resolve", "a.img", "x.img", "--keep", "a", "--yes"],
];

#[track_caller]
fn all_refuse(scene: &Scene, says: &[&str]) {
    for words in COMMANDS {
        scene.refuses(words, 4, says);
    }
}

/// Bytes at places, as a file of `size` bytes.
fn file(path: &Path, size: u64, pieces: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, bytes) in pieces {
        file.write_all_at(bytes, *at).unwrap();
    }
}

/// A table sector with one primary partition, in sectors.
fn mbr(first: u64, sectors: u64) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[446 + 4] = 0x83;
    sector[446 + 8..446 + 12].copy_from_slice(&u32::try_from(first).unwrap().to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&u32::try_from(sectors).unwrap().to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Runs a program quietly; `None`, said aloud, where it is missing.
fn tool(folder: &Path, program: &str, words: &[&str]) -> Option<bool> {
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) => Some(status.success()),
        Err(_) => {
            skipped(&format!("{program} is not here"));
            None
        }
    }
}

fn shell(folder: &Path, line: &str) -> bool {
    tool(folder, "sh", &["-c", line]).unwrap()
}

/// What a command's `next:` line says.
fn next(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("next: "));
    line.unwrap_or_else(|| panic!("no next line in:\n{text}")).to_owned()
}

/// Magic numbers from the formats' specifications, over an image whose superblock stands where it belongs.
#[test]
fn containers_by_their_magic_numbers() {
    let marks: [(u64, &[u8], &str, &str); 35] = [
        (0, b"QFI\xfb\0\0\0\x02", "qcow2 image", "qemu-img convert -O raw -f qcow2"),
        (0, b"QFI\xfb\0\0\0\x01", "qcow image", "qemu-img convert -O raw -f qcow "),
        (0, b"QED\0", "QED image", "-f qed"),
        (0, b"KDMV", "VMDK image", "-f vmdk"),
        (0, b"COWD", "VMDK image", "-f vmdk"),
        (0, b"# Disk DescriptorFile\n", "descriptor of a VMDK", "-f vmdk"),
        (0x40, &0xbeda_107f_u32.to_le_bytes(), "VDI image", "-f vdi"),
        (0, b"vhdxfile", "VHDX image", "-f vhdx"),
        (0, b"conectix", "VHD image", "-f vpc"),
        (SIZE - 512, b"conectix", "VHD image of fixed size", "-f vpc"),
        (0, b"WithoutFreeSpace", "Parallels image", "-f parallels"),
        (0, b"WithouFreSpacExt", "Parallels image", "-f parallels"),
        (0, b"EVF\x09\x0d\x0a\xff\0", "EWF", "ewfmount"),
        (0, b"VMA\0", "Proxmox VMA", "vma extract"),
        (0, b"partclone-image", "partclone image", "partclone.restore"),
        (0, b"rbd diff v1\n", "RBD difference", "rbd import-diff"),
        (0, b"btrfs-stream\0", "btrfs send stream", "btrfs receive"),
        (8, &0x2_f5ba_cbac_u64.to_le_bytes(), "ZFS send stream", "zfs receive"),
        (8, &0x2_f5ba_cbac_u64.to_be_bytes(), "ZFS send stream", "zfs receive"),
        (0, b"# DRBD meta data dump\n", "text dump of DRBD's metadata", "backing device"),
        (0, &0xfd2f_b528_u32.to_le_bytes(), "zstd-compressed", "zstd -d"),
        (0, b"\xfd7zXZ\0", "xz-compressed", "xz -dc"),
        (0, b"\x1f\x8b\x08\0", "gzip-compressed", "gzip -dc"),
        (0, b"BZh91AY&SY", "bzip2-compressed", "bzip2 -dc"),
        (0, b"\x89LZO\0\r\n\x1a\n", "lzop-compressed", "lzop -dc"),
        (0, &0x184d_2204_u32.to_le_bytes(), "lz4-compressed", "lz4 -dc"),
        (0, &0x184c_2102_u32.to_le_bytes(), "lz4-compressed", "lz4 -dc"),
        (0, b"7z\xbc\xaf\x27\x1c", "7z archive", "7z x"),
        (0, b"PK\x03\x04", "zip archive", "unzip"),
        (257, b"ustar", "tar archive", "tar -xf"),
        (0, b"070701", "cpio archive", "cpio"),
        (0, b"hsqs", "squashfs", "unsquashfs"),
        (0, b"SnAp\x01\0\0\0", "exception store of a snapshot", "the snapshot's own device"),
        (32, &27_022_010_u64.to_le_bytes(), "metadata device of a thin pool", "thin volume's own device"),
        (0, b"# Mapfile. Created by GNU ddrescue version 1.27\n", "map file of ddrescue", "ddrescue"),
    ];
    let scene = Scene::split();
    for (at, mark, what, next_says) in marks {
        let mut bytes = image(1);
        let at = usize::try_from(at).unwrap();
        bytes[at..at + mark.len()].copy_from_slice(mark);
        fs::write(scene.path("x.img"), &bytes).unwrap();
        let refused = scene.refuses(&["status", "a.img", "x.img"], 4, &["side b", what]);
        let told = next(&refused.err);
        assert!(told.contains(next_says), "{what}: {told}");
        // The way out is there, and is not the first thing said.
        assert!(told.find("--as-is-b").unwrap() > told.find(next_says).unwrap(), "{told}");
        scene.run(&["status", "a.img", "x.img", "--as-is-b"]).says(1, &["SPLIT BRAIN"]);
        // One letter less, and it is a volume like any other.
        bytes[at] ^= 0x20;
        fs::write(scene.path("x.img"), &bytes).unwrap();
        scene.run(&["status", "a.img", "x.img"]).says(1, &["SPLIT BRAIN"]);
    }
    fs::write(scene.path("x.img"), [b"KDMV", &image(1)[4..]].concat()).unwrap();
    all_refuse(&scene, &["side b", "x.img: is a VMDK image, not the device itself"]);
    // Both sides wrong in the same way.
    fs::copy(scene.path("x.img"), scene.path("a.img")).unwrap();
    all_refuse(&scene, &["side a", "a.img: is a VMDK image"]);
    // On a peer, too.
    let agent = format!("exec:{} agent --stdio", env!("CARGO_BIN_EXE_unsplit"));
    fs::write(scene.path("a.img"), image(0)).unwrap();
    let there = scene.path("x.img").display().to_string();
    let words = ["status", "a.img", there.as_str(), "--peer", agent.as_str()];
    scene.refuses(&words, 4, &["side b", "is a VMDK image", "qemu-img convert -O raw -f vmdk", "--as-is-b"]);
    scene.run(&[&words[..], &["--as-is-b"]].concat()).says(1, &["SPLIT BRAIN"]);
}

/// A wrong magic number costs a volume its healing: each kind has a command or a sentence, and a name that fits the frame.
#[test]
fn every_kind_says_what_to_do() {
    for kind in kinds::all() {
        let starts = ["a ", "an ", "the "].iter().any(|article| kind.what.starts_with(article));
        assert!(starts && !kind.next.is_empty() && !kind.next.ends_with('.'), "{kind:?}");
    }
}

/// What the real tools write, and the command that is suggested leads back to the image.
#[test]
fn what_the_tools_write() {
    let scene = Scene::split();
    let folder = scene.folder.path();
    let makes: [(&str, &[&str], &str); 13] = [
        (
            "qemu-img",
            &["convert", "-O", "qcow2", "-o", "preallocation=full", "b.img", "x.img"],
            "qcow2 image",
        ),
        ("qemu-img", &["convert", "-O", "qcow2", "b.img", "x.img"], "qcow2 image"),
        ("qemu-img", &["convert", "-O", "qcow2", "-o", "compat=0.10", "b.img", "x.img"], "qcow2 image"),
        ("qemu-img", &["convert", "-O", "vmdk", "b.img", "x.img"], "VMDK image"),
        ("qemu-img", &["convert", "-O", "vdi", "-o", "static=on", "b.img", "x.img"], "VDI image"),
        ("qemu-img", &["convert", "-O", "vhdx", "-o", "subformat=fixed", "b.img", "x.img"], "VHDX image"),
        ("qemu-img", &["convert", "-O", "qed", "b.img", "x.img"], "QED image"),
        ("qemu-img", &["convert", "-O", "parallels", "b.img", "x.img"], "Parallels image"),
        ("gzip", &["-kf", "b.img"], "gzip-compressed"),
        ("xz", &["-kf", "b.img"], "xz-compressed"),
        ("zstd", &["-qkf", "b.img"], "zstd-compressed"),
        ("bzip2", &["-kf", "b.img"], "bzip2-compressed"),
        ("lz4", &["-qf", "b.img", "x.img"], "lz4-compressed"),
    ];
    for (program, words, what) in makes {
        let Some(made) = tool(folder, program, words) else { continue };
        if !made {
            skipped(&format!("{program} {words:?} failed: built without it"));
            continue;
        }
        for suffix in ["gz", "xz", "zst", "bz2"] {
            let packed = scene.path(format!("b.img.{suffix}"));
            if packed.exists() {
                fs::rename(packed, scene.path("x.img")).unwrap();
            }
        }
        let refused = scene.refuses(&["status", "a.img", "x.img"], 4, &["side b", what]);
        let told = next(&refused.err);
        let command = told.split(" (").next().unwrap().split(';').next().unwrap();
        assert!(shell(folder, command), "{what}: {command}");
        let mut back = fs::read(scene.path("x.img.raw")).unwrap();
        back.truncate(usize::try_from(SIZE).unwrap());
        assert!(back == image(1), "{what}: {command} gave something else");
        fs::remove_file(scene.path("x.img")).unwrap();
        fs::remove_file(scene.path("x.img.raw")).unwrap();
    }
    for (program, line, what) in [
        ("tar", "tar -cf x.img b.img", "tar archive"),
        ("zip", "zip -q0 x.zip b.img && mv x.zip x.img", "zip archive"),
    ] {
        if tool(folder, program, &["--version"]).is_some() && shell(folder, line) {
            all_refuse(&scene, &["side b", what]);
        }
    }
}

/// A qcow2 file that holds a volume is refused; a volume that holds a qcow2 file is a volume. The file's own reference
/// counts tell the two apart.
#[test]
fn a_volume_may_hold_a_qcow2_file() {
    let scene = Scene::split();
    let folder = scene.folder.path();
    for compat in ["compat=1.1", "compat=0.10"] {
        let Some(true) =
            tool(folder, "qemu-img", &["create", "-q", "-f", "qcow2", "-o", compat, "guest", "1M"])
        else {
            skipped("qemu-img is needed");
            return;
        };
        let guest = fs::read(scene.path("guest")).unwrap();
        for name in ["a.img", "b.img"] {
            scene.poke(name, 0, &guest);
        }
        scene.run(&["status", "a.img", "b.img"]).says(1, &["SPLIT BRAIN"]);
        let bytes = fs::read(scene.path("b.img")).unwrap();
        assert_eq!(owner(&bytes.as_slice(), SIZE - BLOCK), Owner::Nobody);
        assert_eq!(owner(&bytes.as_slice(), 0), Owner::File);
        // Not closed in order: the counts prove nothing any more.
        if compat == "compat=1.1" {
            scene.poke("b.img", 79, &[1]);
            scene.refuses(&["status", "a.img", "b.img"], 4, &["qcow2 image", "--as-is-b"]);
        }
    }
}

/// A whole disk in place of its partition, MBR, with the superblock where both end.
#[test]
fn a_whole_disk_whose_partition_ends_it() {
    let scene = Scene::split();
    for (name, side) in [("x.img", 1), ("y.img", 0)] {
        file(&scene.path(name), SIZE + MIB, &[(0, &mbr(2048, SIZE / 512)), (MIB, &image(side))]);
    }
    let says = ["is a whole disk; DRBD's metadata ends its partition 1"];
    all_refuse(&scene, &["side b", says[0]]);
    scene.copy("y.img", "a.img");
    all_refuse(&scene, &["side a", says[0], "losetup -f --show -r -o 1048576 --sizelimit 4194304", "a.img"]);
}

/// Behind the last partition of a GPT stands the table's copy, and behind that of an MBR whatever was left over. So no
/// superblock stands at the disk's end, and cutting the disk there would make a wrong device.
#[test]
fn a_whole_disk_with_room_behind_its_partition() {
    let scene = Scene::split();
    let folder = scene.folder.path();
    file(&scene.path("x.img"), SIZE + 3 * MIB, &[(0, &mbr(2048, SIZE / 512)), (MIB, &image(1))]);
    let mbr_says =
        ["is a whole disk; DRBD's metadata ends its partition 1", "-o 1048576 --sizelimit 4194304"];
    all_refuse(&scene, &mbr_says);
    for words in COMMANDS {
        assert!(!scene.run(words).all().to_lowercase().contains("cut "), "{words:?}");
    }
    let sectors = SIZE / 512;
    let first = (MIB + 5 * MIB) / 512;
    file(&scene.path("x.img"), SIZE + 8 * MIB, &[]);
    let script = format!(
        "label: gpt\nstart=2048, size=2048\nstart={first}, size={sectors}, name=\"drbd\"\nstart={}, size=2048\n",
        first + sectors
    );
    if made_by_sfdisk(folder, "x.img", &script) {
        scene.poke("x.img", first * 512, &image(1));
        all_refuse(
            &scene,
            &["whole disk; DRBD's metadata ends its partition 2 (drbd)", "-o 6291456 --sizelimit"],
        );
    }
    // The last logical partition, and the one before the last; both ends are no multiples of 4 KiB.
    file(&scene.path("x.img"), 3 * SIZE, &[]);
    let script =
        format!("label: dos\nstart=63, size=20000, type=5\nstart=126, size=80\nstart=1001, size={sectors}\n");
    if made_by_sfdisk(folder, "x.img", &script) {
        scene.poke("x.img", 1001 * 512, &image(1));
        all_refuse(&scene, &["DRBD's metadata ends its partition 6", "-o 512512 --sizelimit 4194304"]);
    }
}

fn made_by_sfdisk(folder: &Path, name: &str, script: &str) -> bool {
    let mut command = Command::new("sfdisk");
    command.args(["-q", "--no-reread", name]).current_dir(folder).stdin(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::null()).spawn() else {
        skipped("sfdisk is not here");
        return false;
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
    true
}

/// A partition that was grown since: its superblock is not at its end. Not the disk is to be cut for that.
#[test]
fn a_whole_disk_whose_partition_was_grown() {
    let scene = Scene::split();
    file(&scene.path("x.img"), SIZE + 4 * MIB, &[(0, &mbr(2048, SIZE / 512 + 4096)), (MIB, &image(1))]);
    all_refuse(&scene, &["is a whole disk", "inside its partition 1 but not at the partition's end"]);
    assert!(!scene.run(COMMANDS[0]).all().contains("check-resize"));
}

/// A table that describes more than is replicated, whatever it was made for.
#[test]
fn a_table_for_a_larger_disk() {
    let scene = Scene::split();
    scene.copy("b.img", "x.img");
    scene.poke("x.img", 0, &mbr(2048, SIZE / 512 - 2048));
    all_refuse(
        &scene,
        &["partition 1 ends at byte 4194304", "the table describes a larger disk", "--as-is-b"],
    );
}

/// A guest's disk on DRBD has a table, too, and its partitions end where the volume does, or before.
#[test]
fn a_guests_own_partitions_are_fine() {
    let scene = Scene::split();
    let replicated = {
        let end = scene.run(&["--json", "status", "a.img", "b.img"]);
        let seen: serde_json::Value = serde_json::from_str(&end.out).unwrap();
        seen["sides"]["a"]["evidence"]["superblock"]["effective_size"].as_u64().unwrap()
    };
    for name in ["a.img", "b.img"] {
        scene.poke(name, 0, &mbr(2048, replicated - 2048));
    }
    scene.run(&["status", "a.img", "b.img"]).says(1, &["SPLIT BRAIN"]);
    scene.heal();
    for name in ["a.img", "b.img"] {
        scene.poke(name, 0, &mbr(2048, replicated - 2047));
    }
    scene.refuses(&["status", "a.img", "b.img"], 4, &["side a", "larger disk"]);
}

/// Devices that carry the right one at an offset, or under a cache.
#[test]
fn members_of_something_larger() {
    let scene = Scene::split();
    let md1 = |start: u64, len: u64| {
        let mut block = vec![0; 256];
        block[..8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
        block[128..136].copy_from_slice(&(start / 512).to_le_bytes());
        block[136..144].copy_from_slice(&(len / 512).to_le_bytes());
        block
    };
    // Version 1.2: the superblock at 4 KiB, the data behind 1 MiB.
    file(&scene.path("x.img"), SIZE + MIB, &[(4096, &md1(MIB, SIZE)), (MIB, &image(1))]);
    all_refuse(&scene, &["is a member of a Linux RAID, not the array", "mdadm --assemble"]);
    // Version 1.0: the data at 0, the superblock behind it. DRBD's own is where the array ends.
    let at = (SIZE + 16384) / 512 - 16;
    file(&scene.path("x.img"), SIZE + 16384, &[(0, &image(1)), (at / 8 * 8 * 512, &md1(0, SIZE))]);
    all_refuse(&scene, &["is a member of a Linux RAID"]);
    // A guest's own RAID: it ends inside what is replicated.
    scene.copy("b.img", "x.img");
    scene.poke("x.img", 4096, &md1(MIB, SIZE - 2 * MIB));
    scene.run(COMMANDS[0]).says(1, &["SPLIT BRAIN"]);
    let mut bcache = vec![0; 200];
    bcache[16] = 1;
    bcache[24..40].copy_from_slice(b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81");
    file(&scene.path("x.img"), SIZE + 8192, &[(4096, &bcache), (8192, &image(1))]);
    all_refuse(&scene, &["the backing device of a bcache", "/dev/bcacheN"]);
}

/// A physical volume in place of its logical volume.
#[test]
fn a_physical_volume_of_lvm() {
    let scene = Scene::split();
    let id = |seed: u8| Identifier::from_bytes([seed; 32]);
    let volume = |name: &str, seed, bytes| VolumeSpec { name: name.into(), id: id(seed), bytes };
    for behind in [0, 2 * MIB] {
        let size = MIB + MIB + SIZE + behind;
        let described = describe(&VolumeGroupSpec {
            name: "vg".into(),
            id: id(1),
            pv_id: id(2),
            device_size: size,
            extent_size: MIB,
            volumes: vec![volume("other", 3, MIB), volume("r0", 4, SIZE)],
            created: 1_700_000_000,
        })
        .unwrap();
        let at = described.volumes[1].start;
        file(&scene.path("x.img"), size, &[(0, &described.head), (at, &image(1))]);
        all_refuse(
            &scene,
            &["is a physical volume of LVM; DRBD's metadata ends its vg/r0", &format!("-o {at} ")],
        );
    }
}

/// A file system that is longer than the volume, and a header of an unknown kind before a volume that is known.
#[test]
fn file_systems_and_headers() {
    let scene = Scene::split();
    let mut xfs = b"XFSB\0\0\x10\0".to_vec();
    xfs.extend((SIZE / 4096).to_be_bytes());
    scene.copy("b.img", "x.img");
    scene.poke("x.img", 0, &xfs);
    all_refuse(&scene, &["begins with an XFS file system of 4194304 bytes", "inside the file system"]);
    let mut inside = image(1);
    inside[..4].copy_from_slice(b"XFSB");
    file(&scene.path("x.img"), SIZE + 65536, &[(65536, &inside)]);
    all_refuse(&scene, &["65536 bytes more than the metadata accounts for", "xfs begins exactly there"]);
}

/// With the metadata elsewhere, the data device is looked at all the same.
#[test]
fn beside_external_metadata() {
    let scene = Scene::empty();
    for (name, side) in [("a", 0), ("b", 1)] {
        let (data, metadata) = image_with_external_metadata(side);
        fs::write(scene.path(format!("{name}.img")), data).unwrap();
        fs::write(scene.path(format!("{name}.md")), metadata).unwrap();
    }
    let words = ["status", "a.img", "x.img", "--meta-a", "a.md", "--meta-b", "b.md"];
    let data = fs::read(scene.path("b.img")).unwrap();
    file(&scene.path("x.img"), SIZE + MIB, &[(0, &mbr(2048, SIZE / 512)), (MIB, &data)]);
    scene.refuses(
        &words,
        4,
        &["is a whole disk; its partition 1 has the size that DRBD replicates", "-o 1048576"],
    );
    fs::write(scene.path("x.img"), [b"\xfd7zXZ\0", &data[..100]].concat()).unwrap();
    scene.refuses(&words, 4, &["is an xz-compressed file", "xz -dc"]);
    let mut longer = [b"\xfd7zXZ\0", &data[6..]].concat();
    longer.extend([7; 4096]);
    fs::write(scene.path("x.img"), longer).unwrap();
    scene.refuses(&words, 4, &["is an xz-compressed file", "--as-is-b"]);
    scene.copy("b.img", "x.img");
    scene.run(&words).says(1, &["SPLIT BRAIN"]);
}

/// What a person said about a side goes with the plan, so that carrying it out, resuming and undoing need no word again.
#[test]
fn as_is_goes_with_the_plan() {
    let scene = Scene::split();
    for name in ["a.img", "b.img"] {
        scene.poke(name, 0, b"KDMV");
    }
    let words = ["resolve", "a.img", "b.img", "--keep", "a", "--yes", "--as-is-a"];
    scene.refuses(&words, 4, &["side b", "VMDK"]);
    let both = [&words[..], &["--as-is-b"]].concat();
    scene.run(&["status", "a.img", "b.img", "--as-is-a", "--as-is-b"]).says(1, &["--as-is-a --as-is-b"]);
    scene.run(&both).says(0, &["Healed"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
}

/// `compare` compares whatever it is given, and says what that is.
#[test]
fn compare_says_what_it_compares() {
    let scene = Scene::split();
    scene.copy("a.img", "x.img");
    scene.poke("x.img", 0, b"KDMV");
    scene.run(&["compare", "a.img", "x.img"]).says(1, &["x.img is a VMDK image", "not what is in it"]);
    let ran = scene.run(&["compare", "a.img", "b.img"]);
    assert!(!ran.all().contains("not what is in it"), "{}", ran.all());
}

/// Files that are shorter than what is looked at.
#[test]
fn what_is_too_short_to_look_at() {
    let scene = Scene::split();
    for len in [1, 3, 511, 4095, 8191] {
        let mut file = File::create(scene.path("x.img")).unwrap();
        file.seek(SeekFrom::Start(len - 1)).unwrap();
        file.write_all(&[0]).unwrap();
        scene.refuses(COMMANDS[0], 4, &["side b", "x.img"]);
    }
}

/// A volume's blocks, none like another.
fn fill(image: &mut [u8], seed: u8) {
    for (at, block) in image[..usize::try_from(2 * MIB).unwrap()].chunks_mut(4096).enumerate() {
        let mut out = blake3::Hasher::new_keyed(&[seed; 32]).update(&at.to_le_bytes()).finalize_xof();
        out.fill(block);
    }
}

/// Both sides full of the same blocks, but for what the split changed at 3 MiB.
fn filled(seeds: [u8; 2]) -> [Vec<u8>; 2] {
    let mut both = [image(0), image(1)];
    for (image, seed) in both.iter_mut().zip(seeds) {
        fill(image, seed);
    }
    both
}

/// One side's volume stands behind a header that nobody knows, and the other side is right: found by what stands there.
#[test]
fn a_header_of_zeros_before_one_side() {
    let scene = Scene::split();
    let [a, b] = filled([1, 1]);
    let header = 128 << 10;
    for (wrong, (left, right)) in [("b", (0, header)), ("a", (header, 0))] {
        file(&scene.path("a.img"), SIZE + left, &[(left, &a)]);
        file(&scene.path("x.img"), SIZE + right, &[(right, &b)]);
        let name = if wrong == "a" { "a.img" } else { "x.img" };
        all_refuse(
            &scene,
            &[
                &format!("side {wrong}'s volume begins at byte 131072 of"),
                &format!("losetup -f --show -r -o 131072 --sizelimit {SIZE} "),
                name,
                &format!("--as-is-{wrong}"),
            ],
        );
        let words = format!("--as-is-{wrong}");
        scene.run(&["status", "a.img", "x.img", &words]).says(1, &["SPLIT BRAIN"]);
    }
    // Headers of different lengths on both.
    file(&scene.path("a.img"), SIZE + 65536, &[(65536, &a)]);
    file(&scene.path("x.img"), SIZE + header, &[(header, &b)]);
    all_refuse(&scene, &["side b's volume begins at byte 131072 of"]);
}

/// A whole disk with an MBR that no partition of it explains: a logical one, and a table that was emptied.
#[test]
fn an_mbr_disk_before_one_side() {
    let scene = Scene::split();
    let [a, b] = filled([1, 1]);
    // The extended partition begins at 1 MiB, and in it, 1 MiB further, the logical one.
    let mut extended = mbr(2048, (SIZE + MIB) / 512);
    extended[446 + 4] = 0x05;
    let logical = mbr(2048, SIZE / 512);
    let emptied = mbr(0, 0);
    // Where the volume begins, and what stands before it.
    let with_logical = [(0, &extended[..]), (MIB, &logical[..])];
    let with_none = [(0, &emptied[..])];
    for (start, table) in [(2 * MIB, &with_logical[..]), (MIB, &with_none[..])] {
        let says = |side: &str| {
            [format!("side {side}"), format!("losetup -f --show -r -o {start} --sizelimit {SIZE} ")]
        };
        for (wrong, name) in [("b", "x.img"), ("a", "a.img")] {
            fs::write(scene.path("a.img"), &a).unwrap();
            fs::write(scene.path("x.img"), &b).unwrap();
            let volume = if wrong == "a" { &a } else { &b };
            file(&scene.path(name), SIZE + start, &[table, &[(start, &volume[..])]].concat());
            let says = says(wrong);
            all_refuse(&scene, &[&says[0], &says[1], name]);
        }
    }
}

/// Behind headers of different lengths stand both: the one that is named first is right, and then the other.
#[test]
fn headers_of_different_lengths_before_both_sides() {
    let scene = Scene::empty();
    let mut sides = [0, 1].map(image_with_external_metadata);
    for ((data, metadata), name) in sides.iter_mut().zip(["a", "b"]) {
        fill(data, 1);
        fs::write(scene.path(format!("{name}.md")), metadata).unwrap();
    }
    let status = |b| ["status", "a.img", b, "--meta-a", "a.md", "--meta-b", "b.md"];
    // Less than a block behind the volume is no header: DRBD does not use it.
    for (left, right, behind) in [
        (65536, 131_072, 0),
        (131_072, 65536, 0),
        (32256, 65536, 0),
        (65536, 131_072, 512),
        (65536, 32768, 3584),
    ] {
        file(&scene.path("a.img"), SIZE + left + behind, &[(left, &sides[0].0)]);
        file(&scene.path("b.img"), SIZE + right + behind, &[(right, &sides[1].0)]);
        scene.refuses(&status("b.img"), 4, &[&format!("side b's volume begins at byte {right} ")]);
        file(&scene.path("c.img"), SIZE, &[(0, &sides[1].0)]);
        scene.refuses(&status("c.img"), 4, &[&format!("side a's volume begins at byte {left} ")]);
    }
}

/// With the metadata elsewhere nothing keeps a header to whole blocks.
#[test]
fn a_header_of_odd_sectors_before_one_side() {
    let scene = Scene::empty();
    let mut sides = [0, 1].map(image_with_external_metadata);
    for ((data, metadata), name) in sides.iter_mut().zip(["a", "b"]) {
        fill(data, 1);
        fs::write(scene.path(format!("{name}.md")), metadata).unwrap();
    }
    let words = ["status", "a.img", "b.img", "--meta-a", "a.md", "--meta-b", "b.md"];
    for header in [512, 1536, 65536 + 512, 65536 + 3584] {
        for (wrong, left, right) in [("b", 0, header), ("a", header, 0)] {
            file(&scene.path("a.img"), SIZE + left, &[(left, &sides[0].0)]);
            file(&scene.path("b.img"), SIZE + right, &[(right, &sides[1].0)]);
            let line = format!("-o {header} --sizelimit ");
            scene.refuses(&words, 4, &[&format!("side {wrong}'s volume begins at byte {header} "), &line]);
        }
    }
}

/// Devices with more room than is replicated that are right: grown or larger, with nothing in common, and full of zeros.
#[test]
fn room_without_a_header_is_fine() {
    let scene = Scene::split();
    for seeds in [[1, 1], [1, 2]] {
        let [a, b] = filled(seeds);
        fs::write(scene.path("a.img"), &a).unwrap();
        larger(&scene, "x.img", &b);
        scene.run(&["status", "a.img", "x.img"]).says(1, &["SPLIT BRAIN"]);
    }
    let mut bare = [image(0), image(1)];
    let end = usize::try_from(3 * MIB).unwrap();
    bare.iter_mut().for_each(|image| image[..end].fill(0));
    fs::write(scene.path("a.img"), &bare[0]).unwrap();
    larger(&scene, "x.img", &bare[1]);
    scene.run(&["status", "a.img", "x.img"]).says(1, &["SPLIT BRAIN"]);
}

/// The volume at the beginning of a device that is 128 KiB larger, metadata at its end.
fn larger(scene: &Scene, name: &str, image: &[u8]) {
    let room = 128 << 10;
    let data = usize::try_from(3 * MIB + MIB / 2).unwrap();
    let (volume, metadata) = image.split_at(data);
    file(&scene.path(name), SIZE + room, &[(0, volume), (data as u64 + room, metadata)]);
}

/// A whole disk whose table is damaged: nothing tells its partitions any more, but that there were some.
#[test]
fn a_damaged_gpt_before_one_side() {
    let scene = Scene::split();
    let mut protective = mbr(1, (SIZE + MIB) / 512 - 1);
    protective[446 + 4] = 0xee;
    let mut header = [0; 512];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
    let pieces: [&[(u64, &[u8])]; 3] =
        [&[(0, &protective)], &[(512, &header)], &[(0, &protective), (4096, &header)]];
    for pieces in pieces {
        let volume = image(1);
        let disk = [pieces, &[(MIB, &volume[..])]].concat();
        file(&scene.path("x.img"), SIZE + MIB, &disk);
        all_refuse(&scene, &["side b", "has a damaged partition table, and 1048576 bytes more", "--as-is-b"]);
        // A guest's own table may be damaged: its disk has no room to spare.
        scene.copy("b.img", "x.img");
        for (at, bytes) in pieces {
            scene.poke("x.img", *at, bytes);
        }
        scene.run(COMMANDS[0]).says(1, &["SPLIT BRAIN"]);
    }
}
