//! The comparison and the digests against naive ones, with disks that fail, shrink and have holes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use unsplit::digest::compare::{CompareError, CompareOptions, Compared, compare, compare_and_digest};
use unsplit::digest::content::{PIECE, content_digest, content_digests, for_each_piece};
use unsplit::digest::delta::{Question, delta};
use unsplit::model::delta::{Class, Scope, Unreadable};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::Digest;
use unsplit::model::seen::Why;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::disk::{Disk, DiskFault, Stretch};
use unsplit::ports::progress::{Progress, Silent};

const BLOCK: u64 = 4096;

/// A disk in memory that can fail, be shorter than it says, and tell of holes.
#[derive(Debug, Clone, Default)]
struct Fake {
    size: u64,
    bytes: Vec<u8>,
    bad: ExtentSet,
    holes: ExtentSet,
    /// Reading any byte of a hole fails the test.
    strict: bool,
    /// Not at hand: to be read with many requests in flight.
    far: ExtentSet,
    /// May be looked at in place, apart from every so many extents: those show garbage, and say so after.
    shown: Option<u64>,
}

impl Fake {
    fn new(bytes: Vec<u8>) -> Self {
        Fake { size: bytes.len() as u64, bytes, ..Fake::default() }
    }

    fn bad(mut self, extents: &[(u64, u64)]) -> Self {
        self.bad = set(extents);
        self
    }
}

impl Disk for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let disk = || "fake".to_owned();
        // As a failed read leaves it: with anything.
        buffer.fill(0xEE);
        if extent.end() > self.size {
            return Err(DiskFault::Outside { disk: disk(), extent, size: self.size });
        }
        if self.bad.bytes_in(&extent) > 0 {
            return Err(DiskFault::Io {
                disk: disk(),
                act: "read",
                extent,
                source: io::Error::from_raw_os_error(5),
            });
        }
        let there = self.bytes.len() as u64;
        if extent.end() > there {
            return Err(DiskFault::Short { disk: disk(), extent, got: there.saturating_sub(offset) });
        }
        assert!(!self.strict || !self.holes.covers(&extent), "{extent:?} is a hole and was read");
        buffer.copy_from_slice(&self.bytes[offset as usize..extent.end() as usize]);
        Ok(())
    }

    fn at_hand(&self, extent: Extent) -> bool {
        self.far.bytes_in(&extent) == 0
    }

    fn in_place(&self, extent: Extent, look: &mut dyn FnMut(&[u8])) -> bool {
        let Some(every) = self.shown else { return false };
        let mut bytes = vec![0; extent.len as usize];
        if (extent.start / PIECE + 1).is_multiple_of(every) || self.read_at(extent.start, &mut bytes).is_err()
        {
            // As another broken disk would show it: equal.
            bytes.fill(0);
            look(&bytes);
            return false;
        }
        look(&bytes);
        true
    }

    fn stretch(&self, offset: u64) -> Stretch {
        let hole = self.holes.iter().find(|hole| hole.end() > offset);
        match hole {
            Some(hole) if hole.start <= offset => Stretch::Hole(hole.end()),
            Some(hole) => Stretch::Data(hole.start),
            None => Stretch::Data(self.size),
        }
    }
}

fn set(extents: &[(u64, u64)]) -> ExtentSet {
    extents.iter().copied().map(Extent::from).collect()
}

