//! The one place where backends are opened.

use super::access::{Access, Reading, TwoSides};
use super::both::Both;
use super::desk::Desk;
use super::failure::Failure;
use super::nodes::backing_devices;
use super::sides::{OpenPair, OpenSide, as_planned, open};
use crate::edge::blockdev::Mode;
use crate::edge::clock::SystemClock;
use crate::engine::backend::Backend;
use crate::engine::drbd::others::left_to_do;
use crate::engine::incident::Ending;
#[cfg(feature = "memory-disks")]
use crate::engine::memory;
use crate::engine::{drbd, fence, images};
use crate::judge::audit::SealedPlan;
use crate::model::evidence::Trust;
use crate::model::id::ResourceName;
use crate::model::plan::{Kind, Plan, Purpose};
use crate::model::record::Outcome;
use crate::model::side::Pair;
#[cfg(feature = "memory-disks")]
use crate::ports::memory::MemoryReplica;
use crate::ports::progress::Progress;
#[cfg(feature = "memory-disks")]
use std::sync::Arc;

/// What a plan is carried out on.
pub enum Opened {
    /// Two images, snapshots or devices.
    Images(OpenPair),
    /// The two nodes of a running resource.
    Drbd(Both),
    /// Two disks that are only in memory.
    #[cfg(feature = "memory-disks")]
    Memory(Pair<Arc<dyn MemoryReplica>>),
}

impl Opened {
    /// Two sides, for looking or for changing.
    ///
    /// # Errors
    /// One is missing, busy, damaged, or they are the same thing; or the peer cannot be talked to.
    pub fn sides(two: &TwoSides, mode: Mode) -> Result<Opened, Failure> {
        Ok(Opened::Images(open(two, mode)?))
    }

    /// Both nodes of the resource that `access` names. `command`: what is to be typed when no peer is named.
    ///
    /// # Errors
    /// No peer is named, or it cannot be talked to.
    pub fn nodes(access: &Access, command: &str) -> Result<Opened, Failure> {
        Ok(Opened::Drbd(Both::reach(access.resource.as_str(), access, command)?))
    }

    /// The backing devices of a resource on this machine, as its kernel names them; none of two sides.
    ///
    /// # Errors
    /// This machine cannot be asked.
    pub fn devices_here(&self, resource: &ResourceName) -> Result<Vec<String>, Failure> {
        let Opened::Drbd(both) = self else { return Ok(Vec::new()) };
        let here = both.asked().a;
        let state = here.state().map_err(|why| {
            Failure::evidence(anyhow::Error::new(why).context(format!("{} cannot be asked", here.name())))
        })?;
        Ok(backing_devices(&state, &[resource.as_str()]))
    }

    /// What a plan was drawn from. `again`: a run was cut off there. A side may then hold a mixture of both sides' bytes,
    /// which looks like neither, so what it is is not looked at again: every sector is held against what the plan can have
    /// left there.
    ///
    /// # Errors
    /// It is missing, busy or damaged; or the peer cannot be talked to.
    pub fn as_planned(plan: &Plan, reading: &Reading, again: bool) -> Result<Opened, Failure> {
        match plan.kind() {
            Some(Kind::Images(images)) => {
                let mut two = as_planned(images.volume.at.as_ref(), &plan.names, &plan.resource, reading)?;
                if again {
                    two.access.trust = Pair::new(Trust::AsIs, Trust::AsIs);
                }
                Ok(Opened::Images(open(&two, Mode::ReadWrite)?))
            }
            Some(Kind::Drbd(running)) => both_nodes(plan, &running.ground.peer, reading),
            Some(Kind::Fence(fence)) => both_nodes(plan, &fence.ground.peer, reading),
            #[cfg(feature = "memory-disks")]
            Some(Kind::Memory(_)) => {
                Err(Failure::usage("memory disks are those of one process: its driver opens them"))
            }
            None => Err(Failure::internal(anyhow::anyhow!("the plan's volumes are not those of its ground"))),
        }
    }

    /// Has `act` carry a plan out here. `healed`: the plan of the healing, when this one undoes one.
    ///
    /// # Errors
    /// The plan is for another kind of storage.
    pub fn carry_out<T>(
        &self,
        desk: &Desk,
        (sealed, healed): (&SealedPlan, Option<&SealedPlan>),
        (progress, threads): (&dyn Progress, usize),
        act: impl FnOnce(&dyn Backend) -> T,
    ) -> Result<T, Failure> {
        let (store, clock) = (&*desk.store, &SystemClock);
        match self {
            Opened::Images(pair) => {
                let sides = pair.sides.as_ref().map(OpenSide::writable);
                let context = images::Context { sides, store, clock, progress, threads };
                Ok(act(&images::Work::new(context, sealed, healed).map_err(Failure::internal)?))
            }
            Opened::Drbd(both) if sealed.plan().purpose == Purpose::Fence => {
                let fencer = fence::answer::ByItsAnswer { peer: both.asked().b };
                Ok(act(&fence::Work::new(&fencer, sealed).map_err(Failure::internal)?))
            }
            Opened::Drbd(both) => {
                let pause = |time| both.pause()(time);
                let context = drbd::Context {
                    nodes: both.operated(),
                    store,
                    clock,
                    progress,
                    pause: &pause,
                    threads,
                    patience: drbd::Patience::default(),
                };
                Ok(act(&drbd::Work::new(context, sealed).map_err(Failure::internal)?))
            }
            #[cfg(feature = "memory-disks")]
            Opened::Memory(sides) => {
                let sides = sides.as_ref().map(|side| &**side);
                let context = memory::Context { sides, store, clock, progress, threads };
                Ok(act(&memory::Work::new(context, sealed, healed).map_err(Failure::internal)?))
            }
        }
    }

    /// How a run ended, as the link to the peer tells it.
    #[must_use]
    pub fn told_by_the_link(&self, ending: Ending) -> Ending {
        match self {
            Opened::Images(pair) => pair.told_by_the_link(ending),
            Opened::Drbd(_) => ending,
            #[cfg(feature = "memory-disks")]
            Opened::Memory(_) => ending,
        }
    }

    /// What a healing left to do on nodes beside the two, as far as it can be seen.
    #[must_use]
    pub fn left(&self, plan: &Plan, ending: &Ending) -> Vec<String> {
        match self {
            Opened::Drbd(both) if *ending == Ending::Finished(Outcome::Healed) => {
                let seen = both.look(&plan.resource);
                seen.map(|pair| left_to_do(&pair, plan.survivor)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The link to the peer, if there is one, still stands.
    ///
    /// # Errors
    /// It was lost for good.
    pub fn still_there(&self) -> Result<(), Failure> {
        match self {
            Opened::Images(pair) => pair.still_there(),
            Opened::Drbd(both) => both.still_there(),
            #[cfg(feature = "memory-disks")]
            Opened::Memory(_) => Ok(()),
        }
    }
}

/// Both nodes of a plan's resource; `peer` is how it says that the other one is reached.
fn both_nodes(plan: &Plan, peer: &str, reading: &Reading) -> Result<Opened, Failure> {
    let wrong = |why: String| Failure::internal(anyhow::anyhow!("the plan names no usable peer: {why}"));
    let peer = peer.parse().map_err(wrong)?;
    let access = Access::of(plan.names.clone(), plan.resource.clone(), Some(peer), reading.clone());
    Opened::nodes(&access, "resolve")
}
