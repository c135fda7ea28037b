//! DRBD 9's sync strategies by name.

use crate::model::side::Side;

/// DRBD 9's sync strategies, from the comparing node's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Nothing to resync.
    NoSync,
    /// Source, unless only the peer is Primary now.
    SourceIfBothFailed,
    /// Source of what the bitmap marks.
    SourceUseBitmap,
    /// Source of everything.
    SourceSetBitmap,
    /// Source of what the bitmap toward another node marks.
    SourceCopyOtherBitmap,
    /// Target, unless only this node is Primary now.
    TargetIfBothFailed,
    /// Target of what the bitmap marks.
    TargetUseBitmap,
    /// Target of everything.
    TargetSetBitmap,
    /// Target; the source brings the bitmap.
    TargetClearBitmap,
    /// Split brain with a common bitmap base.
    SplitBrainAutoRecover,
    /// Split brain without one.
    SplitBrainDisconnect,
    /// Nothing in common.
    UnrelatedData,
    /// Connect again.
    RetryConnect,
    /// The peer is too old to tell.
    RequiresProto91,
}

impl Strategy {
    /// All strategies a comparison can give.
    pub const ALL: [Strategy; 14] = [
        Strategy::NoSync,
        Strategy::SourceIfBothFailed,
        Strategy::SourceUseBitmap,
        Strategy::SourceSetBitmap,
        Strategy::SourceCopyOtherBitmap,
        Strategy::TargetIfBothFailed,
        Strategy::TargetUseBitmap,
        Strategy::TargetSetBitmap,
        Strategy::TargetClearBitmap,
        Strategy::SplitBrainAutoRecover,
        Strategy::SplitBrainDisconnect,
        Strategy::UnrelatedData,
        Strategy::RetryConnect,
        Strategy::RequiresProto91,
    ];

    /// The name DRBD prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::NoSync => "no-sync",
            Strategy::SourceIfBothFailed => "source-if-both-failed",
            Strategy::SourceUseBitmap => "source-use-bitmap",
            Strategy::SourceSetBitmap => "source-set-bitmap",
            Strategy::SourceCopyOtherBitmap => "source-copy-other-bitmap",
            Strategy::TargetIfBothFailed => "target-if-both-failed",
            Strategy::TargetUseBitmap => "target-use-bitmap",
            Strategy::TargetSetBitmap => "target-set-bitmap",
            Strategy::TargetClearBitmap => "target-clear-bitmap",
            Strategy::SplitBrainAutoRecover => "split-brain-auto-recover",
            Strategy::SplitBrainDisconnect => "split-brain-disconnect",
            Strategy::UnrelatedData => "unrelated-data",
            Strategy::RetryConnect => "retry-connect",
            Strategy::RequiresProto91 => "requires-proto-91",
        }
    }

    /// The side that would be the source, A being the comparing node.
    #[must_use]
    pub fn source(self) -> Option<Side> {
        match self {
            Strategy::SourceIfBothFailed
            | Strategy::SourceUseBitmap
            | Strategy::SourceSetBitmap
            | Strategy::SourceCopyOtherBitmap => Some(Side::A),
            Strategy::TargetIfBothFailed
            | Strategy::TargetUseBitmap
            | Strategy::TargetSetBitmap
            | Strategy::TargetClearBitmap => Some(Side::B),
            _ => None,
        }
    }

    /// What the peer must conclude if both ends are to agree.
    #[must_use]
    pub fn mirrored(self) -> Strategy {
        match self {
            Strategy::SourceIfBothFailed => Strategy::TargetIfBothFailed,
            Strategy::TargetIfBothFailed => Strategy::SourceIfBothFailed,
            Strategy::SourceUseBitmap => Strategy::TargetUseBitmap,
            Strategy::TargetUseBitmap => Strategy::SourceUseBitmap,
            Strategy::SourceSetBitmap => Strategy::TargetSetBitmap,
            Strategy::TargetSetBitmap => Strategy::SourceSetBitmap,
            Strategy::SourceCopyOtherBitmap => Strategy::TargetClearBitmap,
            Strategy::TargetClearBitmap => Strategy::SourceCopyOtherBitmap,
            same => same,
        }
    }
}
