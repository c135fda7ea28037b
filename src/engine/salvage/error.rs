//! Why a salvage could not be taken, checked or put back.

use crate::format::manifest::ManifestFault;
use crate::format::qcow2::{LayoutFault, Qcow2Fault};
use crate::model::extent::Extent;
use crate::model::id::{Digest, IncidentId, PlanId};
use crate::model::salvage::{PartKind, Piece};
use crate::model::size::human;
use crate::ports::disk::DiskFault;
use crate::ports::store::StoreFault;
use crate::proof::NotPreserved;

/// Why a salvage could not be taken, checked or put back. While one is taken, the victim is only read: after any of
/// these it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The state directory refused.
    #[error("the state directory refused")]
    Store(#[from] StoreFault),
    /// A part's source could not be read.
    #[error("{part:?} cannot be read, so it cannot be kept")]
    Source {
        /// The part.
        part: PartKind,
        /// Why.
        #[source]
        source: DiskFault,
    },
    /// A part's source is smaller than it should be.
    #[error("{disk} has {size} bytes, but {needed} bytes of it belong to {part:?}")]
    TooSmall {
        /// The part.
        part: PartKind,
        /// The disk.
        disk: String,
        /// Its size.
        size: u64,
        /// The bytes needed.
        needed: u64,
    },
    /// Two parts of one kind: a defect of the caller.
    #[error("{0:?} was given twice")]
    Twice(PartKind),
    /// A part cannot be a qcow2 file.
    #[error("{part:?} cannot be laid out as a qcow2 file")]
    Layout {
        /// The part.
        part: PartKind,
        /// Why.
        #[source]
        source: LayoutFault,
    },
    /// So many pieces that the manifest would be too large to read again.
    #[error(
        "the divergence is scattered over {0} pieces, more than a manifest can list: heal by another way or waive the salvage"
    )]
    TooManyPieces(u64),
    /// Nothing was written: it would not have fitted.
    #[error(
        "the salvage needs {needed} bytes ({}) and {reserve} bytes shall stay free, but only {free} bytes ({}) are free: \
         make room or choose another --state-dir",
        human(*needed), human(*free)
    )]
    NoSpace {
        /// Bytes of the files and the manifest.
        needed: u64,
        /// Bytes that must stay free.
        reserve: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The victim's data changed while it was being copied: somebody writes to it.
    #[error("{len} bytes at byte {start} of {part:?} changed while they were copied: somebody writes to the victim", start = extent.start, len = extent.len)]
    SourceChanged {
        /// The part.
        part: PartKind,
        /// Where.
        extent: Extent,
    },
    /// There is a complete salvage of another plan in the folder. It is not touched.
    #[error("{dir} holds the salvage of incident {incident}, plan {plan}: it is kept; move it away first")]
    Other {
        /// The folder, with its full path.
        dir: String,
        /// The incident found.
        incident: IncidentId,
        /// The plan found.
        plan: PlanId,
    },
    /// No manifest: there is no salvage, or only the rest of one that was interrupted.
    #[error("{path} does not exist: there is no complete salvage")]
    NotThere {
        /// The manifest's full path.
        path: String,
    },
    /// The manifest cannot be used.
    #[error("{path} cannot be used")]
    Manifest {
        /// The manifest's full path.
        path: String,
        /// Why.
        #[source]
        source: ManifestFault,
    },
    /// The salvage has no such part.
    #[error("{dir} keeps no {part:?}")]
    NoSuchPart {
        /// The folder, with its full path.
        dir: String,
        /// The part.
        part: PartKind,
    },
    /// A part's file cannot be read as qcow2, or lacks clusters.
    #[error("{file}: cannot be read as the overlay it was")]
    Image {
        /// The file's full path.
        file: String,
        /// Why.
        #[source]
        source: Qcow2Fault<StoreFault>,
    },
    /// A part's file is not the file that the manifest describes.
    #[error("{file}: {what}")]
    File {
        /// The file's full path.
        file: String,
        /// What differs.
        what: String,
    },
    /// A piece is damaged.
    #[error(
        "{file}: the piece of {len} bytes at byte {start} is damaged: BLAKE3 {found} instead of {expected}",
        start = piece.start, len = piece.len, found = found.short(), expected = piece.blake3.short()
    )]
    Piece {
        /// The file's full path.
        file: String,
        /// The piece, as the manifest lists it.
        piece: Piece,
        /// The digest of what is there now.
        found: Digest,
    },
    /// What was read back proves nothing.
    #[error("the salvage does not prove that everything is kept")]
    Unproven(#[source] NotPreserved),
    /// The target of a restore refused.
    #[error("putting {part:?} back failed; it may be partly written: repeat the restore")]
    Target {
        /// The part.
        part: PartKind,
        /// Why.
        #[source]
        source: DiskFault,
    },
}
