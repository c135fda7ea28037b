//! Bytes or text to model and back. No I/O: callers hand in bytes. Parsers never panic and never allocate
//! by an unchecked length; each has a fuzz target.

pub mod comparison;
pub mod drbdadm;
pub mod drbdmeta;
pub mod drbdnl;
pub mod events;
pub mod gpt;
pub mod handler_call;
pub mod journal;
pub mod kmsg;
pub mod lvm2;
pub mod manifest;
pub mod mbr;
pub mod offered;
pub mod outdated;
pub mod plan_v1;
pub mod policy;
pub mod qcow2;
pub mod ranges;
pub mod signature;
pub mod wire;
