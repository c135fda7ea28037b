//! Containers, compressed files, archives, streams and stores, by their magic numbers.
//!
//! Facts: each format's own specification; most stand in `magic(5)` of file, too. Those that qemu-img, gzip, xz, bzip2,
//! zstd, lz4, zip, tar, mksquashfs and `btrfs send` make were compared with what the tools wrote (tests/offered).

use super::{be32, holds, le32};

/// Something that is not a volume by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What it is: `a qcow2 image`.
    pub what: &'static str,
    /// What to do. `{}` stands for the path, as a shell takes it.
    pub next: &'static str,
    /// Whether it can be a qcow2 file, which says itself which of its bytes it owns.
    pub qcow2: bool,
}

const fn kind(what: &'static str, next: &'static str) -> Kind {
    Kind { what, next, qcow2: false }
}

/// What begins with a fixed word: where it stands, the word, what it is.
const WORDS: &[(usize, &[u8], Kind)] = &[
    // Images of virtual disks.
    (0, b"QED\0", kind("a QED image", "qemu-img convert -O raw -f qed {} {}.raw")),
    (0, b"KDMV", kind("a VMDK image", "qemu-img convert -O raw -f vmdk {} {}.raw")),
    (0, b"COWD", kind("a VMDK image (ESX, sparse)", "qemu-img convert -O raw -f vmdk {} {}.raw")),
    (
        0,
        b"# Disk DescriptorFile",
        kind("the descriptor of a VMDK image", "qemu-img convert -O raw -f vmdk {} {}.raw"),
    ),
    (
        0,
        b"\xbe\xba\xfe\xca\0\0\0\0",
        kind("a VMDK image (SEsparse)", "qemu-img convert -O raw -f vmdk {} {}.raw"),
    ),
    (64, b"\x7f\x10\xda\xbe", kind("a VDI image", "qemu-img convert -O raw -f vdi {} {}.raw")),
    (0, b"vhdxfile", kind("a VHDX image", "qemu-img convert -O raw -f vhdx {} {}.raw")),
    (0, b"conectix", kind("a VHD image", "qemu-img convert -O raw -f vpc {} {}.raw")),
    (0, b"WithoutFreeSpace", kind("a Parallels image", "qemu-img convert -O raw -f parallels {} {}.raw")),
    (0, b"WithouFreSpacExt", kind("a Parallels image", "qemu-img convert -O raw -f parallels {} {}.raw")),
    (0, b"Bochs Virtual HD Image", kind("a Bochs image", "qemu-img convert -O raw -f bochs {} {}.raw")),
    (
        0,
        b"#!/bin/sh\n#V2.0 Format\n",
        kind("a compressed loop image (cloop)", "qemu-img convert -O raw -f cloop {} {}.raw"),
    ),
    (0, b"\x3a\xff\x26\xed", kind("an Android sparse image", "simg2img {} {}.raw")),
    (0, b"MSWIM\0\0\0", kind("a WIM image", "give the raw image; a WIM holds files, not a volume")),
    (
        0,
        b"EVF\x09\x0d\x0a\xff\0",
        kind("an EWF (EnCase) image", "mkdir /mnt/ewf && ewfmount {} /mnt/ewf, then give /mnt/ewf/ewf1"),
    ),
    (
        0,
        b"EVF2\x0d\x0a\x81\0",
        kind("an EWF2 (EnCase) image", "mkdir /mnt/ewf && ewfmount {} /mnt/ewf, then give /mnt/ewf/ewf1"),
    ),
    (0, b"AFF10\r\n\0", kind("an AFF image", "affuse {} /mnt, then give the file below /mnt")),
    // Images and streams of backup programs.
    (
        0,
        b"VMA\0",
        kind("a Proxmox VMA backup", "vma extract {} {}.d, then give the disk-drive-*.raw below it"),
    ),
    (
        0,
        b"partclone-image",
        kind(
            "a partclone image",
            "partclone.restore -s {} -O {}.raw --restore_raw_file -C, then give {}.raw",
        ),
    ),
    (
        0,
        b"rbd image v2\n",
        kind("an RBD export", "rbd import --export-format 2 {} POOL/IMAGE && rbd map POOL/IMAGE"),
    ),
    (0, b"rbd diff v1\n", kind("an RBD difference", "rbd import-diff {} POOL/IMAGE && rbd map POOL/IMAGE")),
    (0, b"rbd diff v2\n", kind("an RBD difference", "rbd import-diff {} POOL/IMAGE && rbd map POOL/IMAGE")),
    (
        0,
        b"btrfs-stream\0",
        kind("a btrfs send stream", "btrfs receive -f {} DIR, then give the image below DIR"),
    ),
    (
        8,
        b"\xac\xcb\xba\xf5\x02\0\0\0",
        kind("a ZFS send stream", "zfs receive POOL/VOLUME < {}, then give /dev/zvol/POOL/VOLUME"),
    ),
    (
        8,
        b"\0\0\0\x02\xf5\xba\xcb\xac",
        kind("a ZFS send stream", "zfs receive POOL/VOLUME < {}, then give /dev/zvol/POOL/VOLUME"),
    ),
    (
        0,
        b"# Mapfile. Created by GNU ddrescue",
        kind("a map file of ddrescue", "give the image that ddrescue wrote beside it"),
    ),
    (
        0,
        b"# DRBD meta data dump",
        kind(
            "a text dump of DRBD's metadata (drbdmeta dump-md), not a device",
            "give the backing device or a raw copy of it",
        ),
    ),
    // Compressed and encrypted files.
    (0, b"\x28\xb5\x2f\xfd", kind("a zstd-compressed file", "zstd -d {} -o {}.raw")),
    (0, b"\xfd7zXZ\0", kind("an xz-compressed file", "xz -dc {} > {}.raw")),
    (0, b"LZIP\x01", kind("an lzip-compressed file", "lzip -dc {} > {}.raw")),
    (0, b"\x89LZO\0\r\n\x1a\n", kind("an lzop-compressed file", "lzop -dc {} > {}.raw")),
    (0, b"LRZI\0", kind("an lrzip-compressed file", "lrzip -d -o {}.raw {}")),
    (0, b"\x04\x22\x4d\x18", kind("an lz4-compressed file", "lz4 -dc {} > {}.raw")),
    (0, b"\x02\x21\x4c\x18", kind("an lz4-compressed file", "lz4 -dc {} > {}.raw")),
    (0, b"\xff\x06\0\0sNaPpY", kind("a snappy-compressed file", "unpack it first, then give the raw image")),
    (
        0,
        b"Salted__",
        kind("a file that openssl encrypted", "openssl enc -d with the cipher and key it was made with"),
    ),
    (0, b"age-encryption.org/", kind("an age-encrypted file", "age -d -o {}.raw {}")),
    // Archives.
    (0, b"7z\xbc\xaf\x27\x1c", kind("a 7z archive", "7z x {}, then give the image in it")),
    (0, b"PK\x03\x04", kind("a zip archive", "unzip {}, then give the image in it")),
    (0, b"Rar!\x1a\x07", kind("a RAR archive", "unrar x {}, then give the image in it")),
    (257, b"ustar", kind("a tar archive (an OVA is one, too)", "tar -xf {}, then give the image in it")),
    (0, b"070701", kind("a cpio archive", "cpio -idF {}, then give the image in it")),
    (0, b"070702", kind("a cpio archive", "cpio -idF {}, then give the image in it")),
    (0, b"070707", kind("a cpio archive", "cpio -idF {}, then give the image in it")),
    (0, b"!<arch>\n", kind("an ar archive", "ar x {}, then give the image in it")),
    (0, b"hsqs", kind("a squashfs image", "unsquashfs {}, then give the image in it")),
    // What device-mapper keeps its own records in.
    (
        0,
        b"SnAp",
        kind(
            "the exception store of a snapshot (what dm-snapshot keeps aside), not the snapshot",
            "give the snapshot's own device, /dev/VG/SNAPSHOT, not the one whose name ends in -cow",
        ),
    ),
    (
        32,
        b"\xba\x52\x9c\x01\0\0\0\0",
        kind("the metadata device of a thin pool", "give the thin volume's own device, /dev/VG/VOLUME"),
    ),
    (
        32,
        b"\x03\xc4\x18\0\0\0\0\0",
        kind("the metadata device of a dm-cache", "give the cached device itself, /dev/VG/VOLUME"),
    ),
];

