//! What a peer says of a replica, checked as if it had been read from a disk here: against the formulas of the layout, the
//! request that it answers, and what the peer said before. A peer can lie about its own data; it cannot make this side
//! reckon with numbers that no disk could have held.

use super::control::{Opened, Request};
use crate::format::drbdmeta::activity_log::log_state;
use crate::format::drbdmeta::geometry::Geometry;
use crate::judge::aftermath::slot_toward;
use crate::model::drbd::{Role, Superblock, device_flag};
use crate::model::evidence::{Evidence, LogState, Marks, MetadataPlace, Source};
use crate::model::extent::{Extent, ExtentSet};

/// The longest path or name of a device, in bytes: Linux knows no longer ones.
const LONGEST_PATH: usize = 4096;
/// No device or file is larger: its size must fit into a signed number of 64 bits.
const LARGEST: u64 = i64::MAX.cast_unsigned();

/// What a peer says cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer says what cannot be: {0}")]
pub struct Unbelievable(pub String);

type Believed<T> = Result<T, Unbelievable>;

fn unless(holds: bool, what: &str) -> Believed<()> {
    if holds { Ok(()) } else { Err(Unbelievable(what.to_owned())) }
}

/// What is known of a replica since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    source: Source,
    geometry: Geometry,
}

fn geometry(superblock: &Superblock, source: &Source) -> Believed<Geometry> {
    let Source { place, superblock_at, metadata_size, data_size, .. } = *source;
    Geometry::of(superblock, place, superblock_at, metadata_size, data_size)
        .map_err(|error| Unbelievable(error.to_string()))
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains(char::is_control)
}

/// Whether metadata may be at this place, where that was asked for.
fn is_asked(place: MetadataPlace, device_named: bool, asked: Option<MetadataPlace>) -> bool {
    match asked {
        Some(asked) => place == asked,
        None => (place == MetadataPlace::Internal) != device_named,
    }
}

impl Known {
    /// Checks what came of opening. Nothing is known of the inside of a plain disk.
    ///
    /// # Errors
    /// [`Unbelievable`].
    pub fn of(opened: &Opened, asked: &Request) -> Believed<Option<Known>> {
        unless(opened.size <= LARGEST, "a size that no device has")?;
        let texts = [&opened.data, &opened.identity];
        unless(
            texts.iter().all(|text| !text.is_empty() && text.len() <= LONGEST_PATH),
            "a device without a name",
        )?;
        let (metadata, place) = match asked {
            Request::Open { metadata, place, .. } => (metadata, *place),
            _ => {
                let plain = opened.source.is_none() && opened.superblock.is_none();
                unless(plain, "a replica where a plain disk was asked for")?;
                return unless(opened.size > 0, "a disk of no bytes").map(|()| None);
            }
        };
        let (Some(source), Some(superblock)) = (&opened.source, &opened.superblock) else {
            return Err(Unbelievable("a replica without metadata".to_owned()));
        };
        let sizes = [source.data_size, source.metadata_size];
        unless(sizes.iter().all(|size| *size <= LARGEST), "a size that no device has")?;
        unless(is_path(&source.data) && is_path(&source.metadata), "a device without a path")?;
        unless(is_asked(source.place, metadata.is_some(), place), "metadata where it was not asked for")?;
        if source.place == MetadataPlace::Internal {
            let one = source.data == source.metadata && source.data_size == source.metadata_size;
            unless(one, "internal metadata on another device")?;
        }
        let geometry = geometry(superblock, source)?;
        unless(opened.size == geometry.data_size, "a size that its own superblock denies")?;
        Ok(Some(Known { source: source.clone(), geometry }))
    }

    /// Where everything is.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// A superblock that was read again must be of the same layout.
    ///
    /// # Errors
    /// [`Unbelievable`].
    pub fn superblock(&self, superblock: &Superblock) -> Believed<()> {
        let same = geometry(superblock, &self.source)? == self.geometry;
        unless(same, "another layout than when it was opened")
    }

    /// Evidence must be of this replica, toward this peer, in this role.
    ///
    /// # Errors
    /// [`Unbelievable`].
    pub fn evidence(&self, seen: &Evidence, peer: &Superblock, role: Option<Role>) -> Believed<()> {
        self.superblock(&seen.superblock)?;
        let primary = seen.superblock.has(device_flag::PRIMARY_IND);
        let own_role = if primary { Role::Primary } else { Role::Secondary };
        unless(seen.role == role.unwrap_or(own_role), "a role that its superblock denies")?;
        unless(seen.marks.slot == slot_toward(&seen.superblock, peer), "the marks of another bitmap slot")?;
        let clean = log_state(&seen.superblock) == LogState::Clean && role != Some(Role::Primary);
        unless(
            clean || seen.marks.log != LogState::Clean,
            "an activity log that needs no replay on a node that was Primary",
        )?;
        self.marks(&seen.marks)
    }

    fn marks(&self, marks: &Marks) -> Believed<()> {
        let layout = &self.geometry.layout;
        let (step, size) = (layout.bytes_per_bit, layout.data_size);
        let bits = |set: &ExtentSet| set.iter().map(|run| run.len.div_ceil(step)).sum::<u64>();
        let inside = marks.bitmap.end() <= size && marks.hot.end() <= size;
        unless(inside, "marks behind the end of the volume")?;
        let whole = marks.bitmap.iter().all(|run| {
            run.start.is_multiple_of(step) && (run.end().is_multiple_of(step) || run.end() == size)
        });
        unless(whole && marks.bits == bits(&marks.bitmap), "marks that are no bits of a bitmap")?;
        unless(marks.slot.is_some() || marks.bits == 0, "marks in a bitmap that is not there")?;
        let after = match marks.log {
            LogState::Clean => marks.bits,
            LogState::Disabled => layout.bits(),
            LogState::Hot => bits(&marks.bitmap.union(&marks.hot.align(step).clip(size))),
        };
        unless(marks.bits_after_replay == after, "a number of bits that its marks deny")
    }

    /// Blocks that an act would change must be of the metadata.
    ///
    /// # Errors
    /// [`Unbelievable`].
    pub fn blocks(&self, blocks: &ExtentSet) -> Believed<()> {
        let Geometry { superblock_at, log, bitmap, .. } = self.geometry;
        let block = Extent { start: superblock_at, len: crate::format::drbdmeta::BLOCK as u64 };
        let area: ExtentSet = [block, log, bitmap].into_iter().collect();
        unless(blocks.subtract(&area).is_empty(), "metadata where there is none")
    }

    /// A byte of the metadata device.
    ///
    /// # Errors
    /// [`Unbelievable`].
    pub fn byte(&self, at: Option<u64>) -> Believed<()> {
        unless(at.is_none_or(|at| at < self.source.metadata_size), "a byte behind the end of the metadata")
    }
}
