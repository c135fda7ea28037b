//! A world below the ports that loses power: disks and a state directory with volatile write caches, one
//! seeded schedule of faults over all their operations, and a clock. Used by several test files.
//!
//! ```text
//! let world = World::new(&a_image, &b_image, Faults::at(17, Fault::Cut));
//! ... run the engine over world.a(), world.b(), world.store(), world.clock() until it ends, errs or is cut ...
//! world.power_cut(seed);          // unsynced writes and names survive in part, and faults are over
//! ... open and resume; check the promises ...
//! ```

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cache;
pub mod disk;
pub mod faults;
#[path = "../image/mod.rs"]
pub mod image;
pub mod older;
pub mod pair;
pub mod promises;
pub mod site;
pub mod store;

pub use image::rng;

use disk::FakeDisk;
use faults::Faults;
use rng::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::FakeStore;
use unsplit::model::seen::Stamp;
use unsplit::ports::clock::Clock;

/// A clock that goes on by one millisecond whenever it is looked at.
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// Begins on 2026-01-01.
    pub fn new() -> FakeClock {
        FakeClock(AtomicI64::new(1_767_225_600_000))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Stamp {
        Stamp(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Two disks, a state directory and a clock on one machine.
#[derive(Clone)]
pub struct World {
    /// The first side's data device.
    pub a: Arc<FakeDisk>,
    /// The second side's.
    pub b: Arc<FakeDisk>,
    /// The state directory.
    pub store: Arc<FakeStore>,
    /// The time.
    pub clock: Arc<FakeClock>,
    /// What goes wrong, and how many operations there were.
    pub faults: Arc<Faults>,
}

impl World {
    /// Disks with these contents, durable; an empty state directory with 64 MiB of space.
    pub fn new(a: &[u8], b: &[u8], faults: Faults) -> World {
        let faults = Arc::new(faults);
        World {
            a: Arc::new(FakeDisk::new("a", a, Arc::clone(&faults))),
            b: Arc::new(FakeDisk::new("b", b, Arc::clone(&faults))),
            store: Arc::new(FakeStore::new(64 << 20, Arc::clone(&faults))),
            clock: Arc::new(FakeClock::new()),
            faults,
        }
    }

    /// The machine loses power and comes back: of what was not durable any part survives, as the seed has
    /// it. The schedule of faults is over.
    pub fn power_cut(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.a.power_cut(&mut rng);
        self.b.power_cut(&mut rng);
        self.store.power_cut(&mut rng);
        self.faults.reboot();
    }
}
