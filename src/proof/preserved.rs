//! The proof that what a healing overwrites has been kept, or that nobody wants it kept.
//!
//! A step that overwrites the victim takes a `&Preserved`. There are two ways to get one: from a stored copy that was
//! read back and agrees with its manifest, or from a policy and an operator who both said that no copy is wanted.

use crate::format::manifest::{ManifestFault, digest, parse_manifest};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{Digest, IncidentId, PlanId};
use crate::model::policy::SalvageRule;
use crate::model::salvage::{Manifest, PartKind, Piece};

/// A piece as it was read: its digest is computed from bytes here and nowhere else, so that it cannot be a copy of
/// the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPiece {
    piece: Piece,
}

impl ReadPiece {
    /// The piece that starts at byte `start` of its device and consists of `bytes`.
    #[must_use]
    pub fn of(start: u64, bytes: &[u8]) -> Self {
        let blake3 = Digest(*blake3::hash(bytes).as_bytes());
        ReadPiece { piece: Piece { start, len: bytes.len() as u64, blake3 } }
    }

    /// Position, length and digest.
    #[must_use]
    pub fn piece(&self) -> Piece {
        self.piece
    }
}

/// One part of a salvage, as it was read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPart {
    /// Which.
    pub kind: PartKind,
    /// Its pieces, ascending.
    pub pieces: Vec<ReadPiece>,
}

/// What must have been kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The incident whose healing waits for the proof.
    pub incident: IncidentId,
    /// The plan that overwrites.
    pub plan: PlanId,
    /// What it overwrites, per part. The salvage may hold more, never less.
    pub parts: Vec<(PartKind, ExtentSet)>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NotPreserved {
    /// The stored manifest cannot be used.
    #[error("the stored manifest cannot be used")]
    Manifest(#[source] ManifestFault),
    /// It is a salvage of something else.
    #[error("the salvage belongs to incident {incident}, plan {plan}, not to the plan that is to run")]
    Other {
        /// The incident in the stored manifest.
        incident: IncidentId,
        /// The plan in the stored manifest.
        plan: PlanId,
    },
    /// A part of the salvage was not read back, or something was read back that is not in the manifest.
    #[error("what was read back is not what the manifest lists: {kind:?}")]
    Parts {
        /// The part in question.
        kind: PartKind,
    },
    /// A piece is not as it was taken.
    #[error("{kind:?}: the piece of {len} bytes at byte {start} was not read back as it was taken", start = piece.start, len = piece.len)]
    Piece {
        /// The part.
        kind: PartKind,
        /// The piece, as the manifest lists it, or as it was read when it is not listed.
        piece: Piece,
    },
    /// The salvage lacks something that the plan overwrites.
    #[error("{kind:?}: {len} bytes at byte {start} would be overwritten and are not in the salvage", start = extent.start, len = extent.len)]
    Missing {
        /// The part.
        kind: PartKind,
        /// The first stretch that is missing.
        extent: Extent,
    },
    /// The policy requires a salvage.
    #[error("the policy says salvage = \"required\": the operator's word alone does not waive it")]
    Required,
}

/// What the proof rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    ReadBack { manifest: Digest },
    Waived,
}

/// The proof. It cannot be built, only earned:
///
/// ```compile_fail,E0451
/// # use unsplit::model::id::{Digest, IncidentId, PlanId};
/// # use unsplit::proof::Preserved;
/// # let earned: Preserved = unimplemented!();
/// let forged = Preserved { incident: IncidentId::new("i2").unwrap(), ..earned };
/// ```
///
/// ```
/// # use unsplit::format::manifest::manifest_bytes;
/// # use unsplit::model::id::{Digest, IncidentId, NodeName, PlanId, ResourceName};
/// # use unsplit::model::{salvage::{Manifest, Part, PartKind}, extent::ExtentSet, seen::Stamp, side::Side};
/// # use unsplit::proof::{Preserved, ReadPart, ReadPiece, Wanted};
/// # let plan = PlanId(Digest([0; 32]));
/// # let incident = IncidentId::new("i1").unwrap();
/// let kept = [0u8; 4096]; // in earnest: read from the store
/// let read = ReadPart { kind: PartKind::VictimData, pieces: vec![ReadPiece::of(0, &kept)] };
/// # let manifest = Manifest {
/// #     version: 1, incident: incident.clone(), plan, resource: ResourceName::new("r0").unwrap(),
/// #     victim: Side::B, victim_name: NodeName::new("b").unwrap(), survivor_name: NodeName::new("a").unwrap(),
/// #     taken_at: Stamp(0),
/// #     parts: vec![Part { kind: PartKind::VictimData, file: "x.qcow2".into(), virtual_size: 8192,
/// #         backing: None, pieces: vec![read.pieces[0].piece()] }],
/// # };
/// let wanted = Wanted { incident, plan, parts: vec![(PartKind::VictimData, ExtentSet::whole(4096))] };
/// let earned = Preserved::prove(&wanted, &manifest_bytes(&manifest).unwrap(), &[read]).unwrap();
/// assert_eq!(earned.plan(), plan);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preserved {
    incident: IncidentId,
    plan: PlanId,
    ground: Ground,
}

