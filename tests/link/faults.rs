//! Links and disks that misbehave: never a wrong result, never a wait without end.

use super::channels::{Mishap, Plan, converse, converse_with, memory, options};
use super::disks::{BLOCK, Fake, Moving, set};
use super::same::{locally, noise, worlds};
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use unsplit::digest::link::{LEAF, LinkError, LinkOptions, Question};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::Side;
use unsplit::ports::progress::Silent;

/// Two disks with some differences, and how to look for them, so that in all of them together every kind of message is sent.
fn pair(kind: u32) -> (Fake, Fake, Question, u64) {
    let (leaves, step, sketch_up_to) = match kind {
        0 => (20, 0, 0),
        1 => (80, 19, u64::MAX),
        // Sums of chunks, then leaves.
        2 => (130, 51, 0),
        // Every block, in two batches.
        3 => (1060, 1, u64::MAX),
        _ => (130, 2, u64::MAX),
    };
    let size = leaves * LEAF + 777;
    let here = Fake::new(noise(size, 1));
    let mut there = here.clone();
    if step > 0 {
        for leaf in (3..leaves).step_by(step) {
            there.bytes[(leaf * LEAF) as usize + 5000] ^= 1;
        }
        there.bad = set(&[(17 * LEAF, 100), (19 * LEAF, 1)]);
    }
    let scope = match kind {
        4 => (0..120).map(|at| Extent { start: at * 3 * BLOCK, len: BLOCK }).collect(),
        _ => ExtentSet::whole(size),
    };
    (here, there, Question { size, scope, side: Side::A }, sketch_up_to)
}

#[test]
fn every_mishap_at_every_message_ends_well() {
    for kind in 0..5 {
        let (here, there, question, sketch_up_to) = pair(kind);
        let options = (options(2), LinkOptions { sketch_up_to, ..options(2) });
        let expected = locally((&here, &there), &question);
        let (mine, theirs, counts) = memory(2, None);
        let (asked, _) = converse_with((mine, theirs), (&here, &there), &question, options, &Silent);
        super::same::check(asked.unwrap(), &expected);
        let counts = counts.map(|count| count.load(Ordering::SeqCst));
        for from_asker in [true, false] {
            // Signs of life make the count vary a little.
            let number = 0..counts[usize::from(!from_asker)].min(12) + 2;
            for number in number {
                for mishap in [
                    Mishap::Dies,
                    Mishap::Stalls,
                    Mishap::Cut,
                    Mishap::Emptied,
                    Mishap::Doubled,
                    Mishap::Lost,
                    Mishap::Flipped(0),
                    Mishap::Flipped(number * 7919 + 13),
                ] {
                    let plan = Plan { from_asker, number, mishap };
                    let (mine, theirs, _) = memory(2, Some(plan));
                    let (asked, _) =
                        converse_with((mine, theirs), (&here, &there), &question, options, &Silent);
                    if let Ok(found) = asked {
                        super::same::check(found, &expected);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever bit is another, the result is the right one or none.
    #[test]
    fn flipped_bits_never_make_a_wrong_result(
        (here, there, question) in worlds(),
        from_asker in any::<bool>(),
        number in 0..8u64,
        bit in any::<u64>(),
    ) {
        let expected = locally((&here, &there), &question);
        let plan = Plan { from_asker, number, mishap: Mishap::Flipped(bit) };
        let (mine, theirs, _) = memory(2, Some(plan));
        let (asked, _) = converse((mine, theirs), (&here, &there), &question, (2, 1));
        if let Ok(found) = asked {
            super::same::check(found, &expected);
        }
    }

    /// Whatever is written meanwhile, and whenever: what came to differ or stopped to is told or the comparison fails; a
    /// result is that of the disks at some moment, where only one block moved.
    #[test]
    fn disks_that_are_written_to(
        (mut here, there, mut question) in worlds(),
        at in any::<prop::sample::Index>(),
        from in 0..40u64,
    ) {
        here.bad = ExtentSet::empty();
        here.bytes.resize(here.size as usize, 3);
        here.holes = ExtentSet::empty();
        question.scope = ExtentSet::whole(question.size);
        let mut after = here.clone();
        after.bytes[at.index(question.size as usize)] ^= 0x55;
        let before = locally((&here, &there), &question);
        let later = locally((&after, &there), &question);
        let moving = Moving::new(here, after, from);
        let (mine, theirs, _) = memory(2, None);
        let (asked, answered) = converse((mine, theirs), (&moving, &there), &question, (1, 1));
        match asked {
            Ok(found) => {
                prop_assert!(found.compared == before.0 || found.compared == later.0);
                answered.unwrap();
            }
            Err(LinkError::Moving { .. } | LinkError::Again(_)) => prop_assert!(answered.is_err()),
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_leaf_that_changes_between_the_passes_is_noticed() {
    let size = 400 * LEAF;
    let here = Fake::new(noise(size, 1));
    let mut there = here.clone();
    there.bytes[100 * LEAF as usize] ^= 1;
    // The only difference is gone when it is looked at again.
    let reads = size / (64 << 10);
    let after = there.clone();
    for asker_moves in [true, false] {
        let question = Question { size, scope: ExtentSet::whole(size), side: Side::A };
        let (mine, theirs, _) = memory(2, None);
        let (asked, answered) = if asker_moves {
            let moving = Moving::new(here.clone(), after.clone(), reads);
            converse((mine, theirs), (&moving, &there), &question, (2, 2))
        } else {
            let moving = Moving::new(there.clone(), here.clone(), reads);
            converse((mine, theirs), (&here, &moving), &question, (2, 2))
        };
        let (mover, other) = if asker_moves {
            (asked.unwrap_err(), answered.unwrap_err())
        } else {
            (answered.unwrap_err(), asked.unwrap_err())
        };
        let side = if asker_moves { Side::A } else { Side::B };
        assert!(matches!(mover, LinkError::Moving { side: found } if found == side), "{mover:?}");
        assert!(matches!(&other, LinkError::Peer { why } if why.contains("changed while")), "{other:?}");
    }
}

#[test]
fn disks_that_are_too_short_are_told_apart() {
    let long = Fake::new(vec![0; 3 * BLOCK as usize]);
    let short = Fake::new(vec![0; 2 * BLOCK as usize]);
    for (here, there, side) in [(&long, &short, Side::B), (&short, &long, Side::A)] {
        for size in [3 * BLOCK, BLOCK] {
            // By the size, or by the scope alone.
            let question = Question { size, scope: set(&[(0, 3 * BLOCK)]), side: Side::A };
            let (mine, theirs, _) = memory(2, None);
            let (asked, answered) = converse((mine, theirs), (here, there), &question, (1, 1));
            match asked {
                Err(LinkError::Outside { side: found, has, end, .. }) => {
                    assert_eq!((found, has, end), (side, 2 * BLOCK, 3 * BLOCK));
                }
                other => panic!("{other:?}"),
            }
            assert!(answered.is_err());
        }
    }
}
