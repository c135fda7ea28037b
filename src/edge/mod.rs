//! The outside world behind the ports.

pub mod blockdev;
pub mod claim;
pub mod clock;
pub mod common;
pub mod drbd;
pub mod events;
mod exact;
mod guard;
mod holders;
mod kernel;
pub mod layout;
mod mapped;
#[cfg(feature = "memory-disks")]
pub mod memory;
pub mod pace;
mod passing;
pub mod peer;
pub mod process;
pub mod state_dir;
mod sweep;
pub mod terminal;
pub mod text_file;
pub mod trust;
pub mod unwritten;
pub mod voice;
mod writer;