impl Preserved {
    /// Compares what was read back from the store with the manifest that was read back from the store, and both with
    /// what is wanted.
    ///
    /// # Errors
    /// [`NotPreserved`] unless the manifest is sound and of this incident and plan, every piece it lists was read back
    /// with the digest it lists and nothing else was, and the pieces cover everything wanted.
    pub fn prove(wanted: &Wanted, stored_manifest: &[u8], read: &[ReadPart]) -> Result<Self, NotPreserved> {
        let manifest = parse_manifest(stored_manifest).map_err(NotPreserved::Manifest)?;
        if manifest.incident != wanted.incident || manifest.plan != wanted.plan {
            return Err(NotPreserved::Other { incident: manifest.incident, plan: manifest.plan });
        }
        all_read_back(&manifest, read)?;
        for (kind, extents) in &wanted.parts {
            let kept: ExtentSet = manifest
                .parts
                .iter()
                .filter(|part| part.kind == *kind)
                .flat_map(|part| part.pieces.iter().map(Piece::extent))
                .collect();
            if let Some(extent) = extents.subtract(&kept).first() {
                return Err(NotPreserved::Missing { kind: *kind, extent });
            }
        }
        let manifest = digest(&manifest).map_err(NotPreserved::Manifest)?;
        Ok(Preserved {
            incident: wanted.incident.clone(),
            plan: wanted.plan,
            ground: Ground::ReadBack { manifest },
        })
    }

    /// For `salvage = "off"`: the policy and the operator agree that nothing is kept.
    ///
    /// # Errors
    /// [`NotPreserved::Required`] when the policy says otherwise.
    pub fn waived(
        rule: SalvageRule,
        said: &OperatorSaidNoSalvage,
        incident: IncidentId,
    ) -> Result<Self, NotPreserved> {
        match rule {
            SalvageRule::Off => Ok(Preserved { incident, plan: said.plan, ground: Ground::Waived }),
            SalvageRule::Required => Err(NotPreserved::Required),
        }
    }

    /// The incident it is good for.
    #[must_use]
    pub fn incident(&self) -> &IncidentId {
        &self.incident
    }

    /// The plan it is good for.
    #[must_use]
    pub fn plan(&self) -> PlanId {
        self.plan
    }

    /// The digest of the manifest; `None` when the salvage was waived.
    #[must_use]
    pub fn manifest(&self) -> Option<Digest> {
        match self.ground {
            Ground::ReadBack { manifest } => Some(manifest),
            Ground::Waived => None,
        }
    }
}

fn all_read_back(manifest: &Manifest, read: &[ReadPart]) -> Result<(), NotPreserved> {
    let mut left: Vec<&ReadPart> = read.iter().collect();
    for part in &manifest.parts {
        let at = left.iter().position(|read| read.kind == part.kind);
        let read = at.map(|at| left.swap_remove(at)).ok_or(NotPreserved::Parts { kind: part.kind })?;
        let mut pieces = read.pieces.iter();
        for piece in &part.pieces {
            if pieces.next().map(ReadPiece::piece) != Some(*piece) {
                return Err(NotPreserved::Piece { kind: part.kind, piece: *piece });
            }
        }
        if let Some(extra) = pieces.next() {
            return Err(NotPreserved::Piece { kind: part.kind, piece: extra.piece() });
        }
    }
    left.first().map_or(Ok(()), |extra| Err(NotPreserved::Parts { kind: extra.kind }))
}

/// The operator gave the flag `--no-salvage` for this plan. Made where the command line is read, and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorSaidNoSalvage {
    plan: PlanId,
}

