//! A generation that both sides know although DRBD takes them for unrelated data.

use crate::model::drbd::GenerationUuid;
use crate::model::lineage::Lineage;
use crate::model::side::Pair;

/// Where a side keeps a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its current one.
    Current,
    /// That of its bitmap toward the other side.
    Bitmap,
    /// That of a bitmap toward another node.
    OtherBitmap,
    /// A past one.
    History,
}

impl Place {
    fn words(self) -> &'static str {
        match self {
            Place::Current => "current generation",
            Place::Bitmap => "bitmap's generation",
            Place::OtherBitmap => "generation of a bitmap toward another node",
            Place::History => "past generation",
        }
    }
}

/// A generation that both know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Which.
    pub generation: GenerationUuid,
    /// As what either side knows it.
    pub places: Pair<Place>,
}

impl Shared {
    /// What it is on both sides, in words; no full stop.
    #[must_use]
    pub fn sentence(&self, names: Pair<&str>) -> String {
        let mut known = [(names.a, self.places.a), (names.b, self.places.b)];
        // The same words from either side.
        known.sort_unstable_by_key(|(name, _)| *name);
        let [(one, here), (other, there)] = known.map(|(name, place)| (name, place.words()));
        format!(
            "Generation {} is known to both (it is {one}'s {here} and {other}'s {there}), but DRBD does not compare these two",
            self.generation
        )
    }
}

/// All generations a side knows, in the order in which they tell most.
fn known(side: &Lineage) -> impl Iterator<Item = (GenerationUuid, Place)> + '_ {
    let one = |uuid, place| std::iter::once((uuid, place));
    one(side.current, Place::Current)
        .chain(one(side.bitmap, Place::Bitmap))
        .chain(side.other_bitmaps.iter().map(|uuid| (*uuid, Place::OtherBitmap)))
        .chain(side.history.iter().map(|uuid| (*uuid, Place::History)))
        .map(|(uuid, place)| (uuid.masked(), place))
        .filter(|(uuid, _)| !matches!(*uuid, GenerationUuid::UNSET | GenerationUuid::JUST_CREATED))
}

/// Of the generations that both know the one that tells most, if there is one: the same from either side.
#[must_use]
pub fn shared(sides: Pair<&Lineage>) -> Option<Shared> {
    let mut best: Option<((usize, usize, u64), Shared)> = None;
    for (at, (generation, a)) in known(sides.a).enumerate() {
        let there = known(sides.b).enumerate().find(|(_, (theirs, _))| *theirs == generation);
        let Some((there, (_, b))) = there else { continue };
        let rank = (at + there, at.min(there), generation.0);
        if best.as_ref().is_none_or(|(so_far, _)| rank < *so_far) {
            best = Some((rank, Shared { generation, places: Pair::new(a, b) }));
        }
    }
    best.map(|(_, shared)| shared)
}
