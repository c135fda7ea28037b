//! The outside world behind the ports.

pub mod blockdev;
pub mod claim;
pub mod clock;
pub mod drbd;
mod holders;
pub mod layout;
pub mod peer;
pub mod process;
pub mod state_dir;
pub mod terminal;