/// The obvious way: block by block over the whole disk.
fn naive(a: &Fake, b: &Fake, scope: &ExtentSet, size: u64) -> Compared {
    let mut compared = Compared { differs: ExtentSet::empty(), unreadable: Vec::new(), compared: 0 };
    for block in ExtentSet::whole(size).iter().flat_map(|all| all.pieces(BLOCK)) {
        // The block that the scope touches, even if it touches only what is cut off of it.
        if scope.bytes_in(&Extent { start: block.start, len: BLOCK }) == 0 {
            continue;
        }
        let read = |side: Side, disk: &Fake| {
            let mut bytes = vec![0; block.len as usize];
            disk.read_at(block.start, &mut bytes).map(|()| bytes).map_err(|fault| Unreadable {
                side,
                extent: block,
                why: match fault {
                    DiskFault::Io { source, .. } => Why::from(source.to_string()),
                    _ => Why::from("the disk became shorter while in use"),
                },
            })
        };
        match (read(Side::A, a), read(Side::B, b)) {
            (Ok(a), Ok(b)) => {
                compared.compared += block.len;
                if a != b {
                    compared.differs.push(block);
                }
            }
            (a, b) => {
                for gap in [a.err(), b.err()].into_iter().flatten() {
                    let before = compared.unreadable.iter_mut().rev().find(|last| last.side == gap.side);
                    match before {
                        Some(last) if last.extent.end() == gap.extent.start && last.why == gap.why => {
                            last.extent.len += gap.extent.len;
                        }
                        _ => compared.unreadable.push(gap),
                    }
                }
            }
        }
    }
    compared.unreadable.sort_by_key(|gap| (gap.extent.start, gap.side));
    compared
}

fn options(threads: usize, chunk: u64) -> CompareOptions {
    CompareOptions { threads, chunk, size: None }
}

/// Counts, and checks that the phases are well formed.
#[derive(Default)]
struct Counting(Mutex<(u64, u64, u32)>);

impl Progress for Counting {
    fn begin(&self, _: &str, bytes: u64) {
        let mut state = self.0.lock().unwrap();
        assert_eq!(state.2, 0, "a phase inside a phase");
        *state = (bytes, 0, 1);
    }
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().1 += bytes;
    }
    fn finish(&self) {
        let mut state = self.0.lock().unwrap();
        assert_eq!((state.0, state.2), (state.1, 1), "announced and done bytes");
        state.2 = 0;
    }
}

const MOST: u64 = 40 * BLOCK;

