//! The result is that of a comparison on one machine.

use super::channels::{converse, converse_with, memory, options, pipes};
use super::disks::{BLOCK, Fake, set};
use proptest::prelude::*;
use std::sync::Mutex;
use std::time::Duration;
use unsplit::digest::compare::{CompareOptions, Compared, compare};
use unsplit::digest::content::content_digests;
use unsplit::digest::link::{LEAF, LinkCompared, LinkOptions, Question};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::Digest;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::{Progress, Silent};

/// What a comparison on one machine says, with the asker as `side`.
pub(crate) fn locally(
    (asker, answerer): (&dyn Disk, &dyn Disk),
    question: &Question,
) -> (Compared, Pair<Digest>) {
    let (a, b) = if question.side == Side::A { (asker, answerer) } else { (answerer, asker) };
    let options = CompareOptions { threads: 2, chunk: 16 << 10, size: Some(question.size) };
    let compared = compare(a, b, &question.scope, &options, &Silent).unwrap();
    let content = content_digests(a, b, &compared.differs, 2, &Silent).unwrap();
    (compared, content)
}

pub(crate) fn check(found: LinkCompared, expected: &(Compared, Pair<Digest>)) {
    assert_eq!(&found.compared, &expected.0);
    assert_eq!(&found.content, &expected.1);
}

const MOST: u64 = 40 * LEAF;

fn ranges(most: usize, len: u64) -> impl Strategy<Value = ExtentSet> {
    prop::collection::vec((0..MOST, 1..len), 0..most)
        .prop_map(|all| all.into_iter().map(Extent::from).collect::<ExtentSet>())
}

