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
        format!(
            "Generation {} is known to both (it is {}'s {} and {}'s {}), but DRBD does not compare these two",
            self.generation,
            names.a,
            self.places.a.words(),
            names.b,
            self.places.b.words()
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

/// The first generation that both know, if there is one.
#[must_use]
pub fn shared(sides: Pair<&Lineage>) -> Option<Shared> {
    known(sides.a).find_map(|(generation, a)| {
        let (_, b) = known(sides.b).find(|(theirs, _)| *theirs == generation)?;
        Some(Shared { generation, places: Pair::new(a, b) })
    })
}
