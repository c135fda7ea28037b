//! What every superblock must satisfy that DRBD wrote: the checks that need no device.
//!
//! Whoever reads one from a disk asks [`Superblock::check`]; one that comes as text (from a peer, a plan, a journal) is
//! checked by reading it. So no number that no DRBD writes gets further, whichever way it came.

use super::drbd::{GenerationUuid, MetadataFormat, Superblock, V08_HISTORY, V09_PEERS};
use drbd_sys::metadata as sys;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest activity log taken, in 4 KiB blocks (64 MiB). The kernels allow more; nobody needs more, and it is
/// read into memory.
pub const AL_MAX_4K: u64 = 16_384;

/// A number of a superblock, by the name that drbdmeta prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Size of the replicated data.
    EffectiveSize,
    /// Bytes of data per bitmap bit.
    BytesPerBit,
    /// Size of the activity log.
    LogSize,
    /// Where the activity log is.
    LogOffset,
    /// Where the bitmap is.
    BitmapOffset,
    /// Number of bitmap slots.
    MaxPeers,
    /// The node's own id.
    NodeId,
    /// The bitmap slot of the peer with this node id.
    BitmapIndex(usize),
    /// How many past generations are listed. On disk there is room for the right number only.
    History,
    /// How many peers are listed. On disk there is room for the right number only.
    Peers,
    /// What belongs to the other generation of the format: the one bitmap UUID, the members, the unclean magic.
    Foreign,
}

impl Number {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Number::EffectiveSize => "la-size-sect",
            Number::BytesPerBit => "bm-byte-per-bit",
            Number::LogSize => "al-stripes × al-stripe-size-4k",
            Number::LogOffset => "al_offset",
            Number::BitmapOffset => "bm_offset",
            Number::MaxPeers => "max-peers",
            Number::NodeId => "node-id",
            Number::BitmapIndex(_) => "bitmap-index",
            Number::History => "the number of history UUIDs",
            Number::Peers => "the number of peers",
            Number::Foreign => "a field of the other metadata version",
        }
    }
}

/// Why no DRBD wrote this superblock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Implausible {
    /// A field holds what no DRBD writes.
    #[error("{} is {found}, which is not {expected}: the superblock is damaged", number.name())]
    Number {
        /// Which.
        number: Number,
        /// What stood there.
        found: i64,
        /// What could have stood there.
        expected: &'static str,
    },
    /// Two peers claim one bitmap slot.
    #[error("peers {first} and {second} both claim bitmap slot {slot}: the superblock is damaged")]
    SlotTwice {
        /// Node id.
        first: usize,
        /// Node id.
        second: usize,
        /// The slot.
        slot: i32,
    },
}

fn wrong<T>(number: Number, found: impl TryInto<i64>, expected: &'static str) -> Result<T, Implausible> {
    Err(Implausible::Number { number, found: found.try_into().unwrap_or(i64::MAX), expected })
}

impl Superblock {
    /// The checks that need no device.
    ///
    /// # Errors
    /// [`Implausible`]: the first that fails.
    pub fn check(&self) -> Result<(), Implausible> {
        if self.effective_size > sys::MAX_SECTORS {
            return wrong(Number::EffectiveSize, self.effective_size, "at most 1 PiB in sectors");
        }
        let per_bit = self.bm_bytes_per_bit;
        let (most, expected) = match self.format {
            MetadataFormat::V08 => (sys::BM_BYTES_PER_BIT_MIN, "4096"),
            MetadataFormat::V09 => (sys::BM_BYTES_PER_BIT_MAX, "a power of two from 4096 to 1048576"),
        };
        if !per_bit.is_power_of_two() || !(sys::BM_BYTES_PER_BIT_MIN..=most).contains(&per_bit) {
            return wrong(Number::BytesPerBit, per_bit, expected);
        }
        let log_blocks = u64::from(self.al_stripes) * u64::from(self.al_stripe_size_4k);
        if !(sys::AL_MIN_4K..=AL_MAX_4K).contains(&log_blocks) {
            return wrong(Number::LogSize, log_blocks, "8 to 16384 blocks (32 KiB to 64 MiB)");
        }
        let log = i64::try_from(log_blocks * sys::BLOCK_SECTORS).unwrap_or(i64::MAX);
        let block = i64::from(u32::try_from(sys::BLOCK_SECTORS).unwrap_or(u32::MAX));
        let (al, bm, size) = (i64::from(self.al_offset), i64::from(self.bm_offset), i64::from(self.md_size));
        // Two shapes exist: bitmap | log | superblock with both offsets negative, and superblock | log | bitmap.
        if al != -log && al != block {
            return wrong(Number::LogOffset, al, "minus the log's size (internal) or 8 (external)");
        }
        if al < 0 && (bm != block - size || bm > al) {
            return wrong(Number::BitmapOffset, bm, "8 - md_size_sect, before the activity log");
        }
        if al > 0 && (bm != block + log || bm > size) {
            let expected = "8 + the activity log's sectors, inside md_size_sect";
            return wrong(Number::BitmapOffset, bm, expected);
        }
        self.check_lists()?;
        match self.format {
            MetadataFormat::V08 => Ok(()),
            MetadataFormat::V09 => self.check_peers(),
        }
    }