const QCOW2: Kind = Kind {
    what: "a qcow2 image",
    next: "qemu-img convert -O raw -f qcow2 {} {}.raw (or, to work on it in place: \
           qemu-nbd -c /dev/nbd0 -f qcow2 {}, then give /dev/nbd0)",
    qcow2: true,
};
const QCOW: Kind = kind("a qcow image", "qemu-img convert -O raw -f qcow {} {}.raw");
const VHD_FIXED: Kind = kind("a VHD image of fixed size", "qemu-img convert -O raw -f vpc {} {}.raw");
const DMG: Kind = kind("an Apple disk image", "qemu-img convert -O raw -f dmg {} {}.raw");
const GZIP: Kind = kind("a gzip-compressed file", "gzip -dc {} > {}.raw");
const BZIP2: Kind = kind("a bzip2-compressed file", "bzip2 -dc {} > {}.raw");
const COMPRESS: Kind = kind("a compressed file (compress)", "gzip -dc {} > {}.raw");
const ZSTD: Kind = kind("a zstd-compressed file", "zstd -d {} -o {}.raw");

/// What these bytes are, if they are none of a volume's own. `head`: the first [`super::HEAD`] bytes, or all there are;
/// `tail`: the last [`super::TAIL`].
#[must_use]
pub fn recognise(head: &[u8], tail: &[u8]) -> Option<&'static Kind> {
    if holds(head, 0, b"QFI\xfb") {
        return match be32(head, 4) {
            Some(1) => Some(&QCOW),
            Some(2 | 3) => Some(&QCOW2),
            _ => None,
        };
    }
    if let Some((_, _, kind)) = WORDS.iter().find(|(at, word, _)| holds(head, *at, word)) {
        return Some(kind);
    }
    // Short words, so more than the word is asked for.
    if holds(head, 0, b"\x1f\x8b\x08") && head.get(3).is_some_and(|flags| flags & 0xe0 == 0) {
        return Some(&GZIP);
    }
    if holds(head, 0, b"\x1f\x9d") && head.get(2).is_some_and(|bits| (9..=16).contains(&(bits & 0x1f))) {
        return Some(&COMPRESS);
    }
    let block = holds(head, 4, b"\x31\x41\x59\x26\x53\x59") || holds(head, 4, b"\x17\x72\x45\x38\x50\x90");
    if holds(head, 0, b"BZh") && block && head.get(3).is_some_and(|level| (b'1'..=b'9').contains(level)) {
        return Some(&BZIP2);
    }
    // A skippable frame, with which pzstd begins, and a frame behind it.
    if le32(head, 0).is_some_and(|magic| magic & 0xffff_fff0 == 0x184d_2a50) {
        let behind = le32(head, 4).and_then(|len| usize::try_from(len).ok()?.checked_add(8));
        if behind.is_some_and(|at| holds(head, at, b"\x28\xb5\x2f\xfd")) {
            return Some(&ZSTD);
        }
    }
    // Trailers: fixed VHDs begin with the first sector of their disk.
    if holds(tail, 0, b"conectix") {
        return Some(&VHD_FIXED);
    }
    if holds(tail, 0, b"koly") && tail.get(8..12) == Some(&512u32.to_be_bytes()) {
        return Some(&DMG);
    }
    None
}

/// Every kind, for tests.
#[must_use]
pub fn all() -> Vec<&'static Kind> {
    let rest = [&QCOW2, &QCOW, &VHD_FIXED, &DMG, &GZIP, &BZIP2, &COMPRESS];
    WORDS.iter().map(|(_, _, kind)| kind).chain(rest).collect()
}
