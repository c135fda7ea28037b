//! What a pair is to be like, and the deal of a whole matrix of them.

use super::deck::Deck;
use super::image::Shape;
use super::image::rng::Rng;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;

/// How the two generations relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    BitmapBoth,
    AheadByBitmap,
    BehindByBitmap,
    AheadByHistory,
    BehindByHistory,
    HistoryBoth,
    /// The same generation, but bits are set (LINBIT/drbd#145).
    Leftover,
    Unrelated,
    /// Side A has fresh metadata and was never synced.
    FreshA,
    FreshB,
}

impl Relation {
    pub(crate) const ALL: [Relation; 10] = [
        Relation::BitmapBoth,
        Relation::AheadByBitmap,
        Relation::BehindByBitmap,
        Relation::AheadByHistory,
        Relation::BehindByHistory,
        Relation::HistoryBoth,
        Relation::Leftover,
        Relation::Unrelated,
        Relation::FreshA,
        Relation::FreshB,
    ];

    /// Whether the marks cover every difference.
    pub(crate) fn common_base(self) -> bool {
        use Relation::{AheadByBitmap, BehindByBitmap, BitmapBoth, Leftover};
        matches!(self, BitmapBoth | AheadByBitmap | BehindByBitmap | Leftover)
    }

    /// The word in `status --json`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Relation::BitmapBoth | Relation::HistoryBoth => "diverged",
            Relation::AheadByBitmap | Relation::AheadByHistory | Relation::FreshB => "ahead",
            Relation::BehindByBitmap | Relation::BehindByHistory | Relation::FreshA => "behind",
            Relation::Leftover => "in-sync",
            Relation::Unrelated => "unrelated",
        }
    }

    /// The side that went on alone, where only one did.
    pub(crate) fn successor(self) -> Option<usize> {
        match self.word() {
            "ahead" => Some(0),
            "behind" => Some(1),
            _ => None,
        }
    }

    pub(crate) fn fresh(self) -> Option<usize> {
        match self {
            Relation::FreshA => Some(0),
            Relation::FreshB => Some(1),
            _ => None,
        }
    }
}

/// What was written while the sides were apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Differences {
    NoneMarked,
    MarkedButEqual,
    OnlyA,
    OnlyB,
    Both,
    FirstBlock,
    LastBlock,
    Whole,
    Scattered,
    /// Some differences that no bitmap marks.
    Unmarked,
}

impl Differences {
    pub(crate) const ALL: [Differences; 10] = [
        Differences::NoneMarked,
        Differences::MarkedButEqual,
        Differences::OnlyA,
        Differences::OnlyB,
        Differences::Both,
        Differences::FirstBlock,
        Differences::LastBlock,
        Differences::Whole,
        Differences::Scattered,
        Differences::Unmarked,
    ];
}

/// The activity log of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    /// Never used.
    Clean,
    /// Used, but the node left the Primary role in order: what the ring says counts no more.
    Left,
    /// The same of a Secondary that was attached when its image was taken.
    Attached,
    /// The node crashed as Primary, and the log was replayed when it was attached again.
    Replayed,
    /// Of a crashed Primary.
    Hot,
    /// The same, and the ring went round.
    Wrapped,
    /// Of a crashed Primary that kept none.
    Disabled,
}

impl Log {
    pub(crate) fn primary(self) -> bool {
        matches!(self, Log::Hot | Log::Wrapped | Log::Disabled)
    }
}

/// A third node's bitmap slot on one side (v09).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Third {
    None,
    /// It shared this side's generation.
    Shared,
    /// It collects since an older one.
    Since,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    Plain,
    Lvm,
    Gpt,
    Ext4,
}

