//! Plain data, shared by every room. No I/O, no clock, no decisions.

pub mod cause;
pub mod delta;
pub mod drbd;
pub mod drbd_live;
pub mod evidence;
pub mod extent;
pub mod handled;
pub mod id;
pub mod lineage;
pub mod node;
pub mod plan;
pub mod plausible;
pub mod policy;
pub mod record;
pub mod remembered;
pub mod salvage;
pub mod seen;
pub mod shell;
pub mod side;
pub mod size;
pub mod stage;
pub mod standing;
pub mod unit;
pub mod verdict;
