//! The seam between the engine and the world: small object-safe traits, for reading and, separately,
//! for acting. Adapters stand in `edge`; fakes that inject faults stand in `tests`.

pub mod channel;
pub mod clock;
pub mod disk;
pub mod fence;
#[cfg(feature = "memory-disks")]
pub mod memory;
pub mod node;
pub mod progress;
pub mod replica;
pub mod store;
