//! qcow2, as QEMU's specification (`docs/interop/qcow2.txt`, versions 2 and 3) describes it: what a
//! salvage is kept in, because qemu-img, qemu-nbd and Proxmox open it as it is.
//!
//! [`layout`] computes a whole file before the first byte is written; [`read`] reads what it or qemu-img wrote,
//! and [`owned`] says which bytes are a file's own.

pub mod layout;
pub mod owned;
pub mod read;

pub use layout::{Layout, LayoutFault, Tables};
pub use read::{Bytes, Image, Qcow2Fault};

/// `QFI\xfb`.
const MAGIC: u32 = 0x5146_49fb;
/// Bytes of a version 3 header without optional fields.
const HEADER_V3: usize = 104;
/// Bytes of a version 2 header.
const HEADER_V2: usize = 72;
/// Header extension: the backing file's format.
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
/// QEMU refuses longer backing file names.
const MAX_BACKING: usize = 1023;
/// QEMU refuses larger L1 tables (32 MiB), in entries.
const MAX_L1_ENTRIES: u64 = (32 << 20) / 8;
/// QEMU refuses larger refcount tables (8 MiB), in entries.
const MAX_REFCOUNT_TABLE_ENTRIES: u64 = (8 << 20) / 8;
/// In L1 and L2 entries: exactly one reference, may be written in place.
const COPIED: u64 = 1 << 63;
/// In L2 entries: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// In version 3 L2 entries: reads as zeros.
const ZERO: u64 = 1;
/// In L1 and L2 entries: the host offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