    /// What the layout on disk leaves no choice about, and text does.
    fn check_lists(&self) -> Result<(), Implausible> {
        let (history, peers, foreign) = match self.format {
            MetadataFormat::V08 => (V08_HISTORY, 0, self.members != 0),
            MetadataFormat::V09 => {
                (V09_PEERS, V09_PEERS, self.bitmap != GenerationUuid::UNSET || self.unclean_magic)
            }
        };
        if self.history.len() != history {
            return wrong(Number::History, self.history.len(), "2 in v08, 32 in v09");
        }
        if self.peers.len() != peers {
            return wrong(Number::Peers, self.peers.len(), "0 in v08, 32 in v09");
        }
        if foreign {
            return wrong(Number::Foreign, 1, "there in this one");
        }
        if self.format == MetadataFormat::V08 && self.max_peers != 1 {
            return wrong(Number::MaxPeers, self.max_peers, "1 in v08");
        }
        if self.format == MetadataFormat::V08 && self.node_id != -1 {
            return wrong(Number::NodeId, self.node_id, "-1 in v08");
        }
        Ok(())
    }

    fn check_peers(&self) -> Result<(), Implausible> {
        let slots = self.max_peers;
        if !(1..=32).contains(&slots) {
            return wrong(Number::MaxPeers, slots, "1 to 32");
        }
        if !(-1..=31).contains(&self.node_id) {
            return wrong(Number::NodeId, self.node_id, "-1 to 31");
        }
        let mut owner = [None; V09_PEERS];
        for (id, peer) in self.peers.iter().enumerate() {
            let index = peer.bitmap_index;
            if index == -1 {
                continue;
            }
            let claimed = u32::try_from(index).ok().filter(|slot| *slot < slots);
            let Some(taken) =
                claimed.and_then(|slot| usize::try_from(slot).ok()).and_then(|slot| owner.get_mut(slot))
            else {
                return wrong(Number::BitmapIndex(id), index, "-1 or below max-peers");
            };
            if let Some(first) = *taken {
                return Err(Implausible::SlotTwice { first, second: id, slot: index });
            }
            *taken = Some(id);
        }
        Ok(())
    }
}

// The derived functions of `Superblock` itself, which know nothing of the checks; here is the only door to them.
impl Serialize for Superblock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Superblock::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Superblock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let superblock = Superblock::deserialize(deserializer)?;
        superblock.check().map_err(serde::de::Error::custom)?;
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd::PeerSlot;
    use serde_json::{Value, json};

    fn plausible(format: MetadataFormat) -> Superblock {
        let v09 = format == MetadataFormat::V09;
        let peer = |id| PeerSlot {
            bitmap_uuid: GenerationUuid::UNSET,
            bitmap_dagtag: 0,
            flags: 0,
            bitmap_index: if id < 3 { id } else { -1 },
        };
        Superblock {
            format,
            unclean_magic: !v09,
            effective_size: 196_528,
            current: GenerationUuid(6),
            bitmap: GenerationUuid(if v09 { 0 } else { 8 }),
            history: vec![GenerationUuid(2); if v09 { 32 } else { 2 }],
            members: u64::from(v09),
            device_uuid: 1,
            flags: 1,
            md_size: 80,
            al_offset: -64,
            al_extents: 1237,
            bm_offset: -72,
            bm_bytes_per_bit: 4096,
            la_peer_max_bio_size: 0,
            max_peers: if v09 { 3 } else { 1 },
            node_id: if v09 { 5 } else { -1 },
            al_stripes: 1,
            al_stripe_size_4k: 8,
            peers: if v09 { (0..32).map(peer).collect() } else { Vec::new() },
        }
    }

    /// Each of these was taken from a peer, or a stored plan, as it came; `max_peers` made us reserve 16 GiB.
    #[test]
    fn text_is_checked_like_a_disk() {
        for format in [MetadataFormat::V08, MetadataFormat::V09] {
            let fine = plausible(format);
            let text = serde_json::to_value(&fine).unwrap();
            assert_eq!(serde_json::from_value::<Superblock>(text.clone()).unwrap(), fine);
            let wrong = [
                ("max_peers", json!(u32::MAX)),
                ("max_peers", json!(0)),
                ("node_id", json!(32)),
                ("effective_size", json!(u64::MAX)),
                ("bm_bytes_per_bit", json!(0)),
                ("bm_bytes_per_bit", json!(512)),
                ("al_stripes", json!(u32::MAX)),
                ("al_stripe_size_4k", json!(0)),
                ("al_offset", json!(i32::MIN)),
                ("bm_offset", json!(i32::MAX)),
                ("md_size", json!(u32::MAX)),
                ("history", json!([])),
                ("history", json!(vec!["0"; 33])),
                ("peers", Value::Array(vec![text["peers"][0].clone(); 1])),
                ("unclean_magic", json!(format == MetadataFormat::V09)),
                ("members", json!(u64::from(format == MetadataFormat::V08))),
            ];
            for (field, value) in wrong {
                let mut text = text.clone();
                if text[field] == value {
                    continue;
                }
                text[field] = value.clone();
                let read = serde_json::from_value::<Superblock>(text);
                let fits = matches!(field, "unclean_magic" | "members")
                    && (field == "unclean_magic") == (format == MetadataFormat::V08);
                assert!(fits || read.is_err(), "{format} {field} {value}");
            }
        }
        let mut twice = serde_json::to_value(plausible(MetadataFormat::V09)).unwrap();
        twice["peers"][9]["bitmap_index"] = json!(1);
        let error = serde_json::from_value::<Superblock>(twice.clone()).unwrap_err().to_string();
        assert!(error.contains("peers 1 and 9 both claim bitmap slot 1"), "{error}");
        twice["peers"][9]["bitmap_index"] = json!(i32::MAX);
        assert!(serde_json::from_value::<Superblock>(twice).is_err());
    }
}
