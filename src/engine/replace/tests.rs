//! Over disks in memory, with claims and a clock that do as they are told.

use super::*;
use crate::model::extent::ExtentSet;
use crate::model::seen::Stamp;
use crate::model::side::Pair;
use crate::ports::progress::Silent;
use crate::proof::quiesced::Hold;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const MIB: usize = 1 << 20;

struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn of(byte: u8, len: usize) -> Memory {
        Memory(Mutex::new(vec![byte; len]))
    }

    fn standing(&self, extents: &ExtentSet) -> Vec<Piece> {
        let bytes = lock(&self.0);
        let pieces = extents.iter().flat_map(|extent| extent.pieces(1 << 20));
        let piece =
            |at: Extent| ReadPiece::of(at.start, &bytes[at.start as usize..at.end() as usize]).piece();
        pieces.map(piece).collect()
    }
}

impl Disk for Memory {
    fn name(&self) -> &str {
        "memory"
    }
    fn size(&self) -> u64 {
        lock(&self.0).len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let at = offset as usize;
        buffer.copy_from_slice(&lock(&self.0)[at..at + buffer.len()]);
        Ok(())
    }
}

impl DiskMut for Memory {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let at = offset as usize;
        lock(&self.0)[at..at + buffer.len()].copy_from_slice(buffer);
        Ok(())
    }
    fn flush(&self) -> Result<(), DiskFault> {
        Ok(())
    }
    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

/// Ours for so many askings; each takes `takes` milliseconds of the clock.
struct Claim {
    left: Arc<AtomicU64>,
    clock: Arc<Steps>,
    takes: i64,
}

impl Hold for Claim {
    fn still_ours(&self) -> Result<(), String> {
        self.clock.0.fetch_add(self.takes, Ordering::Relaxed);
        let one_less = |left: u64| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Ok(()),
            Err(_) => Err("process 7 (cp)".to_owned()),
        }
    }
    fn how(&self) -> &str {
        "in memory"
    }
}

/// Moves when it is told to.
struct Steps(AtomicI64);

impl Clock for Steps {
    fn now(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Relaxed))
    }
}

struct Scene {
    quiet: Quiesced,
    clock: Arc<Steps>,
    left: Arc<AtomicU64>,
}

/// Both sides' claims together are good for that many askings.
fn scene(askings: u64, takes: i64) -> Scene {
    let (left, clock) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(Steps(AtomicI64::new(1_000))));
    let claim =
        |_| Box::new(Claim { left: Arc::clone(&left), clock: Arc::clone(&clock), takes }) as Box<dyn Hold>;
    let quiet = Quiesced::by_holding(Pair::from_fn(claim)).unwrap();
    left.store(2 * askings, Ordering::Relaxed);
    Scene { quiet, clock, left }
}

fn replaced(victim: &Memory, with: u8) -> usize {
    lock(&victim.0).iter().filter(|byte| **byte == with).count()
}

#[test]
fn a_lost_claim_stops_it_before_the_next_batch() {
    let (survivor, victim) = (Memory::of(1, 16 * MIB), Memory::of(2, 16 * MIB));
    let all = ExtentSet::whole(16 << 20);
    let standing = victim.standing(&all);
    for askings in 0..5 {
        let scene = scene(askings, 0);
        let victim = Memory::of(2, 16 * MIB);
        let into = Guarded::new(&victim, &standing, &scene.quiet, &*scene.clock);
        let end = copy(&survivor, &into, digest_of_pieces(&survivor.standing(&all)), &Silent);
        let batches = usize::try_from(askings).unwrap().min(4);
        assert_eq!(replaced(&victim, 1), batches * BATCH, "{askings}: {end:?}");
        assert_eq!(end.is_ok(), askings >= 4);
        assert_eq!(into.lost().is_some_and(|who| who.contains("process 7")), askings < 4);
    }
}