/// One side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SideSpec {
    pub(crate) place: MetadataPlace,
    pub(crate) bytes_per_bit: u64,
    pub(crate) max_peers: u64,
    pub(crate) node_id: u8,
    /// Bitmap slot toward the peer.
    pub(crate) slot: u64,
    pub(crate) third: Third,
    pub(crate) stripes: (u64, u64),
    pub(crate) al_slots: u32,
    pub(crate) log: Log,
    /// Sectors that could hold data, but are not replicated.
    pub(crate) spare: u64,
    /// Sectors behind the last 4 KiB boundary of the device that holds the metadata.
    pub(crate) tail: u64,
    /// Whether bits behind the replicated size are set.
    pub(crate) garbage: bool,
}

impl SideSpec {
    pub(crate) fn shape(&self, format: MetadataFormat) -> Shape {
        Shape {
            format,
            place: self.place,
            bytes_per_bit: self.bytes_per_bit,
            max_peers: self.max_peers,
            stripes: self.stripes.0,
            stripe_4k: self.stripes.1,
            al_slots: self.al_slots,
        }
    }
}

/// A pair.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Whether it comes from the matrix.
    pub(crate) dealt: bool,
    pub(crate) seed: u64,
    pub(crate) format: MetadataFormat,
    /// Replicated sectors.
    pub(crate) sectors: u64,
    pub(crate) relation: Relation,
    pub(crate) differences: Differences,
    pub(crate) content: Content,
    /// Whether plans compare everything.
    pub(crate) full: bool,
    pub(crate) sides: [SideSpec; 2],
}

/// Both sides as `create-md` makes them by default, 8 MiB, split brain with something of everything.
pub(crate) fn plain(name: &str, format: MetadataFormat) -> Case {
    let side = |node_id| SideSpec {
        place: MetadataPlace::Internal,
        bytes_per_bit: 4096,
        max_peers: 1,
        node_id,
        slot: 0,
        third: Third::None,
        stripes: (1, 8),
        al_slots: 1237,
        log: Log::Clean,
        spare: 0,
        tail: 0,
        garbage: false,
    };
    Case {
        name: name.to_owned(),
        dealt: false,
        seed: name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into())),
        format,
        sectors: 16384,
        relation: Relation::BitmapBoth,
        differences: Differences::Both,
        content: Content::Plain,
        full: false,
        sides: [side(0), side(1)],
    }
}

pub(crate) const LOGS: [(Log, Log); 10] = [
    (Log::Clean, Log::Clean),
    (Log::Attached, Log::Left),
    (Log::Hot, Log::Replayed),
    (Log::Left, Log::Hot),
    (Log::Hot, Log::Hot),
    (Log::Wrapped, Log::Attached),
    (Log::Replayed, Log::Wrapped),
    (Log::Disabled, Log::Clean),
    (Log::Left, Log::Disabled),
    (Log::Wrapped, Log::Disabled),
];
pub(crate) const PLACES: [MetadataPlace; 4] = [
    MetadataPlace::Internal,
    MetadataPlace::FlexibleExternal,
    MetadataPlace::IndexedExternal(0),
    MetadataPlace::IndexedExternal(1),
];
pub(crate) const GRAINS: [u64; 3] = [4096, 65536, 1 << 20];
pub(crate) const PEERS: [u64; 3] = [1, 3, 7];
pub(crate) const STRIPES: [(u64, u64); 2] = [(1, 8), (4, 16)];
pub(crate) const NODES: [(u8, u8); 3] = [(0, 1), (5, 12), (31, 2)];
pub(crate) const CONTENTS: [Content; 4] = [Content::Plain, Content::Lvm, Content::Gpt, Content::Ext4];
pub(crate) const THIRDS: [Third; 3] = [Third::Shared, Third::Since, Third::None];

struct Decks {
    relation: Deck<Relation>,
    differences: Deck<Differences>,
    logs: Deck<(Log, Log)>,
    content: Deck<Content>,
    nodes: Deck<(u8, u8)>,
    full: Deck<bool>,
    ragged: Deck<bool>,
    sides: [SideDecks; 2],
}