/// Two disks with any tail, changes, bad ranges, holes and lost tails, and a question about them.
pub(crate) fn worlds() -> impl Strategy<Value = (Fake, Fake, Question)> {
    let side = || {
        (
            ranges(3, 20_000),
            ranges(6, 100_000),
            prop::option::weighted(0.15, 0..MOST),
            prop::bool::weighted(0.25),
        )
    };
    let scope = prop_oneof![Just(ExtentSet::whole(MOST)), ranges(10, 90_000), ranges(40, 5000)];
    let changes = prop_oneof![
        3 => ranges(6, 9000),
        1 => ranges(2, 300_000),
        1 => Just(ExtentSet::whole(MOST)),
        1 => Just(ExtentSet::empty()),
    ];
    let sizes = (1..MOST, 0.0f64..1.3);
    (sizes, changes, scope, side(), side(), any::<u8>(), any::<bool>()).prop_map(
        |((size, part), changes, scope, a, b, fill, swap)| {
            let base: Vec<u8> = (0..size).map(|at| (at / 512) as u8 ^ fill).collect();
            let make =
                |bytes: Vec<u8>, (bad, holes, lost, cold): (ExtentSet, ExtentSet, Option<u64>, bool)| {
                    let mut fake = Fake { cold, ..Fake::new(bytes) };
                    let there = lost.unwrap_or(size).min(size);
                    // A hole reads as zeros, and cannot be where the file has ended.
                    fake.holes = holes.clip(there).subtract(&bad);
                    fake.bad = bad;
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
            // Sometimes fewer bytes are replicated than the disk has.
            let replicated = ((size as f64 * part) as u64).clamp(1, size);
            let question = Question {
                size: replicated,
                scope: scope.clip(replicated),
                side: if swap { Side::B } else { Side::A },
            };
            (make(base, a), make(changed, b), question)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn over_memory((here, there, question) in worlds(), room in 0..9usize) {
        let expected = locally((&here, &there), &question);
        for (threads, sketch_up_to) in [((1, 2), 0), ((8, 1), 5), ((2, 3), u64::MAX)] {
            let (mine, theirs, _) = memory(room, None);
            let options = (options(threads.0), LinkOptions { sketch_up_to, ..options(threads.1) });
            let (asked, answered) = converse_with((mine, theirs), (&here, &there), &question, options, &Silent);
            let (asked, answered) = (asked.unwrap(), answered.unwrap());
            prop_assert_eq!(&answered.compared, &expected.0);
            prop_assert_eq!((answered.size, answered.side), (question.size, question.side.other()));
            prop_assert_eq!((asked.wire.sent, asked.wire.received), (answered.wire.received, answered.wire.sent));
            check(asked, &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn over_narrow_pipes((here, there, question) in worlds()) {
        let expected = locally((&here, &there), &question);
        let (asked, answered) = converse(pipes(), (&here, &there), &question, (2, 3));
        prop_assert_eq!(&answered.unwrap().compared, &expected.0);
        check(asked.unwrap(), &expected);
    }
}

/// Bytes that repeat nowhere.
pub(crate) fn noise(size: u64, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn many_batches_over_narrow_pipes() {
    // Everything differs: the most that can be under way in both directions.
    let size = 2100 * LEAF + 5000;
    let (here, mut there) = (Fake::new(noise(size, 1)), Fake::new(noise(size, 2)));
    there.bytes[(40 * LEAF) as usize..(60 * LEAF) as usize]
        .copy_from_slice(&here.bytes[(40 * LEAF) as usize..(60 * LEAF) as usize]);
    for every in [1, 2] {
        let scope = (0..size / BLOCK)
            .step_by(every)
            .map(|block| Extent { start: block * BLOCK, len: BLOCK })
            .collect();
        let question = Question { size, scope, side: Side::A };
        let expected = locally((&here, &there), &question);
        let (asked, answered) = converse(pipes(), (&here, &there), &question, (3, 3));
        answered.unwrap();
        check(asked.unwrap(), &expected);
    }
}

#[test]
fn holes_are_not_read() {
    let size = 64 * LEAF;
    let mut here = Fake::new(vec![0; size as usize]);
    here.strict = true;
    here.holes = set(&[(0, 20 * LEAF), (30 * LEAF + 100, 8 * LEAF)]);
    let mut there = here.clone();
    there.holes = set(&[(BLOCK, 30 * LEAF)]);
    here.bytes[50 * LEAF as usize] = 1;
    there.bytes[7] = 9;
    here.bytes[25 * LEAF as usize + 5] = 9;
    let question = Question { size, scope: ExtentSet::whole(size), side: Side::A };
    let (mine, theirs, _) = memory(4, None);
    let (asked, _) = converse((mine, theirs), (&here, &there), &question, (2, 2));
    let found = asked.unwrap().compared;
    assert_eq!(found.differs, set(&[(0, BLOCK), (25 * LEAF, BLOCK), (50 * LEAF, BLOCK)]));
    assert_eq!(found.compared, size);
}

#[test]
fn only_candidates_are_read() {
    let size = 400 * LEAF;
    let mut here = Fake::new(noise(size, 5));
    let there = Fake { bytes: noise(size, 6), ..here.clone() };
    // Reading anything else fails.
    let scope = set(&[(3 * BLOCK, BLOCK), (100 * LEAF, 7 * LEAF), (399 * LEAF + BLOCK, 2 * BLOCK)]);
    here.bad = ExtentSet::whole(size).subtract(&scope);
    let question = Question { size, scope: scope.clone(), side: Side::B };
    let (mine, theirs, _) = memory(4, None);
    let (asked, _) = converse((mine, theirs), (&here, &there), &question, (2, 2));
    let found = asked.unwrap().compared;
    assert_eq!((found.differs, found.unreadable), (scope, vec![]));
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

#[test]
fn progress_adds_up() {
    let size = 300 * LEAF + 100;
    let mut here = Fake::new(noise(size, 5));
    let mut there = here.clone();
    there.bytes[777_777] = 0;
    here.holes = set(&[(100 * LEAF + 50, 60 * LEAF)]);
    here.bytes[(100 * LEAF + 50) as usize..(160 * LEAF + 50) as usize].fill(0);
    let question = Question { size, scope: ExtentSet::whole(size), side: Side::A };
    let (mine, theirs, _) = memory(4, None);
    let progress = Counting::default();
    let (asked, _) =
        converse_with((mine, theirs), (&here, &there), &question, (options(3), options(1)), &progress);
    assert_eq!(asked.unwrap().compared.differs.runs(), 2);
    assert_eq!(progress.0.lock().unwrap().2, 0);
}

/// Something takes long after the last answer of a level.
struct Slow;

impl Progress for Slow {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Leaves are compared, then blocks. Between the two the answerer has nothing to do and the asker does not listen: signs
/// of life of both at once, over a channel without any room, were two agents that wait for each other.
#[test]
fn agents_full_of_life_over_a_channel_without_room() {
    let size = 4000 * LEAF;
    let here = Fake::new(noise(size, 5));
    let mut there = here.clone();
    there.bytes[1_000_000] ^= 1;
    let question = Question { size, scope: ExtentSet::whole(size), side: Side::A };
    let expected = locally((&here, &there), &question);
    let (mine, theirs, _) = memory(0, None);
    let lively = LinkOptions { pulse: Duration::from_nanos(1), sketch_up_to: 0, ..options(2) };
    let (asked, answered) =
        converse_with((mine, theirs), (&here, &there), &question, (lively, lively), &Slow);
    answered.unwrap();
    check(asked.unwrap(), &expected);
}