#[test]
fn the_claims_are_asked_often_but_not_all_the_time() {
    let (survivor, victim) = (Memory::of(1, 64 * MIB), Memory::of(2, 64 * MIB));
    let all = ExtentSet::whole(64 << 20);
    let (standing, expected) = (victim.standing(&all), digest_of_pieces(&survivor.standing(&all)));
    // The clock stands still but for the askings: one of 2 x 5 ms is good for as long as nothing else takes time.
    let scene = scene(1_000, 5);
    let into = Guarded::new(&victim, &standing, &scene.quiet, &*scene.clock);
    copy(&survivor, &into, expected, &Silent).unwrap();
    assert_eq!(2_000 - scene.left.load(Ordering::Relaxed), 2, "once, of each side");
    // Ten times as long later it is asked again; and when the clock was set back.
    for (ahead, asked) in [(99, 2), (1, 4), (-1_000, 6), (0, 6)] {
        scene.clock.0.fetch_add(ahead, Ordering::Relaxed);
        let one = victim.standing(&ExtentSet::whole(512));
        let again = Guarded::new(&victim, &one, &scene.quiet, &*scene.clock);
        *lock(&again.asked) = *lock(&into.asked);
        again.write_at(0, &[3; 512]).unwrap();
        *lock(&into.asked) = *lock(&again.asked);
        assert_eq!(2_000 - scene.left.load(Ordering::Relaxed), asked, "{ahead} ms later");
    }
}

#[test]
fn what_somebody_else_wrote_is_left_and_named() {
    let survivor = Memory::of(1, 16 * MIB);
    let extents: ExtentSet = [(0, 3 << 20), (5 << 20, 4096), (6 << 20, 8192), (9 << 20, 5 << 20)]
        .into_iter()
        .map(Extent::from)
        .collect();
    for at in [0, 2 * MIB + 77, 5 * MIB + 4095, 6 * MIB, 14 * MIB - 1] {
        let (scene, victim) = (scene(1_000, 0), Memory::of(2, 16 * MIB));
        let standing = victim.standing(&extents);
        victim.write_at(at as u64, &[9]).unwrap();
        let into = Guarded::new(&victim, &standing, &scene.quiet, &*scene.clock);
        let expected = digest_of_pieces(&survivor.standing(&extents));
        let end = copy(&survivor, &into, expected, &Silent);
        let Err(NotOverwritten::Disk(DiskFault::Changed { extent, .. })) = end else { panic!("{end:?}") };
        assert!(extent.start <= at as u64 && (at as u64) < extent.end(), "{at}: {extent:?}");
        let now = lock(&victim.0).clone();
        assert_eq!(now[at], 9, "it is still there");
        let behind = extents.iter().filter(|run| run.start >= extent.start);
        assert!(
            behind.into_iter().all(|run| now[run.start as usize..run.end() as usize].iter().all(|b| *b != 1))
        );
    }
}

#[test]
fn a_survivor_that_changed_while_it_was_copied_is_noticed() {
    let (survivor, victim) = (Memory::of(1, MIB), Memory::of(2, MIB));
    let all = ExtentSet::whole(1 << 20);
    let expected = digest_of_pieces(&survivor.standing(&all));
    survivor.write_at(5000, &[4]).unwrap();
    let (scene, standing) = (scene(1_000, 0), victim.standing(&all));
    let into = Guarded::new(&victim, &standing, &scene.quiet, &*scene.clock);
    let end = copy(&survivor, &into, expected, &Silent);
    assert!(matches!(end, Err(NotOverwritten::Source)), "{end:?}");
}

#[test]
fn only_whole_pieces_that_were_seen_are_replaced() {
    let (scene, victim) = (scene(1_000, 0), Memory::of(2, 4 * MIB));
    let extents: ExtentSet = [(4096, 8192), (2 << 20, 2 << 20)].into_iter().map(Extent::from).collect();
    let standing = victim.standing(&extents);
    let into = Guarded::new(&victim, &standing, &scene.quiet, &*scene.clock);
    for (at, len) in [(0, 512), (4096, 4096), (4096, 8193), (8192, 4096), (2 << 20, 3 << 20), (3 << 20, 512)]
    {
        let end = into.write_at(at, &vec![1; len]);
        assert!(matches!(end, Err(DiskFault::Changed { .. })), "{at}+{len}: {end:?}");
        assert_eq!(replaced(&victim, 1), 0);
    }
    into.write_at(4096, &[1; 8192]).unwrap();
    into.write_at(2 << 20, &vec![1; 2 * MIB]).unwrap();
    assert_eq!(replaced(&victim, 1), 8192 + 2 * MIB);
}
