//! Plans of version 1, as up to 0.1 they were stored: one shape for two images, one for resources that run. Nothing writes
//! them any more.
//!
//! They become plans of today. What they did not note stays unknown; what they did not tell apart is told from the rest.

use crate::model::drbd_live::Generation;
use crate::model::evidence::Source;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName, ResourceName};
use crate::model::node::{AfterSb, Toward};
use crate::model::plan::drbd::{self, Generations, Reach, Untouched, VolumeGround};
use crate::model::plan::images::{self, MetadataChange, RawBlock, SideBasis};
use crate::model::plan::{Ground, Plan, Purpose, UnitLoss, VERSION, VolumePlan};
use crate::model::side::{Pair, Side};
use crate::model::verdict::Trace;
use serde::{Deserialize, Deserializer};

/// Accepts nothing but a 1.
fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match u32::deserialize(deserializer)? {
        1 => Ok(()),
        other => Err(serde::de::Error::custom(format!("version {other} is not 1"))),
    }
}

/// What one side looked like.
#[derive(Debug, Deserialize)]
struct OldBasis {
    source: Source,
    superblock: RawBlock,
    area: Digest,
    content: Digest,
}

fn common_base() -> bool {
    true
}

/// A plan for two images.
#[derive(Debug, Deserialize)]
pub struct Images {
    #[serde(rename = "version", deserialize_with = "one")]
    _version: (),
    purpose: Purpose,
    resource: ResourceName,
    names: Pair<NodeName>,
    survivor: Side,
    basis: Pair<OldBasis>,
    size: u64,
    overwrite: ExtentSet,
    #[serde(default)]
    compared: Option<ExtentSet>,
    metadata: Pair<MetadataChange>,
    salvage: bool,
    steps: Vec<images::Step>,
    losses: Vec<UnitLoss>,
    doubtful: u64,
    /// Said only where there was none.
    #[serde(default = "common_base")]
    common_base: bool,
    trace: Trace,
}

impl Images {
    /// The same as a plan of today.
    #[must_use]
    pub fn into_plan(self) -> Plan {
        let at = self.basis.as_ref().map(|side| side.source.clone());
        let basis = self.basis.map(|side| {
            let OldBasis { superblock, area, content, .. } = side;
            SideBasis { superblock, area, content }
        });
        let Images { compared, metadata, common_base, steps, .. } = self;
        Plan {
            version: VERSION,
            purpose: self.purpose,
            resource: self.resource,
            names: self.names,
            survivor: self.survivor,
            salvage: self.salvage,
            volumes: vec![VolumePlan {
                number: 0,
                at,
                size: self.size,
                overwrite: self.overwrite,
                losses: self.losses,
                doubtful: self.doubtful,
            }],
            ground: Ground::Images(images::Ground { basis, compared, metadata, common_base, steps }),
            trace: self.trace,
        }
    }
}

/// One volume of a connection.
#[derive(Debug, Deserialize)]
struct OldVolume {
    volume: u32,
    minors: Pair<u32>,
    sources: Pair<Source>,
    size: u64,
    generations: Pair<Generations>,
    reach: Reach,
    victim_marks: ExtentSet,
    #[serde(default)]
    survivor_marks: Option<ExtentSet>,
    #[serde(default)]
    shown: Option<Pair<Untouched>>,
    overwrite: ExtentSet,
    content: Digest,
    losses: Vec<UnitLoss>,
    doubtful: u64,
}

impl OldVolume {
    fn halves(self) -> (VolumePlan, VolumeGround) {
        let OldVolume { minors, generations, reach, victim_marks, survivor_marks, shown, content, .. } = self;
        let plan = VolumePlan {
            number: self.volume,
            at: self.sources,
            size: self.size,
            overwrite: self.overwrite,
            losses: self.losses,
            doubtful: self.doubtful,
        };
        (plan, VolumeGround { minors, generations, reach, victim_marks, survivor_marks, shown, content })
    }
}

/// A plan for a resource that runs.
#[derive(Debug, Deserialize)]
pub struct Running {
    #[serde(rename = "version", deserialize_with = "one")]
    _version: (),
    purpose: Purpose,
    resource: ResourceName,
    names: Pair<NodeName>,
    peer: String,
    machines: Pair<Option<String>>,
    generation: Generation,
    toward: Pair<Toward>,
    policies: Pair<Option<AfterSb>>,
    survivor: Side,
    volumes: Vec<OldVolume>,
    salvage: bool,
    steps: Vec<drbd::Step>,
    trace: Trace,
}

impl Running {
    /// The same as a plan of today.
    #[must_use]
    pub fn into_plan(self) -> Plan {
        let (plans, volumes) = self.volumes.into_iter().map(OldVolume::halves).unzip();
        let Running { peer, machines, generation, toward, policies, steps, .. } = self;
        Plan {
            version: VERSION,
            purpose: self.purpose,
            resource: self.resource,
            names: self.names,
            survivor: self.survivor,
            salvage: self.salvage,
            volumes: plans,
            ground: Ground::Drbd(drbd::Ground {
                peer,
                machines,
                generation,
                toward,
                policies,
                volumes,
                steps,
            }),
            trace: self.trace,
        }
    }
}