impl OperatorSaidNoSalvage {
    /// The operator's flag, as it stood on the command line, for this plan; `None` if it was not given.
    #[must_use]
    pub fn from_flag(given: bool, plan: PlanId) -> Option<Self> {
        given.then_some(OperatorSaidNoSalvage { plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::manifest_bytes;
    use crate::model::id::{NodeName, ResourceName};
    use crate::model::salvage::Part;
    use crate::model::seen::Stamp;
    use crate::model::side::Side;

    fn plan() -> PlanId {
        PlanId(Digest([1; 32]))
    }

    fn incident() -> IncidentId {
        IncidentId::new("i1").unwrap()
    }

    fn read() -> Vec<ReadPart> {
        vec![
            ReadPart {
                kind: PartKind::VictimData,
                pieces: vec![ReadPiece::of(0, &[1; 4096]), ReadPiece::of(8192, &[2; 4096])],
            },
            ReadPart { kind: PartKind::VictimMetadata, pieces: vec![ReadPiece::of(4096, &[3; 512])] },
        ]
    }

    fn manifest() -> Manifest {
        let part = |read: ReadPart| Part {
            kind: read.kind,
            file: format!("{:?}", read.kind),
            virtual_size: 1 << 20,
            backing: None,
            pieces: read.pieces.iter().map(ReadPiece::piece).collect(),
        };
        Manifest {
            version: 1,
            incident: incident(),
            plan: plan(),
            resource: ResourceName::new("r0").unwrap(),
            victim: Side::B,
            victim_name: NodeName::new("b").unwrap(),
            survivor_name: NodeName::new("a").unwrap(),
            taken_at: Stamp(0),
            parts: read().into_iter().map(part).collect(),
        }
    }

    fn wanted(extents: &[(u64, u64)]) -> Wanted {
        let set = extents.iter().map(|&pair| Extent::from(pair)).collect();
        Wanted { incident: incident(), plan: plan(), parts: vec![(PartKind::VictimData, set)] }
    }

    #[test]
    fn equal_lists_prove() {
        let bytes = manifest_bytes(&manifest()).unwrap();
        let proof = Preserved::prove(&wanted(&[(0, 4096), (8192, 512)]), &bytes, &read()).unwrap();
        assert_eq!((proof.incident(), proof.plan()), (&incident(), plan()));
        assert_eq!(proof.manifest(), Some(digest(&manifest()).unwrap()));
    }

    #[test]
    fn every_difference_disproves() {
        let bytes = manifest_bytes(&manifest()).unwrap();
        let all = wanted(&[(0, 4096)]);
        let prove = |read: &[ReadPart]| Preserved::prove(&all, &bytes, read);
        assert!(matches!(prove(&[]), Err(NotPreserved::Parts { .. })));
        assert!(matches!(prove(&read()[..1]), Err(NotPreserved::Parts { kind: PartKind::VictimMetadata })));
        let twice = [read(), vec![read()[0].clone()]].concat();
        assert!(matches!(prove(&twice), Err(NotPreserved::Parts { .. })));
        let changes: [fn(&mut Vec<ReadPiece>); 5] = [
            |pieces| pieces[1] = ReadPiece::of(8192, &[9; 4096]),
            |pieces| pieces[1] = ReadPiece::of(8704, &[2; 4096]),
            |pieces| pieces.swap(0, 1),
            |pieces| pieces.truncate(1),
            |pieces| pieces.push(ReadPiece::of(12288, &[2; 4096])),
        ];
        for change in changes {
            let mut read = read();
            change(&mut read[0].pieces);
            assert!(matches!(prove(&read), Err(NotPreserved::Piece { kind: PartKind::VictimData, .. })));
        }
    }

    #[test]
    fn a_salvage_of_less_or_of_another_plan_disproves() {
        let bytes = manifest_bytes(&manifest()).unwrap();
        let missing = Preserved::prove(&wanted(&[(0, 8192)]), &bytes, &read());
        assert!(matches!(
            missing,
            Err(NotPreserved::Missing { extent: Extent { start: 4096, len: 4096 }, .. })
        ));
        let other_kind =
            Wanted { parts: vec![(PartKind::SurvivorMetadata, ExtentSet::whole(512))], ..wanted(&[]) };
        assert!(matches!(Preserved::prove(&other_kind, &bytes, &read()), Err(NotPreserved::Missing { .. })));
        let other_plan = Wanted { plan: PlanId(Digest([2; 32])), ..wanted(&[]) };
        assert!(matches!(Preserved::prove(&other_plan, &bytes, &read()), Err(NotPreserved::Other { .. })));
        let other_incident = Wanted { incident: IncidentId::new("i2").unwrap(), ..wanted(&[]) };
        assert!(matches!(
            Preserved::prove(&other_incident, &bytes, &read()),
            Err(NotPreserved::Other { .. })
        ));
    }

    #[test]
    fn waiving_needs_both() {
        let said = OperatorSaidNoSalvage::from_flag(true, plan()).unwrap();
        assert_eq!(OperatorSaidNoSalvage::from_flag(false, plan()), None);
        assert!(matches!(
            Preserved::waived(SalvageRule::Required, &said, incident()),
            Err(NotPreserved::Required)
        ));
        let proof = Preserved::waived(SalvageRule::Off, &said, incident()).unwrap();
        assert_eq!((proof.plan(), proof.manifest()), (plan(), None));
    }
}