/// A size with any tail, changes, scope, bad ranges, holes and lost tails.
fn worlds() -> impl Strategy<Value = (Fake, Fake, ExtentSet)> {
    let ranges = |most: usize, len: u64| {
        prop::collection::vec((0..MOST, 1..len), 0..most)
            .prop_map(|all| all.into_iter().map(Extent::from).collect::<ExtentSet>())
    };
    let side = move || (ranges(2, 9000), ranges(4, 30_000), prop::option::weighted(0.2, 0..MOST));
    (1..MOST, ranges(6, 3000), ranges(8, 40_000), side(), side(), any::<u8>(), ranges(2, MOST)).prop_map(
        |(size, changes, scope, a, b, fill, far)| {
            let base: Vec<u8> = (0..size).map(|at| (at / 512) as u8 ^ fill).collect();
            let make = |bytes: Vec<u8>, (bad, holes, lost): (ExtentSet, ExtentSet, Option<u64>)| {
                let mut fake = Fake::new(bytes);
                let there = lost.unwrap_or(size).min(size);
                // A hole reads as zeros, and cannot be where the file has ended.
                fake.holes = holes.clip(there).subtract(&bad);
                fake.bad = bad;
                fake.far = far.clone();
                for hole in fake.holes.iter() {
                    fake.bytes[hole.start as usize..hole.end() as usize].fill(0);
                }
                fake.bytes.truncate(there as usize);
                fake
            };
            let mut changed = base.clone();
            for run in changes.clip(size).iter() {
                for byte in &mut changed[run.start as usize..run.end() as usize] {
                    *byte = byte.wrapping_add(1);
                }
            }
            (make(base, a), make(changed, b), scope.clip(size))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn compare_agrees_with_the_naive_way((a, b, scope) in worlds(), chunk in 1u64..60_000) {
        let expected = naive(&a, &b, &scope, a.size);
        for threads in [1, 2, 8] {
            let progress = Counting::default();
            let found = compare(&a, &b, &scope, &options(threads, chunk), &progress).unwrap();
            prop_assert_eq!(&found, &expected, "{} threads", threads);
        }
        let swapped = compare(&b, &a, &scope, &options(2, chunk), &Silent).unwrap();
        prop_assert_eq!(swapped.differs, expected.differs);
    }

    #[test]
    fn the_size_cuts_the_last_block((a, b, scope) in worlds(), part in 0.0f64..1.0) {
        let size = (a.size as f64 * part) as u64;
        let scope = scope.clip(size);
        let options = CompareOptions { size: Some(size), ..options(2, 8192) };
        let found = compare(&a, &b, &scope, &options, &Silent).unwrap();
        prop_assert_eq!(found, naive(&a, &b, &scope, size));
    }

}

/// Some cells, with what is far and what is at hand, many small candidates and long ones, and rare faults.
fn large_worlds() -> impl Strategy<Value = (Fake, Fake, ExtentSet)> {
    const LARGE: u64 = 9 * PIECE;
    let ranges = |most: usize, len: u64| {
        prop::collection::vec((0..LARGE, 1..len), 0..most)
            .prop_map(|all| all.into_iter().map(Extent::from).collect::<ExtentSet>())
    };
    let side = move || {
        let lost = prop::option::weighted(0.1, 0..LARGE);
        (
            ranges(3, 9000),
            ranges(4, 2 * PIECE),
            ranges(4, 4 * PIECE),
            lost,
            prop::option::weighted(0.8, 2..5u64),
        )
    };
    let scope = prop_oneof![ranges(120, 9000), ranges(4, 6 * PIECE), Just(ExtentSet::whole(LARGE))];
    let changes = (ranges(200, 9000), ranges(2, 2 * PIECE)).prop_map(|(short, long)| short.union(&long));
    (PIECE..LARGE, changes, scope, side(), side()).prop_map(|(size, changes, scope, a, b)| {
        let base: Vec<u8> = (0..size).map(|at| (at / 512 % 251) as u8 + 1).collect();
        let mut changed = base.clone();
        for run in changes.clip(size).iter() {
            changed[run.start as usize..run.end() as usize].iter_mut().for_each(|byte| *byte ^= 0xFF);
        }
        let make = |bytes: Vec<u8>,
                    (bad, holes, far, lost, shown): (
            ExtentSet,
            ExtentSet,
            ExtentSet,
            Option<u64>,
            Option<u64>,
        )| {
            let mut fake = Fake::new(bytes);
            fake.shown = shown;
            let there = lost.unwrap_or(size).min(size);
            fake.holes = holes.clip(there).subtract(&bad);
            (fake.bad, fake.far) = (bad, far);
            for hole in fake.holes.iter() {
                fake.bytes[hole.start as usize..hole.end() as usize].fill(0);
            }
            fake.bytes.truncate(there as usize);
            fake
        };
        (make(base, a), make(changed, b), scope.clip(size))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn near_and_far_large_and_small_agree_with_the_naive_way((a, b, scope) in large_worlds(), chunk in 1u64..2_000_000) {
        let expected = naive(&a, &b, &scope, a.size);
        let content = content_digests(&a, &b, &expected.differs, 2, &Silent).unwrap();
        for threads in [1, 2, 7] {
            let progress = Counting::default();
            let found = compare(&a, &b, &scope, &options(threads, chunk), &progress).unwrap();
            prop_assert_eq!(&found, &expected, "{} threads", threads);
            let (found, digests) =
                compare_and_digest(&a, &b, &scope, &options(threads, chunk), &progress).unwrap();
            prop_assert_eq!(&found, &expected, "{} threads, with digests", threads);
            prop_assert_eq!(digests, content, "{} threads", threads);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn digests_follow_their_definition(
        extents in prop::collection::vec((0..6 * PIECE, 1..PIECE * 3 / 2), 0..8),
        small in prop::collection::vec((0..6 * PIECE, 1u64..5000), 0..60),
    ) {
        let extents: ExtentSet = extents.into_iter().chain(small).map(Extent::from).collect();
        let disk = Fake::new((0..8 * PIECE).map(|at| (at * 31 / 1000) as u8).collect());
        let mut all = blake3::Hasher::new();
        for piece in extents.iter().flat_map(|run| run.pieces(PIECE)) {
            all.update(&piece.start.to_le_bytes());
            all.update(&piece.len.to_le_bytes());
            all.update(blake3::hash(&disk.bytes[piece.start as usize..piece.end() as usize]).as_bytes());
        }
        let expected = Digest(*all.finalize().as_bytes());
        for threads in [1, 2, 8] {
            let progress = Counting::default();
            prop_assert_eq!(content_digest(&disk, &extents, threads, &progress).unwrap(), expected);
            let both = content_digests(&disk, &disk, &extents, threads, &progress).unwrap();
            prop_assert_eq!(both, Pair::new(expected, expected));
        }
    }
}

#[test]
fn holes_on_both_sides_are_not_read() {
    let size = 64 * BLOCK;
    let mut a = Fake::new(vec![0; size as usize]);
    a.strict = true;
    a.holes = set(&[(0, 20 * BLOCK), (30 * BLOCK + 100, 8 * BLOCK)]);
    let mut b = a.clone();
    b.holes = set(&[(BLOCK, 30 * BLOCK)]);
    a.bytes[50 * BLOCK as usize] = 1;
    // Data with a byte that is not zero, where the other side has a hole.
    b.bytes[7] = 9;
    a.bytes[25 * BLOCK as usize + 5] = 9;
    let found = compare(&a, &b, &ExtentSet::whole(size), &options(2, 16 * BLOCK), &Silent).unwrap();
    assert_eq!(found.differs, set(&[(0, BLOCK), (25 * BLOCK, BLOCK), (50 * BLOCK, BLOCK)]));
    assert_eq!(found.compared, size);
}

#[test]
fn bad_blocks_are_isolated_and_the_rest_goes_on() {
    let size = 1000 * BLOCK + 77;
    let a = Fake::new(vec![1; size as usize]).bad(&[(100 * BLOCK + 5, 1), (500 * BLOCK, 300 * BLOCK)]);
    let mut b = Fake::new(vec![1; size as usize]).bad(&[(100 * BLOCK, 2 * BLOCK), (size - 1, 1)]);
    for block in [99, 100, 101, 600, 900] {
        b.bytes[block * BLOCK as usize] = 2;
    }
    let found = compare(&a, &b, &ExtentSet::whole(size), &options(3, 64 * BLOCK), &Silent).unwrap();
    assert_eq!(found.differs, set(&[(99 * BLOCK, BLOCK), (900 * BLOCK, BLOCK)]));
    let gaps: Vec<_> =
        found.unreadable.iter().map(|gap| (gap.side, gap.extent.start / BLOCK, gap.extent.len)).collect();
    let expected =
        [(Side::A, 100, BLOCK), (Side::B, 100, 2 * BLOCK), (Side::A, 500, 300 * BLOCK), (Side::B, 1000, 77)];
    assert_eq!(gaps, expected);
    assert_eq!(found.compared, (1000 - 302) * BLOCK);
    assert!(found.unreadable[0].why.0.contains("os error 5"), "{}", found.unreadable[0].why);
}

#[test]
fn many_scattered_findings_are_all_kept() {
    // More findings than are kept before neighbours are merged, in an order that depends on the threads.
    let blocks = 24_000u64;
    let a = Fake::new(vec![0; (blocks * BLOCK) as usize]);
    let mut b = a.clone().bad(&[(20_000 * BLOCK, 3000 * BLOCK)]);
    for block in (0..blocks).filter(|block| block % 2 == 0) {
        b.bytes[(block * BLOCK) as usize] = 1;
    }
    let found = compare(&a, &b, &ExtentSet::whole(a.size), &options(8, 8 * BLOCK), &Silent).unwrap();
    let even = (0..blocks).step_by(2).filter(|block| !(20_000..23_000).contains(block));
    assert_eq!(found.differs, even.map(|block| Extent { start: block * BLOCK, len: BLOCK }).collect());
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.unreadable[0].extent, Extent { start: 20_000 * BLOCK, len: 3000 * BLOCK });
}

#[test]
fn a_scope_outside_a_disk_is_refused() {
    let long = Fake::new(vec![0; 3 * BLOCK as usize]);
    let short = Fake::new(vec![0; 2 * BLOCK as usize]);
    let whole = ExtentSet::whole(3 * BLOCK);
    for (a, b, expected) in [(&long, &short, Side::B), (&short, &long, Side::A)] {
        match compare(a, b, &whole, &CompareOptions::default(), &Silent) {
            Err(CompareError::Outside { side, has, end, .. }) => {
                assert_eq!((side, has, end), (expected, 2 * BLOCK, 3 * BLOCK));
            }
            other => panic!("{other:?}"),
        }
        let options = CompareOptions { size: Some(3 * BLOCK), ..CompareOptions::default() };
        assert!(compare(a, b, &ExtentSet::empty(), &options, &Silent).is_err());
    }
}

#[test]
fn the_first_fault_in_order_is_told() {
    let disk =
        Fake::new(vec![3; 20 * PIECE as usize]).bad(&[(5 * PIECE + 10, 1), (6 * PIECE, 1), (19 * PIECE, 1)]);
    for threads in [1, 2, 8] {
        let mut seen = Vec::new();
        let whole = ExtentSet::whole(disk.size);
        let end = for_each_piece(&disk, &whole, threads, &Silent, |piece, bytes, digest| {
            assert_eq!(bytes.len() as u64, piece.len);
            assert_eq!(digest.0, *blake3::hash(bytes).as_bytes());
            seen.push(piece.start / PIECE);
            Ok::<(), DiskFault>(())
        });
        assert!(matches!(end, Err(DiskFault::Io { extent, .. }) if extent.start == 5 * PIECE), "{end:?}");
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn visiting_can_stop_and_panic_without_hanging() {
    let disk = Fake::new(vec![3; 30 * PIECE as usize]);
    let whole = ExtentSet::whole(disk.size);
    let mut left = 3;
    let end = for_each_piece(&disk, &whole, 2, &Silent, |_, _, _| {
        left -= 1;
        if left == 0 { Err(Stopped::Enough) } else { Ok(()) }
    });
    assert!(matches!(end, Err(Stopped::Enough)));

    let caught = std::panic::catch_unwind(|| {
        for_each_piece(&disk, &whole, 2, &Silent, |_, _, _| -> Result<(), DiskFault> { panic!("on purpose") })
    });
    assert!(caught.is_err());

    let mut broken = disk.clone();
    broken.strict = true;
    broken.holes = set(&[(7 * PIECE, PIECE)]);
    let caught = std::panic::catch_unwind(|| content_digest(&broken, &whole, 2, &Silent));
    assert!(caught.is_err(), "a panicking disk is a panic, not a digest");
}

#[test]
fn a_panic_far_away_ends_the_comparison() {
    let size = 40 * PIECE;
    let mut a = Fake::new(vec![3; size as usize]);
    a.far = ExtentSet::whole(size);
    let mut b = a.clone();
    b.far = set(&[(0, 5 * PIECE)]);
    let panicking = Panicking(b);
    for (threads, far) in [(1, true), (4, true), (1, false), (4, false)] {
        a.far = if far { ExtentSet::whole(size) } else { ExtentSet::empty() };
        let end = std::panic::catch_unwind(|| {
            compare(&a, &panicking, &ExtentSet::whole(size), &options(threads, 1 << 18), &Silent)
        });
        assert!(end.is_err(), "a panicking disk is a panic, not a result");
    }
}

/// Panics when byte 17 MiB is read.
struct Panicking(Fake);

impl Disk for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }
    fn size(&self) -> u64 {
        self.0.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        assert!(extent.intersect(&Extent { start: 17 * PIECE, len: 1 }).is_none(), "on purpose");
        buffer.fill(3);
        Ok(())
    }
    fn at_hand(&self, extent: Extent) -> bool {
        self.0.at_hand(extent)
    }
}

/// Counts how many reads are under way at once.
struct Deep(Fake, Mutex<(usize, usize)>);

impl Disk for Deep {
    fn name(&self) -> &str {
        "deep"
    }
    fn size(&self) -> u64 {
        self.0.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        {
            let mut state = self.1.lock().unwrap();
            state.0 += 1;
            state.1 = state.1.max(state.0);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.1.lock().unwrap().0 -= 1;
        self.0.read_at(offset, buffer)
    }
    fn at_hand(&self, _: Extent) -> bool {
        false
    }
}

#[test]
fn one_thread_keeps_many_requests_in_flight() {
    let size = 64 * PIECE;
    let whole = ExtentSet::whole(size);
    let scattered: ExtentSet =
        (0..size / BLOCK).step_by(64).map(|block| Extent { start: block * BLOCK, len: BLOCK }).collect();
    for (scope, least) in [(&whole, 6), (&scattered, 6)] {
        let deep = || Deep(Fake::new(vec![1; size as usize]), Mutex::default());
        let (a, b) = (deep(), deep());
        let found = compare(&a, &b, scope, &options(1, 1 << 18), &Silent).unwrap();
        assert_eq!(found.compared, scope.bytes());
        for disk in [a, b] {
            let most = disk.1.into_inner().unwrap().1;
            assert!((least..=32).contains(&most), "{most} requests at once");
        }
    }
}

#[derive(Debug)]
enum Stopped {
    Enough,
    Fault,
}

impl From<DiskFault> for Stopped {
    fn from(_: DiskFault) -> Self {
        Stopped::Fault
    }
}

#[test]
fn a_delta_tells_who_changed_what() {
    let size = 100 * BLOCK + 10;
    let base = vec![5u8; size as usize + 5000];
    let (mut a, mut b) = (base.clone(), base);
    a[10 * BLOCK as usize] = 1; // only A
    b[20 * BLOCK as usize] = 2; // only B
    a[30 * BLOCK as usize] = 3; // both
    b[100 * BLOCK as usize + 3] = 4; // only B, in the short last block
    a[60 * BLOCK as usize] = 6; // marked by nobody
    a[size as usize + 1] = 7; // behind the replicated data
    let (a, b) = (Fake::new(a), Fake::new(b).bad(&[(40 * BLOCK, 1)]));
    let marked = Pair::new(
        set(&[(10 * BLOCK, 2 * BLOCK), (30 * BLOCK, BLOCK), (40 * BLOCK, BLOCK)]),
        set(&[(20 * BLOCK, BLOCK), (30 * BLOCK, BLOCK), (100 * BLOCK, BLOCK)]),
    );
    let ask = |scope| Question {
        size,
        marked: marked.clone(),
        doubt: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        marks_complete: true,
        scope,
    };

    let found = delta(&a, &b, ask(Scope::Candidates), 2, &Counting::default()).unwrap();
    assert_eq!(found.differs_as(Class::OnlyA), set(&[(10 * BLOCK, BLOCK)]));
    assert_eq!(found.equal_as(Class::OnlyA).bytes(), 2 * BLOCK);
    assert_eq!(found.differs_as(Class::OnlyB), set(&[(20 * BLOCK, BLOCK), (100 * BLOCK, 10)]));
    assert_eq!(found.differs_as(Class::Both), set(&[(30 * BLOCK, BLOCK)]));
    assert!(found.differs_as(Class::Unmarked).is_empty());
    assert_eq!(found.marked.b.end(), size);
    assert_eq!((found.compared, found.unreadable.len()), (4 * BLOCK + 10, 1));
    let expected = content_digests(
        &a,
        &b,
        &set(&[(10 * BLOCK, BLOCK), (20 * BLOCK, BLOCK), (30 * BLOCK, BLOCK), (100 * BLOCK, 10)]),
        1,
        &Silent,
    );
    assert_eq!(found.content, expected.unwrap());

    let all = delta(&a, &b, ask(Scope::Everything), 2, &Counting::default()).unwrap();
    assert_eq!(all.differs_as(Class::Unmarked), set(&[(60 * BLOCK, BLOCK)]));
    assert_eq!(all.compared, size - BLOCK);
}

/// Gives what another disk has, but only once.
struct Fickle(Fake, Mutex<ExtentSet>);

impl Disk for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }
    fn size(&self) -> u64 {
        self.0.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.0.read_at(offset, buffer)?;
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let mut seen = self.1.lock().unwrap();
        if seen.bytes_in(&extent) > 0 {
            buffer.fill(0);
        }
        *seen = seen.union(&std::iter::once(extent).collect());
        Ok(())
    }
}

#[test]
fn what_is_compared_is_what_is_digested() {
    // Every byte is given once; read again it would be zero, and equal.
    let zeros = Fake::new(vec![0; 10 * BLOCK as usize]);
    let mut other = zeros.clone();
    other.bytes[5] = 1;
    let expected = content_digests(&zeros, &other, &set(&[(0, BLOCK)]), 1, &Silent).unwrap();
    let fickle = Fickle(other, Mutex::default());
    let ask = Question {
        size: zeros.size,
        marked: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        doubt: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        marks_complete: false,
        scope: Scope::Everything,
    };
    let found = delta(&zeros, &fickle, ask, 2, &Silent).unwrap();
    assert_eq!(found.differs, set(&[(0, BLOCK)]));
    assert_eq!(found.content, expected);
}

/// Shows in place what changes all the time, but reads the same always.
struct Restless(Fake, AtomicU64);

impl Disk for Restless {
    fn name(&self) -> &str {
        "restless"
    }
    fn size(&self) -> u64 {
        self.0.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.0.read_at(offset, buffer)
    }
    fn in_place(&self, extent: Extent, look: &mut dyn FnMut(&[u8])) -> bool {
        let mut bytes = self.0.bytes[extent.start as usize..extent.end() as usize].to_vec();
        // One block more differs, another one each time.
        let block = self.1.fetch_add(7, Ordering::Relaxed) * BLOCK % extent.len;
        bytes[block as usize] ^= 0x55;
        look(&bytes);
        true
    }
}

#[test]
fn what_changes_between_looking_and_reading_is_told_and_digested_as_it_was_read() {
    let bytes: Vec<u8> = (0..20 * PIECE).map(|at| (at / 512 % 251) as u8).collect();
    let a = Fake { shown: Some(u64::MAX), ..Fake::new(bytes) };
    let mut b = a.clone();
    let changed = set(&[(0, 1), (3 * PIECE - 1, 2), (9 * PIECE + 5000, 20_000), (19 * PIECE, PIECE)]);
    for run in changed.iter() {
        b.bytes[run.start as usize..run.end() as usize].iter_mut().for_each(|byte| *byte ^= 0xFF);
    }
    let whole = ExtentSet::whole(a.size);
    let expected = naive(&a, &b, &whole, a.size);
    let content = content_digests(&a, &b, &expected.differs, 2, &Silent).unwrap();
    for threads in [1, 2, 5] {
        let b = Restless(b.clone(), AtomicU64::new(0));
        let (found, digests) =
            compare_and_digest(&a, &b, &whole, &options(threads, 256 << 10), &Silent).unwrap();
        assert_eq!(found, expected);
        assert_eq!(digests, content);
        assert!(b.1.load(Ordering::Relaxed) > 0, "nothing was looked at in place");
    }
}
