//! Tests of the comparison: against what real kernels logged, exhaustively over small alphabets, and at random.

mod exhaustive;
mod mirror;
mod oracle;
mod reconnects;
mod rows;
mod views;

use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::lineage::Lineage;
use crate::model::policy::{AfterSb0pri, Settings};

pub(crate) const A: u64 = 0xAAAA_AAAA_AAAA_AAA0;
pub(crate) const B: u64 = 0xBBBB_BBBB_BBBB_BBB0;
pub(crate) const C: u64 = 0xCCCC_CCCC_CCCC_CCC0;
pub(crate) const D: u64 = 0xDDDD_DDDD_DDDD_DDD0;

pub(crate) fn uuids(list: &[u64]) -> Vec<GenerationUuid> {
    list.iter().copied().map(GenerationUuid).collect()
}

/// An UpToDate Secondary without marks.
pub(crate) fn lineage(format: MetadataFormat, current: u64, bitmap: u64, history: &[u64]) -> Lineage {
    Lineage {
        format,
        current: GenerationUuid(current),
        bitmap: GenerationUuid(bitmap),
        other_bitmaps: Vec::new(),
        history: uuids(history),
        disk: DiskState::UpToDate,
        role: Role::Secondary,
        crashed_primary: false,
        primary_lost_quorum: false,
        quorate: None,
        dirty_bits: 0,
    }
}

pub(crate) fn v08(current: u64, bitmap: u64, history: &[u64]) -> Lineage {
    lineage(MetadataFormat::V08, current, bitmap, history)
}

pub(crate) fn v09(current: u64, bitmap: u64, history: &[u64]) -> Lineage {
    lineage(MetadataFormat::V09, current, bitmap, history)
}

/// A split brain with a common base: A went on to B here and to C there.
pub(crate) fn split(format: MetadataFormat) -> (Lineage, Lineage) {
    let mut a = lineage(format, B, A, &[0, 0]);
    let mut b = lineage(format, C, A, &[0, 0]);
    (a.dirty_bits, b.dirty_bits) = (9, 7);
    (a, b)
}

pub(crate) fn settings() -> Settings {
    Settings::drbd_defaults()
}

/// The same settings as the other node has them.
pub(crate) fn swapped(settings: &Settings) -> Settings {
    let after_sb_0pri = match &settings.after_sb_0pri {
        AfterSb0pri::DiscardLocal => AfterSb0pri::DiscardRemote,
        AfterSb0pri::DiscardRemote => AfterSb0pri::DiscardLocal,
        same => same.clone(),
    };
    Settings { after_sb_0pri, ..settings.clone() }
}
