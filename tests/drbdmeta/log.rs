//! Crafted activity logs: our replay against `drbdmeta apply-al`.

use crate::bits_of;
use crate::tool::{Image, available};
use unsplit::edge::drbd::image::ObserveError;
use unsplit::format::drbdmeta::activity_log::log_state;
use unsplit::model::drbd::{Superblock, device_flag as flag};
use unsplit::model::evidence::{LogState, MetadataPlace};
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;

const FREE: u32 = u32::MAX;

/// CRC-32C bit by bit, from the definition: reflected polynomial, start value 0, no final inversion.
fn crc(block: &[u8]) -> u32 {
    block.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// A transaction to be.
#[derive(Clone)]
struct Tr {
    magic: u32,
    number: u32,
    kind: u16,
    updates: Vec<(u16, u32)>,
    told_updates: Option<u16>,
    size: u16,
    start: u16,
    context: Vec<(usize, u32)>,
    broken: bool,
}

fn tr(number: u32, updates: &[(u16, u32)], start: u16) -> Tr {
    Tr {
        magic: 0x69cb_65a2,
        number,
        kind: 0,
        updates: updates.to_vec(),
        told_updates: None,
        size: 1237,
        start,
        context: Vec::new(),
        broken: false,
    }
}

/// As the kernel writes it: the context repeats a rotating window of the table.
fn kernel(number: u32, updates: &[(u16, u32)], table: &[u32]) -> Tr {
    let start = (number % 2) as usize * 919;
    let context = (start..table.len().min(start + 919)).map(|slot| (slot - start, table[slot])).collect();
    Tr {
        context,
        size: u16::try_from(table.len()).unwrap(),
        ..tr(number, updates, u16::try_from(start).unwrap())
    }
}

impl Tr {
    fn broken(self) -> Tr {
        Tr { broken: true, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; 36];
        out[0..4].copy_from_slice(&self.magic.to_be_bytes());
        out[4..8].copy_from_slice(&self.number.to_be_bytes());
        out[12..14].copy_from_slice(&self.kind.to_be_bytes());
        let told = self.told_updates.unwrap_or(u16::try_from(self.updates.len()).unwrap());
        out[14..16].copy_from_slice(&told.to_be_bytes());
        out[16..18].copy_from_slice(&self.size.to_be_bytes());
        out[18..20].copy_from_slice(&self.start.to_be_bytes());
        let mut updates = vec![(0xffff, FREE); 64];
        updates[..self.updates.len()].copy_from_slice(&self.updates);
        out.extend(updates.iter().flat_map(|(slot, _)| slot.to_be_bytes()));
        out.extend(updates.iter().flat_map(|(_, extent)| extent.to_be_bytes()));
        let mut context = vec![FREE; 919];
        for (at, extent) in &self.context {
            context[*at] = *extent;
        }
        out.extend(context.iter().flat_map(|extent| extent.to_be_bytes()));
        let crc = crc(&out) ^ u32::from(self.broken);
        out[8..12].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

fn initialised() -> Vec<u8> {
    let mut block = Tr { kind: 0xffff, size: 0, ..tr(0, &[], 0) }.bytes();
    block[36..].fill(0);
    block[8..12].fill(0);
    let crc = crc(&block);
    block[8..12].copy_from_slice(&crc.to_be_bytes());
    block
}

/// A ring of 8: what is given, then initialised blocks.
fn ring(given: impl IntoIterator<Item = Tr>) -> Vec<Vec<u8>> {
    let mut blocks: Vec<Vec<u8>> = given.into_iter().map(|tr| tr.bytes()).collect();
    blocks.resize(blocks.len().max(8), initialised());
    blocks
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Agree {
    /// The same extents.
    Exactly,
    /// Ours may be more: drbdmeta guesses.
    AtLeast,
    /// Ours is everything: something is lost for good, which drbdmeta does not notice.
    Everything,
    /// Both refuse.
    Refuse,
}

struct Bench {
    image: Image,
    superblock: Superblock,
    blank: Vec<u8>,
}

impl Bench {
    fn new(version: &'static str, args: &[&str]) -> Bench {
        let image = Image::created(version, MetadataPlace::Internal, 600 << 20, args);
        let replica = image.replica(0);
        let mut superblock = replica.superblock().clone();
        superblock.effective_size = (512 << 20) / 512 - 24;
        superblock.flags = flag::CONSISTENT | flag::WAS_UP_TO_DATE | flag::PRIMARY_IND;
        superblock.unclean_magic = version == "v08";
        if version == "v09" {
            superblock.node_id = 0;
            superblock.peers[1].bitmap_index = 0;
        }
        replica.write_superblock(&superblock).unwrap();
        let mut blank = vec![0; usize::try_from(replica.geometry().bitmap.len).unwrap()];
        blank.fill(0);
        Bench { image, superblock, blank }
    }

    /// Puts superblock and log in place and clears the bitmap.
    fn prepare(&self, superblock: &Superblock, blocks: &[Vec<u8>]) {
        let replica = self.image.replica(0);
        let geometry = replica.geometry();
        let disk = self.image.disk();
        disk.write_at(geometry.bitmap.start, &self.blank).unwrap();
        let log = blocks.concat();
        assert_eq!(log.len() as u64, geometry.log.len);
        disk.write_at(geometry.log.start, &log).unwrap();
        self.image.patch(geometry.superblock_at, superblock);
    }

    fn case(&self, name: &str, blocks: Vec<Vec<u8>>, agree: Agree) {
        self.case_with(name, &self.superblock, blocks, agree);
    }

    fn case_with(&self, name: &str, superblock: &Superblock, blocks: Vec<Vec<u8>>, agree: Agree) {
        self.prepare(superblock, &blocks);
        let replica = self.image.replica(0);
        let peer = Superblock { node_id: 1, ..superblock.clone() };
        let ours = replica.observe(NodeName::new("n").unwrap(), None, &peer, Stamp(0));
        let (done, text) = self.image.ask(&["apply-al"]);
        if agree == Agree::Refuse {
            assert!(!done, "{name}: drbdmeta accepts:\n{text}");
            assert!(matches!(ours, Err(ObserveError::Log { .. })), "{name}: {ours:?}");
            return;
        }
        assert!(done, "{name}: drbdmeta refuses:\n{text}");
        let marks = ours.unwrap_or_else(|error| panic!("{name}: {error}")).marks;
        let candidates = bits_of(&marks.candidates(replica.size()), 4096, replica.size());
        assert_eq!(marks.bits_after_replay, candidates.len() as u64, "{name}");
        let dump = self.image.dump();
        for slot in 0..dump.bitmaps.len() {
            let theirs = dump.set_bits(slot);
            match agree {
                Agree::Exactly => assert_eq!(candidates, theirs, "{name}, slot {slot}"),
                _ => {
                    let missing = theirs.iter().filter(|bit| candidates.binary_search(bit).is_err()).count();
                    assert_eq!(missing, 0, "{name}, slot {slot}: smaller than drbdmeta's");
                }
            }
        }
        assert_eq!(marks.log == LogState::Disabled, agree == Agree::Everything, "{name}");
        // The reset log is the one we write.
        let mut log = vec![0; blocks.len() * 4096];
        self.image.disk().read_at(replica.geometry().log.start, &mut log).unwrap();
        if agree == Agree::Exactly && text.contains("Marked additional") {
            assert_eq!(log, unsplit::format::drbdmeta::activity_log::initial(superblock), "{name}");
        }
    }
}

/// The history of a log as a kernel would write it: each transaction makes one slot hot for one extent.
fn history(first: u32, count: u32, slots: usize) -> Vec<Tr> {
    let mut table = vec![FREE; slots];
    (0..count)
        .map(|i| {
            let (slot, extent) = ((i * 7 % 40) as usize, i % 128);
            table[slot] = extent;
            kernel(first.wrapping_add(i), &[(u16::try_from(slot).unwrap(), extent)], &table)
        })
        .collect()
}

/// Puts transactions into their places of a ring.
fn placed(history: &[Tr], stripes: usize, per_stripe: usize) -> Vec<Vec<u8>> {
    let n = stripes * per_stripe;
    let mut blocks = vec![initialised(); n];
    for tr in history {
        let i = tr.number as usize % n;
        blocks[i % stripes * per_stripe + i / stripes] = tr.bytes();
    }
    blocks
}

#[test]
fn when_it_is_replayed_is_when_drbdmeta_replays() {
    if !available("when_it_is_replayed_is_when_drbdmeta_replays") {
        return;
    }
    for version in ["v08", "v09"] {
        let bench = Bench::new(version, if version == "v08" { &[] } else { &["1"] });
        let all = [flag::PRIMARY_IND, flag::CRASHED_PRIMARY, flag::AL_CLEAN, flag::WAS_UP_TO_DATE];
        for mask in 0..16u32 {
            let flags = (0..4)
                .filter(|i| mask >> i & 1 == 1)
                .fold(flag::CONSISTENT, |flags, i| flags | all[i as usize]);
            for unclean in [false, true].into_iter().take(if version == "v08" { 2 } else { 1 }) {
                let superblock = Superblock { flags, unclean_magic: unclean, ..bench.superblock.clone() };
                let name = format!("{version} flags {flags:#x} unclean {unclean}");
                bench.case_with(&name, &superblock, ring([tr(0, &[(0, 3)], 919)]), Agree::Exactly);
                let hot = log_state(&superblock) == LogState::Hot;
                assert_eq!(hot, flags & flag::PRIMARY_IND != 0);
                assert_eq!(bench.image.dump().set_bits(0).len(), if hot { 1024 } else { 0 }, "{name}");
            }
        }
        let superblock =
            Superblock { flags: bench.superblock.flags | flag::AL_DISABLED, ..bench.superblock.clone() };
        bench.case_with("log switched off", &superblock, ring([tr(0, &[(0, 3)], 919)]), Agree::Everything);
        // A Secondary's log may be anything.
        let superblock = Superblock { flags: flag::CONSISTENT, ..bench.superblock.clone() };
        bench.case_with("secondary, destroyed log", &superblock, vec![vec![0x5a; 4096]; 8], Agree::Exactly);
    }
}

#[test]
fn rings_as_kernels_leave_them() {
    if !available("rings_as_kernels_leave_them") {
        return;
    }
    for (version, args, slots) in
        [("v08", &[][..], 1237), ("v08", &[], 67), ("v09", &["3"][..], 1237), ("v09", &["1"][..], 1838)]
    {
        let bench = Bench::new(version, args);
        bench.case("fresh", ring([]), Agree::Exactly);
        for count in [1, 2, 3, 7, 8, 9, 20, 61] {
            bench.case(
                &format!("{count} transactions"),
                placed(&history(0, count, slots), 1, 8),
                Agree::Exactly,
            );
        }
        let wrapping = history(u32::MAX - 10, 20, slots);
        bench.case("the number wraps", placed(&wrapping, 1, 8), Agree::Exactly);
    }
    for (stripes, size_kb, per_stripe) in [("4", "16", 4), ("3", "32", 8), ("2", "64", 16)] {
        let args = ["--al-stripes", stripes, "--al-stripe-size-kB", size_kb, "2"];
        let bench = Bench::new("v09", &args);
        let stripes: usize = stripes.parse().unwrap();
        for count in [1, 5, 13, 40, 100] {
            let blocks = placed(&history(0, count, 1237), stripes, per_stripe);
            bench.case(&format!("{stripes}×{per_stripe}, {count} transactions"), blocks, Agree::Exactly);
        }
    }
}

#[test]
fn torn_and_rotten_rings() {
    if !available("torn_and_rotten_rings") {
        return;
    }
    for version in ["v08", "v09"] {
        let bench = Bench::new(version, if version == "v08" { &[] } else { &["2"] });
        let good = history(0, 21, 1237);
        // Transaction 20 is the newest. Two transactions repeat the whole table, so only losing 19 hurts.
        for lost in 13..=20usize {
            let mut broken = good.clone();
            broken[lost] = broken[lost].clone().broken();
            let agree = if lost == 19 { Agree::Everything } else { Agree::Exactly };
            bench.case(&format!("transaction {lost} lost"), placed(&broken, 1, 8), agree);
        }
        // A table that one transaction repeats survives even that.
        let mut small = history(0, 21, 67);
        for tr in &mut small {
            (tr.start, tr.context) = (0, Vec::new());
        }
        let mut table = vec![FREE; 67];
        for tr in &mut small {
            table[usize::from(tr.updates[0].0)] = tr.updates[0].1;
            tr.context = table.iter().copied().enumerate().collect();
        }
        small[19] = small[19].clone().broken();
        bench.case("a small table survives", placed(&small, 1, 8), Agree::Exactly);
        // The first transactions after a reset.
        let young = history(0, 3, 1237);
        bench.case(
            "torn third",
            ring([young[0].clone(), young[1].clone(), young[2].clone().broken()]),
            Agree::Exactly,
        );
        bench.case("torn first", ring([young[0].clone().broken()]), Agree::Exactly);
        bench.case(
            "two torn, nothing else",
            ring([young[0].clone().broken(), young[1].clone().broken()]),
            Agree::Refuse,
        );
        bench.case("zeros", vec![vec![0; 4096]; 8], Agree::Refuse);
        bench.case("garbage", vec![vec![0x5a; 4096]; 8], Agree::Refuse);
        let mut alone = vec![vec![0; 4096]; 8];
        alone[0] = tr(0, &[(5, 3)], 919).bytes();
        bench.case("one good block", alone, Agree::Everything);
    }
}

#[test]
fn rings_no_kernel_writes() {
    if !available("rings_no_kernel_writes") {
        return;
    }
    use Agree::{AtLeast, Exactly};
    let bench = Bench::new("v09", &["1"]);
    let one = |edit: fn(Tr) -> Tr| ring([edit(tr(0, &[(0, 3)], 919))]);
    bench.case("number in the wrong place", ring([tr(5, &[(0, 3)], 919)]), Exactly);
    let numbers = |given: [u32; 8]| {
        ring((0..).zip(given).map(|(i, number)| tr(number, &[(u16::try_from(i).unwrap(), 3 + i)], 919)))
    };
    bench.case("all the same number", numbers([0; 8]), AtLeast);
    bench.case("descending", numbers([100, 99, 98, 97, 96, 95, 94, 93]), AtLeast);
    bench.case("far apart", numbers([0, 0x7000_0000, 0x9000_0000, 5, 6, 7, 8, 9]), AtLeast);
    bench.case("holes", numbers([0, 9, 2, 11, 4, 13, 6, 15]), AtLeast);
    bench.case("one from long ago", numbers([8, 1, 2, 3, 4, 5, 6, 1007]), AtLeast);
    bench.case("65 updates told", one(|tr| Tr { told_updates: Some(65), ..tr }), Exactly);
    bench.case("no updates told", one(|tr| Tr { told_updates: Some(0), ..tr }), Exactly);
    bench.case("type 1", one(|tr| Tr { kind: 1, ..tr }), Exactly);
    bench.case("type initialised, with updates", one(|tr| Tr { kind: 0xffff, ..tr }), Exactly);
    bench.case("another magic", one(|tr| Tr { magic: 0x69cb_65a3, ..tr }), Exactly);
    for slot in [1236, 1237, 65_533, 65_534, 65_535] {
        bench.case(&format!("slot {slot}"), ring([tr(0, &[(slot, 3)], 919)]), Exactly);
    }
    for extent in [126, 127, 128, 254, 5000, FREE - 1] {
        bench.case(&format!("extent {extent}"), ring([tr(0, &[(0, extent)], 919)]), Exactly);
    }
    for (size, start) in [(100, 0), (100, 99), (10, 500), (65_535, 65_000), (0, 0), (1, 65_535)] {
        let given =
            Tr { size, context: vec![(0, 5), (50, 6), (500, 7), (700, 8)], ..tr(0, &[(7, 9)], start) };
        bench.case(&format!("context {start} of {size}"), ring([given]), Exactly);
    }
    bench.case(
        "an extent twice",
        ring([Tr { context: vec![(81, 3)], ..tr(0, &[(0, 3), (1, 3)], 919) }]),
        Exactly,
    );
    bench.case("freed again", ring([tr(0, &[(0, 3)], 919), tr(1, &[(0, FREE)], 919)]), Exactly);
    bench.case("update beats context", ring([Tr { context: vec![(5, 4)], ..tr(0, &[(5, 3)], 0) }]), Exactly);
}

#[test]
fn the_table_of_persistent_memory() {
    if !available("the_table_of_persistent_memory") {
        return;
    }
    let bench = Bench::new("v09", &["2"]);
    let mut log = vec![0xff; 8 * 4096];
    log[..4].copy_from_slice(&0x6aa6_67a6u32.to_be_bytes());
    for (slot, extent) in [(0usize, 5u32), (100, 6), (256, 7), (257, 8), (8190, 9)] {
        log[4 + 4 * slot..8 + 4 * slot].copy_from_slice(&extent.to_be_bytes());
    }
    let blocks: Vec<Vec<u8>> = log.chunks(4096).map(<[u8]>::to_vec).collect();
    // 257 slots as create-md writes it, then more than the log holds.
    bench.case("257 slots", blocks.clone(), Agree::Exactly);
    let superblock = Superblock { al_extents: 300, ..bench.superblock.clone() };
    bench.case_with("300 slots", &superblock, blocks, Agree::Exactly);
}
