//! Sessions that the other end makes up: well-formed messages in any order, with any numbers, and damaged ones. Neither role
//! panics, waits, or calls anything equal.

use std::collections::VecDeque;
use std::time::Duration;
use unsplit::digest::link::{LinkOptions, Question, answer, ask};
use unsplit::format::wire::reconcile::{BINS, Bits, Gap, Level, Message, STRATA, Sealed};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::Side;
use unsplit::ports::channel::{ChannelFault, Receiver, Sender};
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::progress::Silent;

const SIZE: u64 = 70_000;

struct Stripes;

impl Disk for Stripes {
    fn name(&self) -> &str {
        "stripes"
    }
    fn size(&self) -> u64 {
        SIZE
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        for (at, byte) in (offset..).zip(buffer) {
            *byte = u8::try_from(at / 1000 % 256).unwrap();
        }
        Ok(())
    }
}

struct Nowhere;

impl Sender for Nowhere {
    fn send(&mut self, _: &[u8]) -> Result<(), ChannelFault> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), ChannelFault> {
        Ok(())
    }
}

struct Script(VecDeque<Vec<u8>>);

impl Receiver for Script {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        self.0.pop_front().ok_or(ChannelFault::Closed)
    }
}

/// The same numbers for the same seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// Mostly a number that could be right here.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => SIZE,
            2 => u64::MAX >> self.below(64),
            3 => 1 << self.below(64),
            _ => self.below(20),
        }
    }

    fn set(&mut self) -> ExtentSet {
        let mut at = 0u64;
        let mut set = ExtentSet::empty();
        for _ in 0..self.below(4) {
            let start = at.saturating_add(self.below(6));
            let len = 1 + if self.below(10) == 0 { self.number() >> 2 } else { self.below(5) };
            if start.checked_add(len).is_none_or(|end| end > u64::MAX >> 1) {
                break;
            }
            set.push(Extent { start, len });
            at = start + len + 1;
        }
        set
    }

    fn gaps(&mut self) -> Vec<Gap> {
        let gap = |rng: &mut Rng| Gap {
            extent: Extent { start: rng.number() >> 1, len: 1 + (rng.number() >> 2) },
            why: "no".to_owned(),
        };
        (0..self.below(3)).map(|_| gap(self)).collect()
    }

    fn sum(&mut self) -> u128 {
        if self.below(2) == 0 { 0 } else { u128::from(self.next()) << 64 | u128::from(self.next()) }
    }

    fn message(&mut self) -> Message {
        let flag = self.below(2) == 0;
        let width = 1 + u8::try_from(self.below(16)).unwrap();
        match self.below(21) {
            0 => Message::Ask {
                nonce: [7; 32],
                size: self.number(),
                end: self.number(),
                side: Side::A,
                whole: flag,
            },
            1 => Message::Scope { last: flag, blocks: self.set() },
            2 => Message::Begin { nonce: [9; 32] },
            3 => Message::Outside { has: self.number(), disk: "d".to_owned() },
            4 => Message::Working,
            5 => {
                let estimator =
                    (0..STRATA * BINS).map(|at| if flag { 0 } else { at.to_le_bytes()[0] }).collect();
                Message::Summary { total: self.sum(), estimator, lost: self.set() }
            }
            6 => Message::Equal { total: self.sum() },
            7 => {
                let fold = u32::try_from(self.number().min(200_000)).unwrap();
                let width = 4 + u8::try_from(self.below(5)).unwrap();
                Message::Table { estimate: self.number(), fold, width, lost: self.set() }
            }
            8 => Message::Cells { bytes: self.bytes(500) },
            9 => Message::More { fold: u32::try_from(self.number().min(200_000)).unwrap() },
            10 => Message::WantChunks { wide: flag },
            11 => Message::Chunks { estimate: self.number(), width, lost: self.set() },
            12 => Message::Values { bytes: self.bytes(20) },
            13 => Message::Direct { lost: self.set() },
            14 => {
                let level = if flag { Level::Leaves } else { Level::Blocks };
                let (leaves, hashes, unreadable) = (self.set(), self.bytes(80), self.gaps());
                Message::Batch { level, width, leaves, hashes, unreadable }
            }
            15 => {
                let differs = match self.below(3) {
                    0 => Bits::None,
                    1 => Bits::All,
                    _ => Bits::Some(self.bytes(4)),
                };
                Message::Verdict { differs, unreadable: self.gaps() }
            }
            16 => Message::Turn,
            17 => Message::Closing { rest: self.sum(), equal: self.sum() },
            18 => {
                let sealed = Sealed { content: [1; 32], seal: [2; 16] };
                Message::Closed { rest: self.sum(), equal: self.sum(), content: flag.then_some(sealed) }
            }
            19 => Message::Bye,
            _ => Message::Abort { why: "no".to_owned() },
        }
    }

    /// A beginning that gets far, then anything.
    fn script(&mut self, asked: bool) -> VecDeque<Vec<u8>> {
        let mut messages = Vec::new();
        if self.below(10) > 0 {
            if asked {
                messages.push(Message::Begin { nonce: [9; 32] });
                messages.push(match self.below(3) {
                    0 => Message::Direct { lost: ExtentSet::empty() },
                    1 => Message::Table { estimate: 3, fold: 8, width: 5, lost: ExtentSet::empty() },
                    _ => Message::Chunks { estimate: self.below(9), width: 2, lost: ExtentSet::empty() },
                });
            } else {
                messages.push(Message::Ask {
                    nonce: [7; 32],
                    size: SIZE,
                    end: SIZE,
                    side: Side::A,
                    whole: true,
                });
                let estimator = vec![0; STRATA * BINS];
                messages.push(Message::Summary { total: self.sum(), estimator, lost: ExtentSet::empty() });
            }
        }
        for _ in 0..self.below(8) {
            messages.push(self.message());
        }
        let mut script: VecDeque<Vec<u8>> = messages.iter().map(Message::encode).collect();
        if self.below(3) == 0 && !script.is_empty() {
            let which = usize::try_from(self.below(script.len() as u64)).unwrap();
            let bytes = &mut script[which];
            let at = usize::try_from(self.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << self.below(8);
        }
        script
    }
}

#[test]
fn what_the_other_end_makes_up_comes_to_nothing() {
    let options = LinkOptions { threads: 1, pulse: Duration::from_secs(3600), ..LinkOptions::default() };
    for seed in 1..=300 {
        let mut rng = Rng(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let script = Script(rng.script(true));
        let question = Question { size: SIZE, scope: ExtentSet::whole(SIZE), side: Side::A };
        let end = ask(&Stripes, &question, &mut Nowhere, &mut { script }, &options, &Silent);
        // The key has 32 random bytes, so nobody can have known the sums.
        assert!(end.is_err(), "seed {seed}: {end:?}");
        let script = Script(rng.script(false));
        let _ = answer(&Stripes, &mut Nowhere, &mut { script }, &options, &Silent);
    }
}
