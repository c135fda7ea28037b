//! Values that only a check can create. Holding one is the proof; there is no other way to make one.

pub mod fenced;
pub mod permit;
pub mod preserved;
pub mod quiesced;
pub mod standstill;

pub use fenced::{FencedPeer, NotFenced};
pub use permit::Permit;
pub use preserved::{NotPreserved, OperatorSaidNoSalvage, Preserved, ReadPart, ReadPiece, Wanted};
pub use quiesced::{Hold, NotQuiet, Quiesced};
pub use standstill::{NotStill, Standstill};