struct SideDecks {
    place: Deck<MetadataPlace>,
    grain: Deck<u64>,
    peers: Deck<u64>,
    third: Deck<Third>,
    stripes: Deck<(u64, u64)>,
    slots: Deck<u32>,
    spare: Deck<bool>,
    tail: Deck<u64>,
    garbage: Deck<bool>,
}

impl SideDecks {
    fn new() -> SideDecks {
        SideDecks {
            place: Deck::new(&PLACES),
            grain: Deck::new(&GRAINS),
            peers: Deck::new(&PEERS),
            third: Deck::new(&THIRDS),
            stripes: Deck::new(&STRIPES),
            slots: Deck::new(&[61, 257, 1237]),
            spare: Deck::new(&[false, true]),
            tail: Deck::new(&[0, 1, 7]),
            garbage: Deck::new(&[false, true]),
        }
    }

    fn deal(&mut self, rng: &mut Rng, format: MetadataFormat, node_id: u8, log: Log) -> SideSpec {
        let v09 = format == MetadataFormat::V09;
        // Each is dealt in either format, so that one format's cases do not depend on the other's.
        let (grain, peers, third) = (self.grain.deal(rng), self.peers.deal(rng), self.third.deal(rng));
        let max_peers = if v09 { peers } else { 1 };
        SideSpec {
            place: self.place.deal(rng),
            bytes_per_bit: if v09 { grain } else { 4096 },
            max_peers,
            node_id,
            // Never the first one when there is a choice.
            slot: if max_peers > 1 { 1 + rng.below(max_peers - 1) } else { 0 },
            third: if max_peers > 1 { third } else { Third::None },
            stripes: self.stripes.deal(rng),
            al_slots: self.slots.deal(rng),
            log,
            spare: if self.spare.deal(rng) { 1 + rng.below(5000) } else { 0 },
            tail: self.tail.deal(rng),
            garbage: self.garbage.deal(rng),
        }
    }
}

/// So many cases of one format.
pub(crate) fn matrix(seed: u64, format: MetadataFormat, count: usize) -> Vec<Case> {
    let mut rng = Rng::new(seed ^ (format as u64 + 1) << 32);
    let mut decks = Decks {
        relation: Deck::new(&Relation::ALL),
        differences: Deck::new(&Differences::ALL),
        logs: Deck::new(&LOGS),
        content: Deck::new(&CONTENTS),
        nodes: Deck::new(&NODES),
        full: Deck::new(&[false, true]),
        ragged: Deck::new(&[false, true]),
        sides: [SideDecks::new(), SideDecks::new()],
    };
    (0..count).map(|number| decks.deal(&mut rng, seed, format, number)).collect()
}

impl Decks {
    fn deal(&mut self, rng: &mut Rng, seed: u64, format: MetadataFormat, number: usize) -> Case {
        let relation = self.relation.deal(rng);
        let (mut a, mut b) = self.logs.deal(rng);
        for (side, log) in [&mut a, &mut b].into_iter().enumerate() {
            // A disk that was never synced never was Primary, and of two equal generations a crashed one counts as newer.
            let never_primary = relation.fresh() == Some(side) && (log.primary() || *log == Log::Replayed);
            if never_primary || relation == Relation::Leftover && *log == Log::Replayed {
                *log = Log::Clean;
            }
        }
        let nodes = self.nodes.deal(rng);
        let sides =
            [self.sides[0].deal(rng, format, nodes.0, a), self.sides[1].deal(rng, format, nodes.1, b)];
        // 8 to 24 MiB, of whole blocks or not.
        let blocks = 2048 + rng.below(4097);
        let ragged = if self.ragged.deal(rng) { 1 + rng.below(7) } else { 0 };
        Case {
            name: format!("seed {seed:#x}, {format:?} number {number}"),
            dealt: true,
            seed: rng.next(),
            format,
            sectors: blocks * 8 - ragged,
            relation,
            differences: self.differences.deal(rng),
            content: self.content.deal(rng),
            full: self.full.deal(rng),
            sides,
        }
    }
}
