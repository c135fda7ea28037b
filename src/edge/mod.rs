//! The outside world behind the ports.

pub mod blockdev;
pub mod clock;
pub mod drbd;
pub mod layout;
pub mod state_dir;
